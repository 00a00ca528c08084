package worker_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ringkv/ringkv/storage"
)

// tardy is an engine that syncs beside the worker, and has not done so before it was asked a number of times.
type tardy struct {
	storage.Engine
	polls int
	err   error
}

// StartSync begins to sync, at the end.
func (e *tardy) StartSync() func() (bool, error) {
	left := e.polls
	return func() (bool, error) {
		if left > 0 {
			left--
			return false, nil
		}
		return e.err == nil, errors.Join(e.err, e.Sync())
	}
}

// The log keeps what a sync that was begun has not made durable yet, however long that takes.
func TestNothingIsLostBeforeASyncHasEnded(t *testing.T) {
	for _, polls := range []int{0, 1, 5, 20, math.MaxInt} {
		m := newMachine(t)
		m.keep = 1
		m.wrap = func(e storage.Engine) storage.Engine { return &tardy{Engine: e, polls: polls} }
		m.form()
		m.open()
		m.settle()
		const ticks = 40
		first := m.log.FirstIndex(0)
		for i := range ticks {
			a := m.ask(put(0, fmt.Sprint(i), "v"))
			m.settle()
			a.want(t, nil)
			m.pass(100 * time.Millisecond)
		}
		if compacted := m.log.FirstIndex(0) > first; compacted != (polls < math.MaxInt) {
			t.Fatalf("%d polls: the log begins at %d", polls, m.log.FirstIndex(0))
		}
		m.rng = rand.New(worst{})
		m.powercut()
		m.open()
		m.settle()
		for i := range ticks {
			if got := m.get(0, fmt.Sprint(i)); got != "v" {
				t.Fatalf("%d polls: key %d is %q", polls, i, got)
			}
		}
	}
}

// A sync that fails beside the worker ends it.
func TestSyncBehindFails(t *testing.T) {
	m := newMachine(t)
	m.wrap = func(e storage.Engine) storage.Engine { return &tardy{Engine: e, polls: 3, err: errDisk} }
	m.form()
	m.open()
	m.settle()
	for range 30 {
		m.now += 100 * time.Millisecond
		m.worker.Tick(m.now)
		if err := m.worker.Turn(m.now); errors.Is(err, errDisk) {
			return
		}
	}
	t.Fatal("the failure was not noticed")
}
