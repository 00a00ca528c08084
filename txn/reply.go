package txn

import "github.com/ringkv/ringkv/storage"

// reply takes a group's answer. One that the phase has no use for changes nothing: late ones are common.
func (c *Coordinator) reply(ev *Reply) {
	i := c.roster.find(ev.From)
	if i < 0 || ev.Reply == nil || c.phase == Idle || c.phase == Finished {
		return
	}
	c.parts[i].failed = false
	c.effects.Alarm = ev.Reply.Alarm
	switch r := ev.Reply; r.Kind {
	case storage.ReplyYes:
		c.yes(i, r)
	case storage.ReplyNo:
		c.no(i, ev)
	case storage.ReplyCommitted:
		c.committed(i, r)
	case storage.ReplyGone:
		c.gone()
	case storage.ReplyAck, storage.ReplySuperseded:
		c.ack(i, ev)
	case storage.ReplyAccepted:
		c.accepted(i, ev.Ref, r)
	case storage.ReplyNack:
		if c.phase == Proposing && r.Attempt == c.attempt {
			c.startRecovery(r.Ballot.Round + 1) // a recoverer is at work
		}
	case storage.ReplyAbsent:
		c.effects.Alarm = "I10" // home forgot the YES that it has answered
	}
}

// yes of another attempt is no vote of this one (R2).
func (c *Coordinator) yes(i int, r *storage.TxnReply) {
	g := &c.roster.groups[i]
	if r.Attempt != c.attempt || r.Vote == nil || g.vote != nil || c.plan.Protocol == storage.OnePhase {
		return
	}
	switch c.phase {
	case Preparing:
		g.vote = r.Vote
		if c.roster.allVoted() {
			c.allYes()
		}
	case Committing:
		g.vote = r.Vote
		c.complete()
	}
}

// allYes: whether that is the commit itself depends on the protocol.
func (c *Coordinator) allYes() {
	switch d := Decide(c.roster.votes()); c.plan.Protocol {
	case storage.TwoPhase:
		c.phase, c.decision = Deciding, d
	case storage.ThreePhase:
		c.phase, c.decision = Proposing, d
	default:
		c.commit(d)
	}
}

// no to an earlier attempt's command says nothing about this one (R2). That such a command is superseded may well be told
// by the YES of this attempt.
func (c *Coordinator) no(i int, ev *Reply) {
	r := ev.Reply
	if !r.Sealed && (r.Superseded || ev.Ref.Attempt != c.attempt) {
		return
	}
	switch c.phase {
	case Preparing, Deciding, Proposing:
		c.parts[i].dirty, c.parts[i].sent, c.parts[i].unsent = false, 0, 0 // its record is a NO now
		c.refused(r)
	case Committing:
		c.effects.Alarm = "I1"
	case Aborting:
		if r.Sealed {
			c.roster.groups[i].acked = true
		}
	}
}

// refused: no group can ever commit this attempt.
func (c *Coordinator) refused(r *storage.TxnReply) {
	switch r.Reason {
	case storage.TokenAnswered:
		c.replay(r)
	case storage.TokenReused:
		c.giveUp(ErrTokenReused)
	case storage.TokenBusy:
		c.inFlight(r)
	case storage.TooLarge:
		c.giveUp(ErrTooLarge)
	case storage.DiskFull:
		c.giveUp(ErrDiskFull)
	case storage.WrongPartition:
		c.restart(ErrUnavailable)
	case storage.Conflict:
		c.conflict = true
		c.again(r)
	default: // refused by recovery, or the incarnation is closed
		c.again(r)
	}
}

// again goes on with what is left: another attempt, or where there can be none, another transaction.
func (c *Coordinator) again(r *storage.TxnReply) {
	if r.Sealed || c.phase != Preparing {
		c.restart(c.lateness())
		return
	}
	c.nextAttempt()
}

// inFlight: another transaction has the idempotency token. If that is an earlier run of the same request, its end is near.
func (c *Coordinator) inFlight(r *storage.TxnReply) {
	if h := r.Holder; h != nil {
		if c.cfg.Run > 0 && h.ID.Node == c.cfg.ID.Node && h.ID.Incarnation == c.cfg.ID.Incarnation {
			c.again(r)
			return
		}
		c.effects.Suspect = append(c.effects.Suspect, *h)
	}
	c.giveUp(ErrInFlight)
}

// replay gives the answer that the idempotency token's record has kept.
func (c *Coordinator) replay(r *storage.TxnReply) {
	o, err := DecodeOutcome(r.Answer)
	if err != nil { // sealed since: the reply has no answer any more
		c.again(r)
		return
	}
	o.Replayed = true
	o.Name(c.plan.Request)
	c.answer(&Answer{Outcome: o})
	c.abort()
}

func (c *Coordinator) committed(i int, r *storage.TxnReply) {
	if r.Attempt != c.attempt || c.phase == Aborting {
		c.effects.Alarm = "I1"
		return
	}
	g := &c.roster.groups[i]
	g.acked = true
	if g.vote == nil {
		g.vote = r.Vote
	}
	if c.phase != Committing {
		c.commit(r.Decision)
	}
	c.complete()
}

// gone: finished in every group and forgotten (R9), which happens to a coordinator that slept through the end of its
// incarnation. It says nothing about how the transaction ended (R8).
func (c *Coordinator) gone() {
	c.fail(ErrUnknownOutcome)
	c.finish()
}

func (c *Coordinator) ack(i int, ev *Reply) {
	g, ref := &c.roster.groups[i], ev.Ref
	switch {
	case c.phase == Preparing && ref.Kind == storage.KindAbort && ref.Attempt == c.attempt-1:
		c.parts[i].dirty = false
	case c.phase == Aborting && ref.Kind == storage.KindAbort && ref.Final:
		g.acked = true
	case c.phase == Committing && ref.Kind == storage.KindCommit:
		g.committed(ev)
	}
}

func (c *Coordinator) accepted(i int, ref Ref, r *storage.TxnReply) {
	if c.phase != Proposing || ref.Kind != storage.KindPropose || r.Attempt != c.attempt || r.Ballot != (storage.Ballot{}) {
		return
	}
	c.parts[i].accepted = true
	n := 0
	for j := range c.parts {
		if c.parts[j].accepted {
			n++
		}
	}
	if n >= c.roster.majority() {
		c.commit(c.decision)
	}
}

func (c *Coordinator) failed(ev *Failed) {
	i := c.roster.find(ev.From)
	if i < 0 {
		return
	}
	p := &c.parts[i]
	p.failed = true
	prepare := ev.Ref.Kind == storage.KindPrepare || ev.Ref.Kind == storage.KindSingle
	if ev.NotSent && prepare && ev.Ref.Attempt == c.attempt && p.unsent < p.sent {
		p.unsent++
	}
	c.roster.groups[i].failed(ev.Ref, c.now)
}

// settle ends what every group has acknowledged (R9).
func (c *Coordinator) settle() {
	switch {
	case c.phase == Aborting && c.roster.allAcked():
		c.finish()
	case c.phase == Committing && c.roster.allAcked() && !c.owesAnswer():
		c.finish()
	}
}

// owesAnswer tells whether the client or the idempotency token still waits for results.
func (c *Coordinator) owesAnswer() bool {
	if i := c.tokenGroup(); i >= 0 && !c.roster.groups[i].filled {
		return true
	}
	return !c.mute && c.outcome == nil
}

// tokenGroup is the index of the group that keeps the idempotency token's record, -1 without one.
func (c *Coordinator) tokenGroup() int {
	for i := range c.plan.Parts {
		if c.plan.Parts[i].Prepare.Token != nil {
			return i
		}
	}
	return -1
}
