package main

import (
	"context"
	"sync/atomic"
	"time"
)

// lockAndUnlock takes a lock, waiting for it if need be, and gives it back.
func (w *worker) lockAndUnlock(ctx context.Context) (*opStats, error) {
	name := w.keys.plainKey(w.rand.IntN(w.keys.n))
	began := time.Now()
	lock, err := w.client.Lock(ctx, name)
	if err != nil {
		return &w.locks, err
	}
	released := w.load.releasedAt(name)
	if last := time.Unix(0, released.Load()); last.After(began) {
		w.part(&w.handed, last, time.Now())
	}
	released.Store(time.Now().UnixNano())
	return &w.locks, lock.Unlock(ctx)
}

// releasedAt is when the lock called name was last given back; it is 0 before.
func (l *load) releasedAt(name string) *atomic.Int64 {
	at, known := l.released.Load(name)
	if !known {
		at, _ = l.released.LoadOrStore(name, new(atomic.Int64))
	}
	last, _ := at.(*atomic.Int64)
	return last
}
