package sim

import (
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// machine is a core of package txn.
type machine interface {
	Step(now time.Time, ev txn.Event) *txn.Effects
}

// task drives one machine: it carries its effects out and feeds it what comes back.
type task struct {
	s       *txnSide
	machine machine
	on      func(*txn.Effects) // what the owner takes from every step
	wakes   int                // counts the ticks planned; all but the last are void
	over    bool
	sends   int // of its whole life
	fuse    int // the node crashes after so many sends; 0: never
}

func (s *txnSide) newTask(m machine, on func(*txn.Effects)) *task {
	return &task{s: s, machine: m, on: on}
}

// step feeds an event and carries the effects out.
func (t *task) step(ev txn.Event) {
	if t.over || t.s.dead() {
		return
	}
	e := t.machine.Step(t.s.clock(), ev)
	if e.Alarm != "" {
		t.s.n.w.violate("node %s: invariant %s of the commit protocol is broken", t.s.n.name, e.Alarm)
	}
	t.over = e.Finished
	for i := range e.Send {
		t.send(e.Send[i])
	}
	t.wake(e.Wake)
	t.on(e)
}

func (t *task) wake(at time.Time) {
	t.wakes++
	n := t.wakes
	if at.IsZero() || t.over {
		return
	}
	t.s.after(at.Sub(t.s.clock()), func() {
		if t.wakes == n {
			t.step(txn.Tick{})
		}
	})
}

// send hands a command out, a little later: in the real node each is a goroutine of its own.
func (t *task) send(c txn.Send) {
	w := t.s.n.w
	w.txns.sent(&c)
	bad := w.tamper(&c)
	t.sends++
	if t.sends == t.fuse {
		t.s.crashSoon()
	}
	delay := w.between(0, 500*time.Microsecond) + bad.Delay
	if bad.Reply == nil {
		t.s.after(delay, func() { t.carry(c, bad.Then) })
		return
	}
	t.s.after(delay, func() { t.answered(c, bad.Reply) })
	if bad.Then != nil {
		t.s.after(delay, func() { t.carry(*bad.Then, nil) })
	}
}

func (t *task) carry(c txn.Send, then *txn.Send) {
	s := t.s
	n := s.n
	n.w.probe(n, Point{Actor: Coordinator, Kind: c.Kind, Group: c.To, Step: StepSend})
	c.Txn.Mark = s.markOf(c.Txn.ID, c.To)
	r := &request{
		ask: askTxn, group: c.To, data: storage.AppendCommand(nil, &storage.Command{Kind: c.Kind, Txn: &c.Txn}),
		deadline: s.until(c.Until), wait: txnAttemptTime,
	}
	mark := c.Txn.Mark
	r.done = func(rep reply) {
		s.run(func() {
			if rep.outcome != answered {
				t.step(txn.Failed{From: c.To, Ref: c.Ref, NotSent: rep.outcome == noEffect})
				return
			}
			if mark > 0 {
				s.told[c.To].mark = max(s.told[c.To].mark, mark)
			}
			t.answered(c, rep.result.Txn)
			if then != nil {
				t.carry(*then, nil)
			}
		})
	}
	r.late = func(rep reply) { s.run(func() { t.answered(c, rep.result.Txn) }) }
	n.w.send(n, r)
	n.w.probe(n, Point{Actor: Coordinator, Kind: c.Kind, Group: c.To, Step: StepSend, After: true})
}

func (t *task) answered(c txn.Send, rep *storage.TxnReply) {
	n := t.s.n
	if rep == nil {
		n.w.violate("partition %d does not understand a command of kind %d", c.To, c.Kind)
		return
	}
	n.w.txns.heard(rep)
	n.w.probe(n, Point{Actor: Coordinator, Kind: c.Kind, Group: c.To, Step: StepReply})
	t.step(&txn.Reply{From: c.To, Ref: c.Ref, Reply: rep})
	n.w.probe(n, Point{Actor: Coordinator, Kind: c.Kind, Group: c.To, Step: StepReply, After: true})
}

// crashSoon ends the process between two events, as if right after what it does now.
func (s *txnSide) crashSoon() {
	n, w := s.n, s.n.w
	w.after(0, func() {
		if !s.dead() && !w.calm {
			w.stats.CoordKills++
			n.crash(w.chance(0.5))
			n.restartLater()
		}
	})
}
