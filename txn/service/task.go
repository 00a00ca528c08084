package service

import (
	"context"
	"sync"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// machine is a core of package txn.
type machine interface {
	Step(now time.Time, ev txn.Event) *txn.Effects
}

// task drives one machine: it carries its effects out and feeds it what comes back. Steps are serialized by a mutex, as
// they come from calls, from the timer and from whoever began it.
type task struct {
	s  *Service
	on func(*txn.Effects) // what the owner of the machine takes from every step; called with mu held, must not block

	mu      sync.Mutex // guards what is below
	machine machine
	timer   *time.Timer
	rings   time.Time // when timer goes off; zero when it did
	over    bool
}

func (s *Service) newTask(m machine, on func(*txn.Effects)) *task {
	return &task{s: s, machine: m, on: on}
}

// step feeds an event and carries the effects out.
func (t *task) step(ev txn.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stepLocked(ev)
}

// stepLocked is step with mu held.
func (t *task) stepLocked(ev txn.Event) {
	if t.over || t.s.ctx.Err() != nil {
		return
	}
	now := time.Now()
	e := t.machine.Step(now, ev)
	if e.Alarm != "" {
		t.s.alarm(e.Alarm)
	}
	for i := range e.Send {
		t.send(&e.Send[i])
	}
	t.wake(now, e.Wake)
	t.on(e)
	if e.Finished {
		t.end()
	}
}

// end drops the machine: nothing of it is needed any more. mu is held.
func (t *task) end() {
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// wake sees to it that the machine has a tick at that time, or before. A timer that is set for earlier is left alone: it
// hardly ever goes off before the machine has ended, and a tick too many does no harm.
func (t *task) wake(now, at time.Time) {
	switch {
	case at.IsZero():
	case t.timer == nil:
		t.rings, t.timer = at, time.AfterFunc(at.Sub(now), t.tick)
	case t.rings.IsZero(), at.Before(t.rings):
		t.rings = at
		t.timer.Reset(at.Sub(now))
	}
}

// tick runs on the timer's goroutine, which Close waits for like any other.
func (t *task) tick() {
	if !t.s.begin() {
		return
	}
	defer t.s.running.Done()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rings = time.Time{}
	t.stepLocked(txn.Tick{})
}

// errand is a command on its way to a group, and what comes back.
type errand struct {
	task  *task
	send  txn.Send
	reply txn.Reply
}

// send asks the group, without waiting. mu is held.
func (t *task) send(s *txn.Send) {
	e := &errand{task: t, send: *s}
	e.send.Txn.Mark = t.s.markOf(s.Txn.ID, s.To)
	t.s.cfg.Groups.BeginTransact(s.To, e.command(), s.Until, e.ended)
}

func (e *errand) command() []byte {
	return storage.AppendCommand(nil, &storage.Command{Kind: e.send.Kind, Txn: &e.send.Txn})
}

// ended is told how the first attempt went.
func (e *errand) ended(res storage.Result, err error) {
	if err == nil && res.Txn != nil {
		e.answered(res.Txn)
		return
	}
	s := e.task.s
	s.spawn(func(ctx context.Context) { e.insist(ctx, err != nil && s.cfg.Groups.NotSent(err)) })
}

func (e *errand) answered(r *storage.TxnReply) {
	e.reply = txn.Reply{From: e.send.To, Ref: e.send.Ref, Reply: r}
	e.task.s.mail.post(e)
}

// insist asks the group again after an attempt that failed, and waits until its leader is found. unsent tells whether that
// attempt certainly had no effect.
func (e *errand) insist(ctx context.Context, unsent bool) {
	ctx, cancel := context.WithDeadline(ctx, e.send.Until)
	defer cancel()
	groups := e.task.s.cfg.Groups
	res, err := groups.Transact(ctx, e.send.To, e.command())
	if err == nil && res.Txn != nil {
		e.answered(res.Txn)
		return
	}
	e.task.step(txn.Failed{From: e.send.To, Ref: e.send.Ref, NotSent: unsent && err != nil && groups.NotSent(err)})
}
