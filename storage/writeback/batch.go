package writeback

import "github.com/ringkv/ringkv/storage"

// batch is the one write of an Engine.
type batch struct {
	moment
	own   *layer // what it has written
	size  int
	lent  bool // somebody may have slices of own
	ended bool
}

// Get is as storage.Reader says.
func (b *batch) Get(key []byte) ([]byte, error) {
	switch {
	case b.ended:
		return nil, storage.ErrClosed
	case len(key) < storage.MinKeyBytes:
		return nil, storage.ErrBadKey
	}
	t := b.engine.tag(key)
	v, ok := b.own.get(t, key, newest)
	switch {
	case !ok:
		return b.get(t, key)
	case v.deleted:
		return nil, storage.ErrNotFound
	}
	b.lent = true
	return v.value, nil
}

// Scan is as storage.Reader says.
func (b *batch) Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	if b.ended {
		return storage.ErrClosed
	}
	b.lent = true
	return b.scan(b.own.collect(nil, start, end, newest), start, end, keysOnly, fn)
}

// Set is as storage.Batch says.
func (b *batch) Set(key, value []byte) error {
	if err := b.take(key, value); err != nil {
		return err
	}
	b.own.put(b.engine.tag(key), key, version{value: value}, 0, false)
	return nil
}

// Create is as storage.Batch says. What is deleted before its layer is written down then leaves no trace.
func (b *batch) Create(key, value []byte) error {
	if err := b.take(key, value); err != nil {
		return err
	}
	b.own.put(b.engine.tag(key), key, version{value: value, fresh: true}, 0, false)
	return nil
}

// Delete is as storage.Batch says.
func (b *batch) Delete(key []byte) error {
	if err := b.take(key, nil); err != nil {
		return err
	}
	b.own.put(b.engine.tag(key), key, version{deleted: true}, 0, false)
	return nil
}

// Size is as storage.Batch says.
func (b *batch) Size() int { return b.size }

// Commit is as storage.Batch says.
func (b *batch) Commit() error {
	if b.ended {
		return storage.ErrClosed
	}
	defer b.Discard()
	if b.size == 0 {
		return nil
	}
	return b.engine.commit(b.own)
}

// Discard is as storage.Batch says.
func (b *batch) Discard() {
	if b.ended {
		return
	}
	b.ended = true
	b.base.release()
	b.own.clear(b.lent)
	b.engine.writing.Store(false)
}

// take counts a write, or refuses it.
func (b *batch) take(key, value []byte) error {
	if b.ended {
		return storage.ErrClosed
	}
	if len(key) < storage.MinKeyBytes || len(key) > storage.MaxEngineKeyBytes {
		return storage.ErrBadKey
	}
	size := b.size + len(key) + len(value) + storage.WriteOverhead
	if len(value) > storage.MaxCellBytes || size > b.engine.MaxBatchBytes() {
		return storage.ErrTooLarge
	}
	b.size = size
	return nil
}
