package writeback

import (
	"fmt"
	"runtime"

	"github.com/ringkv/ringkv/storage"
)

// flight is a layer on its way into the engine below. There is one at a time. Its steps are taken by a goroutine that begin
// starts and land waits for: before the next flight, by Sync and by Close. In an engine of NewStepped they are taken by Step,
// and by land.
type flight struct {
	layer   *layer
	through uint64 // number of the newest commit in it, or before it
	sync    bool
	stage   stage         // of who takes its steps, as is err
	err     error         // why it failed
	done    chan struct{} // closed when it has ended: then the two above are the writer's to read
}

// stage is how far a flight has come.
type stage uint8

const (
	begun   stage = iota // the layer is in memory only
	written              // it is in the engine below, as a whole, and not synced
	ended                // as far as it was asked to, or by an error
)

// String is for messages.
func (s stage) String() string { return [...]string{"begun", "written", "ended"}[s] }

// begin makes the top layer the one below, and has it written down and, if asked, synced. No flight is under way.
func (e *Engine) begin(sync bool) {
	f := &flight{through: e.now.commit, sync: sync, done: make(chan struct{})}
	e.mu.Lock()
	e.now.below, e.now.top = e.now.top, newLayer(len(e.now.top.cells))
	f.layer = e.now.below
	e.mu.Unlock()
	e.flight = f
	if e.onBegin != nil {
		e.onBegin()
		return
	}
	go func() {
		for e.step(f) {
		}
	}()
}

// step takes the next step of a flight and tells whether another is left.
func (e *Engine) step(f *flight) bool {
	switch f.stage {
	case begun:
		if f.err = e.write(f.layer); f.err == nil && f.sync {
			f.stage = written
			return true
		}
	case written:
		f.err = e.under.Sync()
	case ended:
		panic("writeback: a step of a flight that has " + f.stage.String())
	}
	f.stage = ended
	close(f.done)
	return false
}

// Step takes the next step of what is being written down: the batch; the sync, if one was asked for. It tells whether
// another is left. Only engines of NewStepped have it; it belongs to the writer, whose next call says if it failed.
func (e *Engine) Step() bool {
	if e.onBegin == nil {
		panic("writeback: a step of an engine that takes its own")
	}
	f := e.flight
	return f != nil && f.stage != ended && e.step(f)
}

// write gives a layer to the engine below. Readers look there themselves as soon as it is there.
func (e *Engine) write(l *layer) error {
	err := l.writeTo(e.under)
	if err == nil {
		e.refresh(l)
	}
	e.settle(err)
	return err
}

// refreshed is how many cells are changed in the cache while readers and the writer wait: that takes some microseconds.
const refreshed = 32

// refresh has the cache follow the engine below, which has the cells of a layer now. Until readers look there too, nobody adds
// to the cache.
func (e *Engine) refresh(l *layer) {
	e.mu.Lock()
	e.cache.number++
	e.mu.Unlock()
	cells := make([]entry, 0, refreshed)
	flush := func() {
		e.mu.Lock()
		for _, c := range cells {
			e.cache.update(c)
		}
		e.mu.Unlock()
		cells = cells[:0]
		runtime.Gosched() // who waits for the lock has it first
	}
	_ = l.each(func(c entry) error {
		if c.deleted() && c.fresh() {
			return nil // nothing of it went down
		}
		if cells = append(cells, c); len(cells) == refreshed {
			flush()
		}
		return nil
	})
	flush()
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
	e.now.base, e.now.below = newBase(e.under, e.cache.number), nil
}

// landed tells whether the next flight can begin, and takes note of the one that has ended. After one that failed there is
// no other: the engine below must not be used again.
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
	return f.err == nil
}

// land waits for the flight, if there is one.
func (e *Engine) land() error {
	if f := e.flight; f != nil {
		if e.onBegin != nil {
			for e.Step() {
			}
		}
		<-f.done
		e.landed()
	}
	return e.usable()
}
