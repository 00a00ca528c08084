package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// call is a client that waits for the answer of one process.
type call struct {
	w      *world
	over   bool
	answer func(*txn.Outcome, error)
}

// errCut is what a client hears whose connection broke: nothing.
var errCut = errors.New("the connection broke")

func (c *call) end(o *txn.Outcome, err error) {
	if !c.over {
		c.over = true
		c.answer(o, err)
	}
}

// cut is how a client learns that the process it talks to has ended.
func (c *call) cut() {
	c.w.after(c.w.between(0, 50*time.Millisecond), func() { c.end(nil, errCut) })
}

const defaultTimeout = 5 * time.Second

// lateAnswer is how much later than the bound an answer may come: the client's clock runs beside the coordinator's.
const lateAnswer = 500 * time.Millisecond

// transact carries a transaction out for a client, who hears a sentinel of package txn, or errCut.
func (s *txnSide) transact(r *txn.Request, answer func(*txn.Outcome, error)) {
	c := &call{w: s.n.w, answer: answer}
	if s.dead() || s.ledger == nil {
		c.end(nil, &txn.Error{Err: txn.ErrUnavailable})
		return
	}
	s.calls = append(s.calls, c)
	timeout := r.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	s.after(timeout+txn.DefaultGrace, func() { // two steps: a process that stood still until now has yet to see how late it is
		s.after(lateAnswer, func() {
			if !c.over {
				s.n.w.violate("node %s: a transaction was not answered in %v and the grace", s.n.name, timeout)
			}
		})
	})
	plan, err := txn.NewPlan(s.n.w.ring, r)
	if err != nil {
		s.n.w.violate("plan: %w", err)
		return
	}
	run := &running{s: s, call: c, plan: plan, begun: s.clock(), deadline: s.clock().Add(timeout)}
	if r.ReadOnly() {
		s.readOnly(run)
		return
	}
	s.coordinate(run, 0)
}

// running is a client's request on its way, over all transactions that are run for it.
type running struct {
	s        *txnSide
	call     *call
	plan     *txn.Plan
	begun    time.Time
	deadline time.Time
}

// coordination is a transaction that this process coordinates.
type coordination struct {
	id   storage.TxnID
	core *txn.Coordinator
	task *task
	fate *fate
}

// coordinate runs the request once as a transaction.
func (s *txnSide) coordinate(r *running, run int) {
	w := s.n.w
	if s.ledger.Full() {
		w.violate("node %s: transactions pile up", s.n.name)
		return
	}
	c := &coordination{id: s.ledger.Begin()}
	c.fate = w.txns.begin(c.id, r.plan, s.name(c.id, r.plan.Home()))
	c.core = txn.NewCoordinator(txn.Config{
		ID: c.id, Name: c.fate.name, Plan: r.plan, Deadline: r.deadline, Grace: w.cfg.Sabotage.Grace, Age: storage.Millis(r.begun.UnixMilli()),
		Run: run, Ordered: w.chance(0.2), Nonce: s.newNonce(), Seed: w.rng.Uint64(),
	})
	c.task = s.newTask(c.core, func(e *txn.Effects) { s.coordinated(r, c, run, e) })
	if !w.calm && w.chance(w.coordKill) {
		c.task.fuse = 1 + w.rng.IntN(3*len(r.plan.Parts)+2)
	}
	s.coords[c.id] = c
	c.task.step(txn.Start{})
	if w.chance(w.clientLeaves) {
		s.after(w.between(0, time.Second), func() {
			r.call.end(nil, errCut)
			c.task.step(txn.Cancel{})
		})
	}
}

// coordinated takes what a coordinator's step asks of the node.
func (s *txnSide) coordinated(r *running, c *coordination, run int, e *txn.Effects) {
	w := s.n.w
	switch {
	case e.Answer != nil:
		a := w.tamperAnswer(e.Answer)
		w.txns.answered(c.fate, a, c.core.Attempt())
		w.probe(s.n, Point{Actor: Coordinator, Step: StepAnswer})
		if !s.dead() {
			r.call.end(a.Outcome, a.Err)
		}
		w.probe(s.n, Point{Actor: Coordinator, Step: StepAnswer, After: true})
	case e.Restart:
		w.stats.Restarts++
		c.fate.tell(w, tellAborted)
		s.after(0, func() { s.coordinate(r, run+1) })
	}
	for i := range e.Suspect {
		s.suspect(e.Suspect[i])
	}
	if e.Finished || w.cfg.Sabotage.ForgetDecided && e.Answer != nil {
		c.fate.free("coordinator")
		delete(s.coords, c.id)
		s.ledger.Finish(c.id)
	}
}

// isRunning is what recoverers hear who ask first.
func (s *txnSide) isRunning(t storage.TxnID) bool {
	c := s.coords[t]
	return c != nil && !c.task.over && c.core.Running(s.clock())
}

// readRounds is how often a read-only transaction looks again before it takes S locks.
const readRounds = 3

// readOnly carries out a transaction that only reads, without a log entry (section 7).
func (s *txnSide) readOnly(r *running) {
	s.readAll(r, false, func(first []storage.ReadSet, err error) {
		if err != nil {
			r.call.end(nil, err)
			return
		}
		s.readAgain(r, first, 1)
	})
}

func (s *txnSide) readAgain(r *running, first []storage.ReadSet, round uint32) {
	if len(r.plan.Parts) == 1 || s.n.w.cfg.Sabotage.OnePass {
		s.readOutcome(r, first, round)
		return
	}
	s.readAll(r, true, func(again []storage.ReadSet, err error) {
		switch {
		case err != nil:
			r.call.end(nil, err)
		case unchanged(first, again):
			s.n.w.stats.Snapshots++
			s.readOutcome(r, again, round)
		case round == readRounds:
			s.coordinate(r, 0)
		default:
			s.readAgain(r, again, round+1)
		}
	})
}

// readAll reads what the plan needs in all groups at once.
func (s *txnSide) readAll(r *running, check bool, then func([]storage.ReadSet, error)) {
	sets := make([]storage.ReadSet, len(r.plan.Parts))
	left, failed := len(sets), false
	for i := range r.plan.Parts {
		part := &r.plan.Parts[i]
		keys, _ := part.Prepare.Keys()
		s.readKeys(part.Group, keys, check, s.until(r.deadline), func(rep reply) {
			if failed {
				return
			}
			if failed = rep.outcome != answered; failed {
				then(nil, &txn.Error{Err: txn.ErrUnavailable})
				return
			}
			sets[i] = rep.keys
			if left--; left == 0 {
				then(sets, nil)
			}
		})
	}
}

func (s *txnSide) readKeys(p ring.PartitionID, keys [][]byte, check bool, deadline time.Duration, then func(reply)) {
	s.after(s.n.w.between(0, 500*time.Microsecond), func() {
		s.n.w.send(s.n, &request{
			ask: askKeys, group: p, keys: keys, deadline: deadline, wait: txnAttemptTime,
			ungated: s.n.w.cfg.Sabotage.DirtyReads || check && s.n.w.cfg.Sabotage.CheckVersions,
			done:    func(rep reply) { s.run(func() { then(rep) }) },
		})
	})
}

// unchanged compares two looks. An absent key has the version of its group's last removal (R10).
func unchanged(a, b []storage.ReadSet) bool {
	for i := range a {
		x, y := &a[i], &b[i]
		for k := range x.Items {
			if x.Items[k].Version != y.Items[k].Version || x.Items[k].Version == 0 && x.LastRemoval != y.LastRemoval {
				return false
			}
		}
	}
	return true
}

func (s *txnSide) readOutcome(r *running, sets []storage.ReadSet, rounds uint32) {
	votes := make([]*storage.Vote, len(sets))
	for i := range sets {
		v, err := storage.EvaluateReads(&r.plan.Parts[i].Prepare, &sets[i])
		if err != nil {
			s.n.w.violate("evaluate reads: %w", err)
			return
		}
		votes[i] = &v
	}
	head := txn.Outcome{
		ID: fmt.Sprintf("read-%d", s.newNonce()), Protocol: r.plan.Protocol, Participants: r.plan.Participants(), Attempts: rounds,
	}
	o := txn.AssembleOutcome(head, txn.Decide(votes), votes)
	o.Name(r.plan.Request)
	r.call.end(o, nil)
}
