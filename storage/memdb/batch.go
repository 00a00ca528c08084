package memdb

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

// View is one moment of an Engine.
type View struct {
	engine *Engine
	tree   *tree
	failed error // why the engine was of no use when the view was opened
	closed bool
}

// Get is as storage.Reader says.
func (v *View) Get(key []byte) ([]byte, error) {
	if err := v.usable(); err != nil {
		return nil, err
	}
	return get(v.tree, key)
}

// Scan is as storage.Reader says.
func (v *View) Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	if err := v.usable(); err != nil {
		return err
	}
	return scan(v.tree, start, end, keysOnly, fn)
}

// Close ends the view.
func (v *View) Close() { v.closed = true }

func (v *View) usable() error {
	if v.closed {
		return storage.ErrClosed
	}
	if err := v.engine.usable(); errors.Is(err, storage.ErrClosed) {
		return err
	}
	return v.failed
}

// Batch is one write of an Engine.
type Batch struct {
	engine *Engine
	tree   *tree // the engine's state with the writes done
	size   int
	ended  bool
}

// Get is as storage.Reader says.
func (b *Batch) Get(key []byte) ([]byte, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	return get(b.tree, key)
}

// Scan is as storage.Reader says.
func (b *Batch) Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	if err := b.usable(); err != nil {
		return err
	}
	return scan(b.tree.Clone(), start, end, keysOnly, fn)
}

// Set is as storage.Batch says.
func (b *Batch) Set(key, value []byte) error {
	if err := b.take(key, value); err != nil {
		return err
	}
	b.tree.ReplaceOrInsert(pair{slices.Clone(key), append([]byte{}, value...)})
	return nil
}

// Create is as storage.Batch says. It panics where the key is there: the caller's invariant is broken, and an engine that
// relied on it would have lost a cell.
func (b *Batch) Create(key, value []byte) error {
	if _, err := b.Get(key); err == nil {
		panic(fmt.Sprintf("memdb: the cell %x is there already", key))
	}
	return b.Set(key, value)
}

// Delete is as storage.Batch says.
func (b *Batch) Delete(key []byte) error {
	if err := b.take(key, nil); err != nil {
		return err
	}
	b.tree.Delete(pair{key: key})
	return nil
}

// Size is as storage.Batch says.
func (b *Batch) Size() int { return b.size }

// Commit is as storage.Batch says.
func (b *Batch) Commit() error {
	if b.ended {
		return storage.ErrClosed
	}
	b.ended = true
	return b.engine.commit(b.tree)
}

// Discard is as storage.Batch says.
func (b *Batch) Discard() {
	if !b.ended {
		b.ended = true
		b.engine.discard()
	}
}

func (b *Batch) usable() error {
	if b.ended {
		return storage.ErrClosed
	}
	return b.engine.usable()
}

// take counts a write, or refuses it.
func (b *Batch) take(key, value []byte) error {
	if err := b.usable(); err != nil {
		return err
	}
	if len(key) < storage.MinKeyBytes || len(key) > storage.MaxEngineKeyBytes {
		return storage.ErrBadKey
	}
	size := b.size + len(key) + len(value) + storage.WriteOverhead
	if len(value) > storage.MaxCellBytes || size > b.engine.opts.MaxBatchBytes {
		return storage.ErrTooLarge
	}
	b.size = size
	return nil
}

func get(t *tree, key []byte) ([]byte, error) {
	p, ok := t.Get(pair{key: key})
	if !ok {
		return nil, storage.ErrNotFound
	}
	return p.value, nil
}

func scan(t *tree, start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	var err error
	visit := func(p pair) bool {
		value := p.value
		if keysOnly {
			value = nil
		}
		var more bool
		more, err = fn(p.key, value)
		return more && err == nil
	}
	if end == nil {
		t.AscendGreaterOrEqual(pair{key: start}, visit)
	} else {
		t.AscendRange(pair{key: start}, pair{key: end}, visit)
	}
	return err
}
