package txn

import "github.com/ringkv/ringkv/storage"

// startRecovery turns the coordinator into a recoverer of its last attempt: it cannot decide alone any more. Its first
// ballot is of the given round, at least.
func (c *Coordinator) startRecovery(round uint64) {
	c.phase = Recovering
	c.recovery = NewRecovery(RecoveryConfig{
		Open: storage.OpenTxn{
			ID:           c.cfg.ID,
			Attempt:      c.attempt,
			Protocol:     c.plan.Protocol,
			Home:         c.plan.Home(),
			Participants: c.plan.Participants(),
		},
		Name:  c.cfg.Name,
		Node:  storage.Ballot{Round: round, Node: c.cfg.ID.Node, Nonce: c.cfg.Nonce},
		Votes: c.roster.votes(),
		Seed:  c.random.next(),
	})
	c.recover(Start{})
}

// recover passes an event on to the recovery, and its effects to the owner. Its end is that of the transaction: every
// group has acknowledged a final state, and the idempotency token its answer (R9).
func (c *Coordinator) recover(ev Event) {
	if _, ok := ev.(Cancel); ok {
		c.mute = true
		ev = Tick{}
	}
	e := c.recovery.Step(c.now, ev)
	c.effects.Send = append(c.effects.Send, e.Send...)
	c.effects.Wake, c.effects.Alarm = e.Wake, e.Alarm
	c.concluded(e)
	if e.Finished {
		c.fail(ErrUnknownOutcome) // unless it was answered
		c.finish()
		return
	}
	if !c.now.Before(c.last()) {
		c.fail(ErrUnknownOutcome)
	}
	if !c.mute {
		c.effects.Wake = earlier(c.effects.Wake, c.last())
	}
}

func (c *Coordinator) concluded(e *Effects) {
	switch {
	case e.Conclusion != ConcludeAborted:
	case !c.mute && c.cfg.Run+1 < maxRuns && c.now.Before(c.cfg.Deadline):
		c.mute, c.effects.Restart = true, true // a sealed transaction may be run again as a new one
	default:
		c.fail(c.lateness())
	}
	if e.Outcome != nil {
		o := *e.Outcome
		o.Name(c.plan.Request)
		c.outcome = &o
		c.answer(&Answer{Outcome: &o})
	}
}
