package writeback

import (
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

// flight is a layer on its way into the engine below. There is one at a time. Its goroutine is started by begin, and
// waited for by land: before the next flight, by Sync and by Close.
type flight struct {
	through uint64 // number of the newest commit in it, or before it
	sync    bool
	err     error // why it failed; to be read once done is closed
	done    chan struct{}
}

// begin makes the top layer the one below, and has it written down and, if asked, synced. No flight is under way.
func (e *Engine) begin(sync bool) {
	f := &flight{through: e.now.commit, sync: sync, done: make(chan struct{})}
	e.mu.Lock()
	e.now.below, e.now.top = e.now.top, newLayer(e.seed)
	below := e.now.below
	e.mu.Unlock()
	e.flight = f
	go func() {
		defer close(f.done)
		f.err = e.write(below, sync)
	}()
}

// write is what a flight does. Readers look below themselves as soon as it is there.
func (e *Engine) write(l *layer, sync bool) error {
	err := l.writeTo(e.under)
	e.settle(err)
	if err == nil && sync {
		err = e.under.Sync()
	}
	return err
}

// settle has readers that begin from now on look at the engine below as it is, if err is nil, and refuses everything else.
func (e *Engine) settle(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.failed = fmt.Errorf("write behind: %w: %w", storage.ErrFailed, err)
		return
	}
	e.now.base.release()
	e.now.base, e.now.below = newBase(e.under), nil
}

// landed tells whether no flight is under way, and takes note of the one that has ended.
func (e *Engine) landed() bool {
	f := e.flight
	if f == nil {
		return true
	}
	select {
	case <-f.done:
	default:
		return false
	}
	e.flight = nil
	switch {
	case f.err != nil:
		e.settle(f.err)
	case f.sync:
		e.synced = f.through
	}
	return true
}

// land waits for the flight, if there is one.
func (e *Engine) land() error {
	if f := e.flight; f != nil {
		<-f.done
		e.landed()
	}
	return e.usable()
}
