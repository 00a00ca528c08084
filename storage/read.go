package storage

import (
	"slices"
)

// Get returns what is stored under key, ErrNotFound if nothing. The item owns its memory. A key whose deadline has
// passed is there until an expire was applied.
func Get(r Reader, id PartitionID, key []byte) (Item, error) {
	rec, err := lookup(r, id, key)
	if err != nil {
		return Item{}, err
	}
	if !rec.exists() {
		return Item{}, ErrNotFound
	}
	return rec.item(r, id, key, false)
}

// ScanOptions says what Scan returns.
type ScanOptions struct {
	Start    []byte // first key, inclusive
	End      []byte // exclusive; nil means no bound
	Limit    int    // items at most; 0 means no limit
	MaxBytes int    // stop after the item that reaches this many bytes of keys and values; 0 means no limit
	KeysOnly bool   // leave Item.Value nil
}

// Scan returns the items of a range in byte order of their keys; they own their memory. more tells that it stopped at a
// limit and that at least one more key is in the range: go on from the last key with a zero byte appended.
func Scan(r Reader, id PartitionID, o ScanOptions) (items []Item, more bool, err error) {
	start := appendDataKey(nil, id, o.Start)
	_, end := columnRange(id, colData)
	if o.End != nil {
		end = appendDataKey(nil, id, o.End)
	}
	size := 0
	full := func() bool {
		return o.Limit > 0 && len(items) >= o.Limit || o.MaxBytes > 0 && size >= o.MaxBytes
	}
	err = r.Scan(start, end, false, func(k, cell []byte) (bool, error) {
		if full() {
			more = true
			return false, nil
		}
		rec, err := decodeRecord(cell)
		if err != nil {
			return false, err
		}
		it, err := rec.item(r, id, k[prefixBytes:], o.KeysOnly)
		items = append(items, it)
		size += len(it.Key) + len(it.Value)
		return true, err
	})
	if err != nil {
		return nil, false, err
	}
	return slices.Clip(items), more, nil
}
