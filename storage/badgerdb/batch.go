package badgerdb

import (
	"encoding/binary"
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

// batch is the one write of an Engine.
type batch struct {
	reader
	engine *Engine
	size   int
	slab   slab
}

// Set is as storage.Batch says.
func (b *batch) Set(key, value []byte) error {
	size, err := b.fits(key, value)
	if err != nil {
		return err
	}
	e := b.slab.entry()
	own := append(b.slab.bytes(len(key)+len(value)+sumBytes), key...)
	e.Key, e.Value = own[:len(key):len(key)], appendSealed(own[len(key):], key, value)
	if err := b.txn.SetEntry(e); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	b.size = size
	return nil
}

// Create is as storage.Batch says.
func (b *batch) Create(key, value []byte) error { return b.Set(key, value) }

// Delete is as storage.Batch says.
func (b *batch) Delete(key []byte) error {
	size, err := b.fits(key, nil)
	if err != nil {
		return err
	}
	if err := b.txn.Delete(append(b.slab.bytes(len(key)), key...)); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	b.size = size
	return nil
}

// Size is as storage.Batch says.
func (b *batch) Size() int { return b.size }

// Commit is as storage.Batch says. The commit's number goes with it, so that a later Open finds a gap.
func (b *batch) Commit() error {
	if b.ended {
		return storage.ErrClosed
	}
	defer b.Discard()
	e := b.engine
	switch {
	case e.failed.Load():
		return storage.ErrFailed
	case b.size == 0:
		return nil
	}
	number := binary.BigEndian.AppendUint64(nil, e.commit+1)
	err := b.txn.Set([]byte(commitKey), seal([]byte(commitKey), number))
	if err == nil {
		err = b.txn.Commit()
	}
	if err == nil {
		err = e.logs.follow()
	}
	if err != nil {
		e.failed.Store(true)
		return fmt.Errorf("commit %d: %w: %w", e.commit+1, storage.ErrFailed, err)
	}
	e.commit++
	e.unpaged += b.size
	if e.unbegun += b.size; e.unbegun >= beginBytes {
		e.unbegun = 0
		e.logs.begin()
	}
	return nil
}

// Discard is as storage.Batch says.
func (b *batch) Discard() {
	if !b.ended {
		b.ended = true
		b.txn.Discard()
		b.engine.writing.Store(false)
	}
}

// fits returns the size that the batch has with one more write.
func (b *batch) fits(key, value []byte) (int, error) {
	if b.ended {
		return 0, storage.ErrClosed
	}
	if len(key) < storage.MinKeyBytes || len(key) > storage.MaxEngineKeyBytes {
		return 0, storage.ErrBadKey
	}
	size := b.size + len(key) + len(value) + storage.WriteOverhead
	if len(value) > storage.MaxCellBytes || size > maxBatchBytes {
		return 0, storage.ErrTooLarge
	}
	return size, nil
}
