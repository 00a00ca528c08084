package watch

import (
	"context"
	"sync"
	"time"
)

// rounds asks for the heads of all partitions, once for all who ask at about the same time: whoever asks gets the answer of
// a round that began afterwards.
type rounds struct {
	mu      sync.Mutex // guards what follows
	running bool
	waiting *round
}

type round struct {
	done  chan struct{}
	heads []uint64
	err   error
}

// roundTimeout bounds a round, whoever waits for it.
const roundTimeout = 10 * time.Second

func (r *rounds) next(ctx context.Context, h *Hub) ([]uint64, error) {
	r.mu.Lock()
	if r.waiting == nil {
		r.waiting = &round{done: make(chan struct{})}
	}
	mine := r.waiting
	if !r.running {
		if !h.task(func() { r.run(h) }) {
			r.mu.Unlock()
			return nil, ErrClosed
		}
		r.running = true
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.heads, mine.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-h.ctx.Done():
		return nil, ErrClosed
	}
}

// run does rounds until nobody waits for one.
func (r *rounds) run(h *Hub) {
	for {
		r.mu.Lock()
		now := r.waiting
		r.waiting, r.running = nil, now != nil
		r.mu.Unlock()
		if now == nil {
			return
		}
		ctx, cancel := context.WithTimeout(h.ctx, roundTimeout)
		now.heads, now.err = h.cluster.Heads(ctx)
		cancel()
		close(now.done)
	}
}

// task runs fn on a goroutine that Close waits for; false if the hub is closed.
func (h *Hub) task(fn func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.tasks.Go(fn)
	return true
}
