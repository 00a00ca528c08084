package storage

import (
	"encoding/binary"
	"errors"
	"slices"
)

// The flags of an item record. The numbers are on disk: append only.
const (
	itemDeadline = 1 << iota
	itemContentType
	itemSplit // the value stands in the overflow column; the record has its length instead
	itemFlags = itemDeadline | itemContentType | itemSplit
)

// record is a data cell taken apart; inline and contentType alias the cell.
type record struct {
	version     Version
	deadline    Millis
	contentType []byte
	split       bool
	length      uint64 // of the value
	inline      []byte // the value, unless split
	stale       uint32 // of one that does not exist: cells of an expired one that lie there; 0 if none
}

func (r *record) exists() bool { return r.version != 0 }

// isSplit tells whether a value of so many bytes stands in the overflow column.
func isSplit(length uint64) bool { return length+recordHeadMax > MaxCellBytes }

// heldCost bounds the mark of the key's being held, which only one with a deadline can be.
func (r *record) heldCost(key []byte) int {
	if r.deadline == 0 {
		return 0
	}
	return writeCost(len(key))
}

// chunks is the number of overflow cells that the value takes.
func (r *record) chunks() uint32 {
	if !r.split {
		return 0
	}
	return uint32((r.length + MaxCellBytes - 1) / MaxCellBytes)
}

func decodeRecord(cell []byte) (record, error) {
	d := decoder{b: cell}
	flags := d.flags(itemFlags)
	r := record{version: Version(d.uvarint()), split: flags&itemSplit != 0}
	if flags&itemDeadline != 0 {
		r.deadline = Millis(d.uvarint())
	}
	if flags&itemContentType != 0 {
		r.contentType = d.bytes()
	}
	if r.split {
		r.length = d.uvarint()
	} else {
		r.length, r.inline = uint64(len(d.b)), d.b
		d.b = nil
	}
	if err := d.finish(); err != nil || r.version == 0 {
		return record{}, corruptf("item record: %v", err)
	}
	return r, nil
}

// appendRecord appends the cell's head and, unless it is split, the value.
func appendRecord(dst []byte, r *record) []byte {
	var flags byte
	if r.deadline != 0 {
		flags |= itemDeadline
	}
	if len(r.contentType) > 0 {
		flags |= itemContentType
	}
	if r.split {
		flags |= itemSplit
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(r.version))
	if r.deadline != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.deadline))
	}
	if len(r.contentType) > 0 {
		dst = appendBytes(dst, r.contentType)
	}
	if r.split {
		return binary.AppendUvarint(dst, r.length)
	}
	return append(dst, r.inline...)
}

// recordHeadMax is more than the longest head of an item record.
const (
	recordFixedMax = 64 // the content type apart
	recordHeadMax  = recordFixedMax + MaxContentTypeBytes
)

// value returns a copy of the whole value of key.
func (r *record) value(from Reader, id PartitionID, key []byte) ([]byte, error) {
	if !r.split {
		return append(make([]byte, 0, len(r.inline)), r.inline...), nil
	}
	if r.length > MaxValueBytes {
		return nil, corruptf("value of %d bytes", r.length)
	}
	v := make([]byte, 0, r.length)
	for chunk := range r.chunks() {
		cell, err := from.Get(overflowKey(id, key, chunk))
		if err != nil {
			return nil, missingCell(err, id, key)
		}
		v = append(v, cell...)
	}
	if uint64(len(v)) != r.length {
		return nil, corruptf("partition %d key %q: value has %d bytes, its record says %d", id, key, len(v), r.length)
	}
	return v, nil
}

// item returns the record as an Item that owns its memory.
func (r *record) item(from Reader, id PartitionID, key []byte, keysOnly bool) (Item, error) {
	it := Item{
		Key:         slices.Clone(key),
		ContentType: string(r.contentType),
		Version:     r.version,
		Deadline:    r.deadline,
	}
	if keysOnly {
		return it, nil
	}
	var err error
	it.Value, err = r.value(from, id, key)
	return it, err
}

// missingCell turns the absence of a cell that another one points to into corruption.
func missingCell(err error, id PartitionID, key []byte) error {
	if errors.Is(err, ErrNotFound) {
		return corruptf("partition %d key %q: a cell that its record or index points to is missing", id, key)
	}
	return err
}
