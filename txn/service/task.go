package service

import (
	"context"
	"errors"
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
	over    bool
}

func (s *Service) newTask(m machine, on func(*txn.Effects)) *task {
	return &task{s: s, machine: m, on: on}
}

// step feeds an event and carries the effects out.
func (t *task) step(ev txn.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.s.ctx.Err() != nil {
		return
	}
	now := time.Now()
	e := t.machine.Step(now, ev)
	if e.Alarm != "" {
		t.s.alarm(e.Alarm)
	}
	for i := range e.Send {
		t.send(e.Send[i])
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

func (t *task) wake(now, at time.Time) {
	switch {
	case at.IsZero() && t.timer != nil:
		t.timer.Stop()
	case at.IsZero():
	case t.timer == nil:
		t.timer = time.AfterFunc(at.Sub(now), t.tick)
	default:
		t.timer.Reset(at.Sub(now))
	}
}

// tick runs on the timer's goroutine, which Close waits for like any other.
func (t *task) tick() {
	if t.s.begin() {
		defer t.s.running.Done()
		t.step(txn.Tick{})
	}
}

// send asks the group, without waiting. mu is held.
func (t *task) send(s txn.Send) {
	ctx, release := t.s.deadlines.Until(s.Until)
	s.Txn.Mark = t.s.markOf(s.Txn.ID, s.To)
	t.s.cfg.Groups.Begin(ctx, s.To, encode(&s), func(res storage.Result, err error) {
		release()
		if err == nil && res.Txn != nil {
			t.s.arrived(t, &s, res.Txn)
			return
		}
		t.s.spawn(func(context.Context) { t.insist(&s, errors.Is(err, ErrNotSent)) })
	})
}

// insist asks the group again after an attempt that failed, and waits until its leader is found. unsent tells whether that
// attempt certainly had no effect.
func (t *task) insist(s *txn.Send, unsent bool) {
	ctx, release := t.s.deadlines.Until(s.Until)
	defer release()
	res, err := t.s.cfg.Groups.Transact(ctx, s.To, encode(s))
	if err != nil || res.Txn == nil {
		t.step(txn.Failed{From: s.To, Ref: s.Ref, NotSent: unsent && errors.Is(err, ErrNotSent)})
		return
	}
	t.s.arrived(t, s, res.Txn)
}

func encode(s *txn.Send) []byte {
	return storage.AppendCommand(nil, &storage.Command{Kind: s.Kind, Txn: &s.Txn})
}
