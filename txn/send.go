package txn

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// send brings what each group is asked in line with where the transaction stands, and plans the next tick.
func (c *Coordinator) send() {
	if c.phase == Idle || c.phase == Finished || c.phase == Recovering {
		return
	}
	turn := true
	for i := range c.roster.groups {
		g := &c.roster.groups[i]
		ref := c.wants(i, turn)
		turn = turn && (!c.ordered || g.vote != nil)
		if g.ask(ref, c.now) {
			c.effects.Send = append(c.effects.Send, c.command(i, ref))
		}
	}
	c.effects.Wake = c.roster.wake(c.alarmClock())
}

func (c *Coordinator) alarmClock() time.Time {
	switch {
	case c.phase == Preparing && c.now.Before(c.resume):
		return earlier(c.resume, c.cfg.Deadline)
	case c.phase == Preparing:
		return c.cfg.Deadline
	case !c.mute:
		return c.last()
	}
	return time.Time{}
}

// wants is the one thing that a group is to be asked now: a pure function of the state. turn tells whether an ordered
// attempt has come as far as this group.
func (c *Coordinator) wants(i int, turn bool) Ref {
	switch c.phase {
	case Preparing:
		return c.wantsVote(i, turn && !c.now.Before(c.resume))
	case Deciding:
		if i == 0 {
			return Ref{Kind: storage.KindDecide, Attempt: c.attempt}
		}
	case Proposing:
		if !c.parts[i].accepted {
			return Ref{Kind: storage.KindPropose, Attempt: c.attempt}
		}
	case Committing:
		return c.wantsCommit(i)
	case Aborting:
		if !c.roster.groups[i].acked {
			return Ref{Kind: storage.KindAbort, Attempt: c.attempt, Final: true}
		}
	}
	return Ref{}
}

// wantsVote: a group that need not vote yet gives back what an earlier attempt holds there, or others would wait for it
// in vain.
func (c *Coordinator) wantsVote(i int, turn bool) Ref {
	switch {
	case c.roster.groups[i].vote != nil:
		return Ref{}
	case turn:
		return c.prepare()
	case c.parts[i].dirty:
		return Ref{Kind: storage.KindAbort, Attempt: c.attempt - 1}
	}
	return Ref{}
}

func (c *Coordinator) prepare() Ref {
	if c.plan.Protocol == storage.OnePhase {
		return Ref{Kind: storage.KindSingle, Attempt: c.attempt}
	}
	return Ref{Kind: storage.KindPrepare, Attempt: c.attempt}
}

// wantsCommit: locks are freed first; then results that recovery has kept from the coordinator are fetched by repeating
// the prepare, which changes nothing; then the idempotency token gets the answer.
func (c *Coordinator) wantsCommit(i int) Ref {
	g := &c.roster.groups[i]
	fill := c.stored != nil && c.plan.Parts[i].Prepare.Token != nil
	switch {
	case !g.acked, fill && !g.filled:
		return Ref{Kind: storage.KindCommit, Attempt: c.attempt, Answer: fill}
	case g.vote == nil && c.owesAnswer():
		return c.prepare()
	}
	return Ref{}
}

// command makes the command that ref stands for.
func (c *Coordinator) command(i int, ref Ref) Send {
	s := Send{
		To:    c.roster.groups[i].id,
		Ref:   ref,
		Kind:  ref.Kind,
		Txn:   storage.TxnCommand{ID: c.cfg.ID, Attempt: ref.Attempt, Home: c.plan.Home(), Final: ref.Final},
		Until: c.now.Add(answerLimit),
	}
	switch ref.Kind {
	case storage.KindPrepare, storage.KindSingle:
		prepare := c.plan.Parts[i].Prepare
		prepare.Age, prepare.Ordered = c.cfg.Age, c.ordered
		s.Txn.Prepare = &prepare
		s.Until = later(s.Until, c.cfg.Deadline)
		c.parts[i].sent++
	case storage.KindDecide, storage.KindPropose, storage.KindCommit:
		s.Txn.Decision = c.decision
	}
	if ref.Answer {
		s.Txn.Answer = c.stored
	}
	return s
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
