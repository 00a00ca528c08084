// Package deadline lends contexts that end at a time: one to everybody who asks for about the same. A context of one's
// own for each of a transaction's commands, here and where they are applied, took 3 % of it, most of that for a timer
// that hardly ever fires.
package deadline

import (
	"context"
	"sync"
	"time"
)

const (
	// Span is by how much a lent context may end late.
	Span = 50 * time.Millisecond
	// Near is how near an end must be to be kept exactly, by a context of its own.
	Near = time.Second
)

// Lender lends contexts. It is safe for concurrent use.
type Lender struct {
	parent context.Context //nolint:containedctx // of all that it lends
	begun  time.Time

	mu   sync.Mutex // guards lent
	lent map[time.Duration]loan
}

// loan is a context that ends at a multiple of Span after Lender.begun, its key.
type loan struct {
	ctx    context.Context //nolint:containedctx // for the next who asks
	cancel context.CancelFunc
}

// NewLender lends children of parent. Those that nobody asks for any more go with their time, or with the parent.
func NewLender(parent context.Context) *Lender {
	return &Lender{parent: parent, begun: time.Now(), lent: make(map[time.Duration]loan)}
}

// Until returns a context that ends at the given time, or up to Span later if that is further off than Near. done is to be
// called when it is needed no longer; where others may have the same context, that does not end it.
func (l *Lender) Until(at time.Time) (ctx context.Context, done context.CancelFunc) {
	if time.Until(at) < Near {
		return context.WithDeadline(l.parent, at)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	end := (at.Sub(l.begun) + Span - 1).Truncate(Span)
	lent, ok := l.lent[end]
	if !ok {
		l.forget()
		lent.ctx, lent.cancel = context.WithDeadline(l.parent, l.begun.Add(end))
		l.lent[end] = lent
	}
	return lent.ctx, func() {}
}

// forget drops the loans whose time is over. There is at most one for each Span that anybody looks ahead. mu is held.
func (l *Lender) forget() {
	for end, lent := range l.lent {
		if lent.ctx.Err() != nil {
			lent.cancel()
			delete(l.lent, end)
		}
	}
}
