package writeback

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/ringkv/ringkv/storage"
)

// Engine is a storage.Engine over another one. Whoever is its one writer calls everything but View, DiskBytes and what is
// said to be for all.
type Engine struct {
	under   storage.Engine
	most    int         // bytes of a layer that is written down, as Batch.Size counts, but for a single commit that is larger
	writing atomic.Bool // a batch is open
	seed    maphash.Seed
	own     *layer  // of the open batch
	flight  *flight // what is being written down, nil if nothing is; the writer's, as are the next two
	synced  uint64  // number of the last commit that is known to be durable
	closed  bool
	onBegin func() // nil: a flight has a goroutine, which takes its steps

	mu     sync.RWMutex  // guards all below, and the cells of top
	now    moment        // the state after the last commit
	seen   atomic.Uint64 // number of the commit that the newest view sees
	cache  cache         // of what is read from the engine below
	failed error         // why the engine can no longer be used
}

var _ storage.Engine = (*Engine)(nil)

// New puts an Engine in front of under, which it owns from then on: nobody else commits to it, syncs or closes it.
func New(under storage.Engine) *Engine {
	e := &Engine{
		under: under, most: under.MaxBatchBytes(), seed: maphash.MakeSeed(), own: newLayer(0), cache: newCache(),
	}
	e.now = moment{engine: e, top: newLayer(0), base: newBase(under, e.cache.number)}
	return e
}

// NewStepped is New for who wants everything to happen in one goroutine. What is being written down makes its way only when
// Step is called, and when the writer has to wait for it. onBegin is told that there is something for Step to do; it must not
// use the engine. Layers are bounded by so many bytes, as Batch.Size counts, where that is less than what fits a batch of under.
func NewStepped(under storage.Engine, layerBytes int, onBegin func()) *Engine {
	e := New(under)
	e.most, e.onBegin = min(e.most, layerBytes), onBegin
	return e
}

// View is as storage.Engine says.
func (e *Engine) View() storage.View { return e.view(false) }

// UncachedView is View for who wants to know what the engine below has, as far as nothing newer is in memory. It may be
// called by all, as View.
func (e *Engine) UncachedView() storage.View { return e.view(true) }

func (e *Engine) view(uncached bool) *view {
	e.mu.RLock()
	defer e.mu.RUnlock()
	e.seen.Store(e.now.commit) // by others at a time the same
	v := &view{moment: e.look()}
	v.uncached = uncached
	return v
}

// look returns the moment that is now; its base is to be released.
func (e *Engine) look() moment {
	e.now.base.users.Add(1)
	return e.now
}

// Batch is as storage.Engine says. It panics where another batch is open: the caller's invariant is broken.
func (e *Engine) Batch() storage.Batch {
	if !e.writing.CompareAndSwap(false, true) {
		panic("writeback: two batches at a time")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return &batch{moment: e.look(), own: e.own}
}

// MaxBatchBytes is as storage.Engine says.
func (e *Engine) MaxBatchBytes() int { return e.under.MaxBatchBytes() }

// DiskBytes is as storage.Engine says.
func (e *Engine) DiskBytes() int64 { return e.under.DiskBytes() }

// The top layer is written down when it takes so much memory, with versions that nobody needs any more; where the disk is
// slow and the one before is still on its way, commits wait at maxMemory.
const (
	muchMemory = 16 << 20
	maxMemory  = 64 << 20
)

// commit adds what a batch has written to the top layer, and has that written down if it is large.
func (e *Engine) commit(own *layer) error {
	if err := e.usable(); err != nil {
		return err
	}
	if e.now.top.bytes+own.bytes > e.most || e.now.top.arena.bytes > maxMemory {
		if err := e.land(); err != nil {
			return err
		}
		e.begin(false)
	}
	e.merge(own)
	if top := e.now.top; (top.bytes > e.most/2 || top.arena.bytes > muchMemory) && e.landed() {
		e.begin(false)
	}
	return nil
}

func (e *Engine) merge(own *layer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now.commit++
	_ = own.each(func(written entry) error {
		t, key, v := written.tag(), written.key(), written.version()
		v.commit = e.now.commit
		e.now.top.put(t, key, v, e.seen.Load(), v.deleted && e.absentBelow(t, key))
		return nil
	})
}

// absentBelow tells whether nothing below the top layer is known to have key. Only of what is deleted that matters; it does
// not change while the layer is the top one.
func (e *Engine) absentBelow(t tag, key []byte) bool {
	v, ok := e.now.below.get(t, key, newest)
	if !ok {
		v, ok = e.cache.get(t, key, e.cache.number)
	}
	return ok && v.deleted
}

func (e *Engine) tag(key []byte) tag { return tag(maphash.Bytes(e.seed, key) >> tagBits) }

func (e *Engine) usable() error {
	if e.closed {
		return storage.ErrClosed
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.failed
}

// Sync is as storage.Engine says.
func (e *Engine) Sync() error {
	if err := e.land(); err != nil || e.synced == e.now.commit {
		return err
	}
	e.begin(true)
	return e.land()
}

// StartSync begins to do what Sync does with everything committed so far, and leaves it to go on beside the writer. The
// writer asks the function returned, between batches, until that says true or returns an error, as Sync would.
func (e *Engine) StartSync() func() (bool, error) {
	target := e.now.commit
	return func() (bool, error) {
		switch {
		case e.usable() != nil:
			return false, e.usable()
		case !e.landed():
			return false, e.usable()
		case e.synced >= target:
			return true, nil
		}
		e.begin(true)
		return false, nil
	}
}

// Exclusive calls fn while everything that was committed is in the engine below and nothing is written there, so that fn
// may be its writer. After an error the engine must not be used again.
func (e *Engine) Exclusive(fn func() error) error {
	if err := e.Sync(); err != nil {
		return err
	}
	err := fn()
	e.mu.Lock()
	e.cache.forget()
	e.mu.Unlock()
	e.settle(err)
	return err
}

// Close is as storage.Engine says.
func (e *Engine) Close() error {
	if e.closed {
		return nil
	}
	err := e.Sync()
	_ = e.land() // what failed was told
	e.closed = true
	e.now.base.release()
	if err := errors.Join(err, e.under.Close()); err != nil {
		return fmt.Errorf("close engine: %w", err)
	}
	return nil
}
