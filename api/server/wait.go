package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// waits are the requests for single keys that the Store has. Each has a context that ends with the request's, which says
// that the client has left, and after a timeout. But it has neither a timer of its own nor a place among its parent's
// children: all are looked at together, every lookEvery, and end up to so much late. context.WithTimeout takes nine
// allocations for each, and took 3 % of a GET, for news that hardly ever comes.
type waits struct {
	timeout time.Duration

	mu      sync.Mutex // guards what follows
	open    map[*wait]struct{}
	look    *time.Timer // nil before the first wait
	looking bool        // look is set
}

const lookEvery = 50 * time.Millisecond

// wait is the context of one of them.
type wait struct {
	context.Context // of the request
	deadline        time.Time
	done            chan struct{} // closed once end is set
	end             atomic.Uint32
}

// Why a wait has ended; 0 while it has not.
const (
	waitClosed uint32 = iota + 1
	waitTimedOut
	waitForsaken // its request has ended
)

func newWaits(timeout time.Duration) *waits {
	return &waits{timeout: timeout, open: make(map[*wait]struct{})}
}

// begin opens a wait under a request's context. The caller closes it.
func (s *waits) begin(request context.Context) *wait {
	w := &wait{Context: request, deadline: time.Now().Add(s.timeout), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[w] = struct{}{}
	if !s.looking {
		s.lookLater()
	}
	return w
}

func (s *waits) close(w *wait) {
	s.mu.Lock()
	delete(s.open, w)
	s.mu.Unlock()
	w.finish(waitClosed)
}

// lookLater sets the timer. mu is held.
func (s *waits) lookLater() {
	s.looking = true
	if s.look == nil {
		s.look = time.AfterFunc(lookEvery, s.lookAtAll)
	} else {
		s.look.Reset(lookEvery)
	}
}

// lookAtAll ends the waits that are over, and comes back while there are any.
func (s *waits) lookAtAll() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.open {
		switch {
		case w.Context.Err() != nil:
			w.finish(waitForsaken)
		case !now.Before(w.deadline):
			w.finish(waitTimedOut)
		default:
			continue
		}
		delete(s.open, w) // a handler that panicked does not close it
	}
	if s.looking = len(s.open) > 0; s.looking {
		s.lookLater()
	}
}

// finish ends the wait, unless it has ended.
func (w *wait) finish(why uint32) {
	if w.end.CompareAndSwap(0, why) {
		close(w.done)
	}
}

// Deadline implements context.Context.
func (w *wait) Deadline() (time.Time, bool) { return w.deadline, true }

// Done implements context.Context.
func (w *wait) Done() <-chan struct{} { return w.done }

// Err implements context.Context.
func (w *wait) Err() error {
	switch w.end.Load() {
	case 0:
		return nil
	case waitTimedOut:
		return context.DeadlineExceeded
	case waitForsaken:
		return w.Context.Err()
	}
	return context.Canceled
}
