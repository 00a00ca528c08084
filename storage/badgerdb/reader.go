package badgerdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/dgraph-io/badger/v4"

	"github.com/ringkv/ringkv/storage"
)

const sumBytes = 4

// cellSum is the checksum that every value ends with: of its length-prefixed key, then of itself.
func cellSum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var n [2]byte
	binary.BigEndian.PutUint16(n[:], uint16(len(key)))
	sum := crc32.Update(crc32.Checksum(n[:], table), table, key)
	return crc32.Update(sum, table, value)
}

// appendSealed appends value and its checksum to dst.
func appendSealed(dst, key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, value...), cellSum(key, value))
}

// seal returns a copy of value with its checksum.
func seal(key, value []byte) []byte {
	return appendSealed(make([]byte, 0, len(value)+sumBytes), key, value)
}

// unseal returns the value of a cell, aliasing it.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - sumBytes
	if n < 0 || cellSum(key, sealed[:n]) != binary.BigEndian.Uint32(sealed[n:]) {
		return nil, fmt.Errorf("%w: checksum of the cell under %x", storage.ErrCorrupt, key)
	}
	return sealed[:n:n], nil
}

// reader reads through a Badger transaction.
type reader struct {
	txn   *badger.Txn
	ended bool
}

// Get is as storage.Reader says.
func (r *reader) Get(key []byte) ([]byte, error) {
	if len(key) < storage.MinKeyBytes {
		return nil, storage.ErrBadKey
	}
	return r.get(key)
}

func (r *reader) get(key []byte) ([]byte, error) {
	if r.ended {
		return nil, storage.ErrClosed
	}
	item, err := r.txn.Get(key)
	if err != nil {
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil, storage.ErrNotFound
		}
		return nil, readError(err)
	}
	var value []byte
	err = item.Value(func(v []byte) error {
		value, err = unseal(key, v)
		return err
	})
	return value, err
}

// Scan is as storage.Reader says.
func (r *reader) Scan(start, end []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) error {
	if r.ended {
		return storage.ErrClosed
	}
	// The prefix lets Badger leave out the tables that have no part in the range.
	it := r.txn.NewIterator(badger.IteratorOptions{Prefix: commonPrefix(start, end)})
	defer it.Close()
	for it.Seek(start); it.Valid(); it.Next() {
		item := it.Item()
		key := item.Key()
		if len(key) < storage.MinKeyBytes || len(key) > storage.MaxEngineKeyBytes {
			continue // the engine's own
		}
		if end != nil && bytes.Compare(key, end) >= 0 {
			return nil
		}
		more, err := visit(item, key, keysOnly, fn)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func visit(item *badger.Item, key []byte, keysOnly bool, fn func(key, value []byte) (bool, error)) (more bool, err error) {
	if keysOnly {
		return fn(key, nil)
	}
	err = item.Value(func(v []byte) error {
		v, err := unseal(key, v)
		if err != nil {
			return err
		}
		more, err = fn(key, v)
		return err
	})
	return more, err
}

// commonPrefix is what all keys from a to below b begin with.
func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	if n < len(a) && n+1 == len(b) && a[n]+1 == b[n] {
		n++ // b is the end of all that begins so
	}
	return a[:n]
}

// readError gives Badger's errors our names.
func readError(err error) error {
	if errors.Is(err, badger.ErrDBClosed) || errors.Is(err, badger.ErrDiscardedTxn) {
		return storage.ErrClosed
	}
	return fmt.Errorf("read: %w", err)
}

// view is one moment of an Engine.
type view struct{ reader }

// Close ends the view.
func (v *view) Close() {
	if !v.ended {
		v.ended = true
		v.txn.Discard()
	}
}
