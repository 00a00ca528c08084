package watch

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Watcher is one reader of changes. One goroutine uses it; Close may be called from any, once it no longer does.
type Watcher struct {
	hub    *Hub
	prefix []byte
	codec  codec

	// The reader's.
	at    position
	batch []*Event // to be returned, in order
	upto  []uint64 // what is reached behind the batch; nil: nothing more than the batch says
	catch *catchUp // nil once it reads what the feed hands out
	timer *time.Timer

	// Guarded by the hub's mutex.
	feed       *feed
	registered bool
	counted    bool
	ahead      *position // what the feed is yet to hand out that w has already; never changed

	mu    sync.Mutex // guards what follows
	queue []*Event
	bytes int
	err   error         // why no more comes
	news  chan struct{} // a token when there is something to look at
}

// queueSlot is what a queued event costs beside itself, in bytes.
const queueSlot = 16

// push queues an event for the reader, or gives the reader up. It never waits.
func (w *Watcher) push(e *Event) {
	if w.ahead != nil && w.ahead.covers(e.Partition, &e.Change) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if w.full(e) {
		w.drop(ErrLagged)
		return
	}
	w.queue = append(w.queue, e)
	w.bytes += e.Size()
	w.hub.hold(e)
	w.wake()
}

// full tells whether an event is too much. An entry is taken as a whole.
func (w *Watcher) full(e *Event) bool {
	n := len(w.queue)
	if n == 0 || w.queue[n-1].Index == e.Index && w.queue[n-1].Partition == e.Partition {
		return false
	}
	c := &w.hub.cfg
	return n >= c.QueueEvents || w.bytes >= c.QueueBytes || w.hub.held.Load() >= c.HeldBytes
}

func (w *Watcher) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// cut ends the watcher with err.
func (w *Watcher) cut(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.drop(err)
	}
}

// drop forgets what is queued: the cursor is behind what the reader got.
func (w *Watcher) drop(err error) {
	w.err = err
	if err == ErrLagged { //nolint:errorlint // one of our own, as it is
		w.hub.lagged.Add(1)
	}
	w.hub.release(w.queue)
	w.queue, w.bytes = nil, 0
	w.wake()
}

// hold and release keep count of what queues hold.
func (h *Hub) hold(e *Event) {
	size := int64(queueSlot)
	if e.held.Add(1) == 1 {
		size += int64(e.Size())
	}
	h.held.Add(size)
}

func (h *Hub) release(events []*Event) {
	size := int64(0)
	for _, e := range events {
		size += queueSlot
		if e.held.Add(-1) == 0 {
			size += int64(e.Size())
		}
	}
	h.held.Add(-size)
}

// Next waits for the next event; nil if none came within wait. The event must not be changed.
//
// Errors: ErrLagged if the reader was too slow, ErrClosed if the node stops, ctx's. Cursor says where to go on, after all
// of them.
func (w *Watcher) Next(ctx context.Context, wait time.Duration) (*Event, error) {
	for {
		if len(w.batch) > 0 {
			return w.pop(), nil
		}
		if w.catch != nil {
			if more, err := w.catchUp(ctx, wait); !more || err != nil {
				return nil, err
			}
			continue
		}
		if err := w.take(); err != nil {
			return nil, err
		}
		if len(w.batch) > 0 {
			continue
		}
		if wait <= 0 {
			return nil, nil
		}
		if news, err := w.sleep(ctx, wait); !news || err != nil {
			return nil, err
		}
	}
}

func (w *Watcher) pop() *Event {
	e := w.batch[0]
	w.batch[0] = nil
	w.batch = w.batch[1:]
	w.at.pass(e)
	if len(w.batch) == 0 {
		w.batch = nil
		w.settle()
	}
	w.hub.events.Add(1)
	return e
}

// settle moves to where the reader is after its batch.
func (w *Watcher) settle() {
	w.at.reach(w.upto)
	w.upto = nil
}

// take moves what is queued to the batch. What the feed had handed out before is in the queue: looking at the feed first
// makes it safe to believe that the reader has come as far.
func (w *Watcher) take() error {
	upto := w.handedOut()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.batch, w.upto = w.queue, upto
	w.hub.release(w.queue)
	w.queue, w.bytes = nil, 0
	if len(w.batch) == 0 {
		w.settle()
	}
	return nil
}

func (w *Watcher) handedOut() []uint64 {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return slices.Clone(w.feed.at)
}

// sleep waits for news.
func (w *Watcher) sleep(ctx context.Context, wait time.Duration) (news bool, err error) {
	if w.timer == nil {
		w.timer = time.NewTimer(wait)
	} else {
		w.timer.Reset(wait)
	}
	defer w.timer.Stop()
	select {
	case <-w.news:
		return true, nil
	case <-w.timer.C:
		return false, w.take()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// Cursor is where the watcher stands: behind the last event that Next returned.
func (w *Watcher) Cursor() string { return w.codec.encode(&w.at) }

// Close gives the watcher's place back.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	if w.feed != nil {
		w.feed.remove(w)
		w.feed = nil
	}
	if w.counted {
		w.counted = false
		w.hub.watchers--
	}
	w.hub.mu.Unlock()
	w.cut(ErrClosed)
	if w.catch != nil {
		w.catch.end()
		w.catch = nil
	}
}
