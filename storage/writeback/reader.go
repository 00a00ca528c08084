package writeback

import (
	"bytes"
	"errors"
	"sync/atomic"

	"github.com/ringkv/ringkv/storage"
)

// base is a view of the engine below, shared by all readers that began while it was the newest.
type base struct {
	storage.View
	number uint64 // as the cache counts
	users  atomic.Int64
}

func newBase(e storage.Engine, number uint64) *base {
	b := &base{View: e.View(), number: number}
	b.users.Store(1)
	return b
}

func (b *base) release() {
	if b.users.Add(-1) == 0 {
		b.Close()
	}
}

// moment is the state after one commit: of each cell the newest version up to it, from the first that has one of the two
// layers and the engine below.
type moment struct {
	engine *Engine
	commit uint64
	top    *layer
	below  *layer // nil if nothing is being written down
	base   *base
	// uncached: the cache is not used.
	uncached bool
}

// get is as storage.Reader says.
func (m *moment) get(t tag, key []byte) ([]byte, error) {
	v, ok := m.inMemory(t, key)
	switch {
	case !ok:
		return m.inBase(t, key)
	case v.deleted:
		return nil, storage.ErrNotFound
	}
	return v.value, nil
}

func (m *moment) inMemory(t tag, key []byte) (version, bool) {
	e := m.engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	if v, ok := m.top.get(t, key, m.commit); ok {
		return v, true
	}
	if v, ok := m.below.get(t, key, m.commit); ok {
		return v, true
	}
	if m.uncached {
		return version{}, false
	}
	return e.cache.get(t, key, m.base.number)
}

// inBase reads what only the engine below has, and caches it.
func (m *moment) inBase(t tag, key []byte) ([]byte, error) {
	value, err := m.base.Get(key)
	absent := errors.Is(err, storage.ErrNotFound)
	if err != nil && !absent || m.uncached || len(key) > storage.MaxEngineKeyBytes || len(value) > maxCached {
		return value, err
	}
	e := m.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cache.number == m.base.number {
		e.cache.add(t, key, version{value: value, deleted: absent})
	}
	return value, err
}

// scan is as storage.Reader says; hits are a batch's own writes in the range. What is in memory is collected at once: there
// is little of it in one range.
func (m *moment) scan(hits []entry, start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	s := merge{hits: m.collect(hits, start, end), keysOnly: keysOnly, fn: fn}
	if err := m.base.Scan(start, end, keysOnly, s.visit); err != nil || s.ended {
		return err
	}
	return s.rest()
}

func (m *moment) collect(hits []entry, start, end []byte) []entry {
	m.engine.mu.RLock()
	hits = m.top.collect(hits, start, end, m.commit)
	hits = m.below.collect(hits, start, end, m.commit)
	m.engine.mu.RUnlock()
	return order(hits)
}

// merge hands out cells from memory and from the engine below in one order; memory counts where both have a key.
type merge struct {
	hits     []entry
	keysOnly bool
	fn       func(key, value []byte) (bool, error)
	ended    bool
}

// visit takes a cell of the engine below.
func (s *merge) visit(key, value []byte) (bool, error) {
	for len(s.hits) > 0 && bytes.Compare(s.hits[0].key(), key) < 0 {
		if more, err := s.next(); err != nil || !more {
			return false, err
		}
	}
	if len(s.hits) > 0 && bytes.Equal(s.hits[0].key(), key) {
		return s.next()
	}
	return s.give(key, value)
}

func (s *merge) next() (bool, error) {
	h := s.hits[0]
	s.hits = s.hits[1:]
	switch {
	case h.deleted():
		return true, nil
	case s.keysOnly:
		return s.give(h.key(), nil)
	}
	return s.give(h.key(), h.value())
}

func (s *merge) give(key, value []byte) (bool, error) {
	more, err := s.fn(key, value)
	s.ended = !more || err != nil
	return more, err
}

func (s *merge) rest() error {
	for len(s.hits) > 0 && !s.ended {
		if _, err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// view is one moment of an Engine.
type view struct {
	moment
	closed atomic.Bool
}

// Get is as storage.Reader says.
func (v *view) Get(key []byte) ([]byte, error) {
	if v.closed.Load() {
		return nil, storage.ErrClosed
	}
	if len(key) < storage.MinKeyBytes {
		return nil, storage.ErrBadKey
	}
	return v.get(v.engine.tag(key), key)
}

// Scan is as storage.Reader says.
func (v *view) Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	if v.closed.Load() {
		return storage.ErrClosed
	}
	return v.scan(nil, start, end, keysOnly, fn)
}

// Close ends the view.
func (v *view) Close() {
	if v.closed.CompareAndSwap(false, true) {
		v.base.release()
	}
}
