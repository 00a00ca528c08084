package storage

import "slices"

// The names of the invariants whose breach is reported.
const (
	alarmI1 = "I1" // an attempt commits beside another
	alarmI2 = "I2" // a commit or an abort meets what it cannot
	alarmI9 = "I9" // a mark passes a YES
)

// removePerEntry is how many finished records an applied entry removes beside its own work; sweeps remove the rest.
const removePerEntry = 8

// judgement is one command about one transaction while it is applied. Its methods are the rows of the table in section 2
// of the protocol, one for each command; the first guard that matches wins.
type judgement struct {
	p      *Partition
	b      Batch
	t      *TxnCommand
	draft  *draft     // of the command's part, nil if it has none
	rec    *txnRecord // nil while the transaction is ABSENT or GONE
	gone   bool
	closed bool // its incarnation is closed: ABSENT counts as NO(∞)
}

// applyTxn applies a transaction command.
func (p *Partition) applyTxn(b Batch, c *Command, draft *draft) (Result, error) {
	t := c.Txn
	passesYes, err := p.raiseMark(b, t.ID, t.Mark)
	if err != nil {
		return Result{}, err
	}
	reply, err := p.answerTxn(b, c, draft)
	if err != nil {
		return Result{}, err
	}
	if passesYes && reply.Alarm == "" {
		reply.Alarm = alarmI9
	}
	if reply.Alarm != "" {
		p.alarms++
	}
	if err := p.settleHeld(b); err != nil {
		return Result{}, err
	}
	n := p.txns.node(t.ID.Node)
	if err := p.removeFinished(newBudget(b, removePerEntry, removeBytes), n, n.run(t.ID.Incarnation)); err != nil {
		return Result{}, err
	}
	return Result{Status: StatusTxn, Txn: reply}, nil
}

func (p *Partition) answerTxn(b Batch, c *Command, draft *draft) (*TxnReply, error) {
	switch c.Kind {
	case KindMark:
		return &TxnReply{Kind: ReplyAck}, nil
	case KindClose:
		return p.close(b, c.Txn)
	case KindForget:
		return p.forget(b, c.Txn)
	}
	j := judgement{p: p, b: b, t: c.Txn, draft: draft}
	j.meet()
	switch c.Kind {
	case KindPrepare:
		return j.prepare()
	case KindSingle:
		return j.single()
	case KindRefuse:
		return j.refuse()
	case KindDecide:
		return j.decide()
	case KindPropose:
		return j.propose()
	case KindInquire:
		return j.inquire()
	case KindCommit:
		return j.commit()
	}
	return j.abort()
}

// meet finds the record and what marks say of it.
func (j *judgement) meet() {
	t := j.t
	n := j.p.txns.node(t.ID.Node)
	if n == nil {
		return
	}
	j.closed = t.ID.Incarnation < n.closed
	i := n.run(t.ID.Incarnation)
	j.rec = i.record(t.ID.Seq)
	gone := t.ID.Incarnation < n.forgotten || i != nil && t.ID.Seq < i.mark
	if gone && (j.rec == nil || j.rec.final()) {
		j.rec, j.gone = nil, true // but a YES stays what it is, even where a mark has passed it
	}
}

// sealed tells whether no attempt will ever be prepared here.
func (j *judgement) sealed() bool {
	if j.rec == nil {
		return j.closed && !j.gone
	}
	return j.rec.attempt == Sealed
}

// passed tells whether the record is about a later attempt than the command, or sealed.
func (j *judgement) passed() bool {
	return j.sealed() || j.rec != nil && j.rec.attempt > j.t.Attempt
}

// in tells whether the record is in state s of exactly the command's attempt.
func (j *judgement) in(s TxnState) bool {
	return j.rec != nil && j.rec.state == s && j.rec.attempt == j.t.Attempt
}

// committed tells whether the record is COMMITTED, in whatever attempt.
func (j *judgement) committed() bool { return j.rec != nil && j.rec.state == TxnCommitted }

// about is the reply from the record: "about(a)" of the table. Who meets a commit of a lower attempt has found I1 broken.
func (j *judgement) about() (*TxnReply, error) {
	switch {
	case j.gone:
		return j.reply(ReplyGone), nil
	case j.passed():
		return j.refusal(), nil
	case j.rec == nil:
		return j.reply(ReplyAbsent), nil
	case j.rec.state == TxnNo:
		return j.say(TxnReply{Kind: ReplyNo, Attempt: j.rec.attempt, Reason: j.rec.reason}), nil
	case j.rec.state == TxnYes:
		r := j.say(TxnReply{Kind: ReplyYes, Attempt: j.rec.attempt})
		return r, j.addVote(r)
	}
	r := j.say(TxnReply{Kind: ReplyCommitted, Attempt: j.rec.attempt, Decision: j.rec.decision})
	if j.rec.attempt < j.t.Attempt {
		r.Alarm = alarmI1
	}
	return r, j.addVote(r)
}

func (j *judgement) reply(k ReplyKind) *TxnReply {
	return j.say(TxnReply{Kind: k, Attempt: j.t.Attempt})
}

// say makes r the answer, in place of any before it.
func (j *judgement) say(r TxnReply) *TxnReply {
	j.p.reply = r
	return &j.p.reply
}

// refusal is a no about the command's attempt, by a record that has passed it or is of it.
func (j *judgement) refusal() *TxnReply {
	r := j.reply(ReplyNo)
	r.Sealed = j.sealed()
	r.Superseded = !r.Sealed && j.rec.attempt > j.t.Attempt
	switch {
	case j.rec == nil:
		r.Reason = Closed
	case !r.Superseded:
		r.Reason = j.rec.reason
	}
	return r
}

// alarm is the reply where nothing was done because an invariant is broken.
func (j *judgement) alarm(name string) *TxnReply {
	r := j.reply(ReplyAlarm)
	r.Alarm = name
	return r
}

// addVote adds what a YES reports, or what is kept of it after the commit.
func (j *judgement) addVote(r *TxnReply) error {
	if j.rec.state == TxnCommitted {
		body, err := readBody(j.b, j.p.id, j.rec)
		if err != nil {
			return err
		}
		r.Vote, err = decodeVote(j.rec.id, slices.Clone(body))
		return err
	}
	ev, err := j.p.evaluationOf(j.b, j.rec)
	if err != nil {
		return err
	}
	r.Vote = &ev.vote
	return nil
}
