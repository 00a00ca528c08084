package client

import (
	"sync/atomic"
	"time"
)

// penalty is how long an endpoint that gave no answer is asked last; it doubles with each failure in a row.
const (
	penalty    = 500 * time.Millisecond
	maxPenalty = 30 * time.Second
)

// endpoint is one node's client API. Used by any number of goroutines.
type endpoint struct {
	scheme string
	addr   string // host:port

	failures atomic.Int32 // unanswered attempts in a row
	badUntil atomic.Int64 // Unix nanoseconds
}

// failed notes that e gave no answer.
func (e *endpoint) failed(now time.Time) {
	n := min(e.failures.Add(1), 10)
	pause := min(penalty<<(n-1), maxPenalty)
	e.badUntil.Store(now.Add(pause).UnixNano())
}

// answered notes that e is there.
func (e *endpoint) answered() {
	if e.failures.Load() != 0 {
		e.failures.Store(0)
		e.badUntil.Store(0)
	}
}

// healthy reports whether e is worth asking before others.
func (e *endpoint) healthy(now time.Time) bool {
	return e.failures.Load() == 0 || e.badUntil.Load() <= now.UnixNano()
}
