package storage

import (
	"slices"
)

// Get returns what is stored under key, ErrNotFound if nothing, or if it has expired. The item owns its memory.
func Get(r Reader, id PartitionID, key []byte) (Item, error) {
	s := sight{r: r, id: id}
	rec, err := s.present(key)
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

// maxStale is how many expired keys that are not purged yet one Scan passes over before it stops.
const maxStale = 1024

// Scan returns the items of a range in byte order of their keys; they own their memory. Everything before next is there,
// and next is where to go on: nil if nothing is left. Where it met many expired keys it may stop with few items, or none.
func Scan(r Reader, id PartitionID, o ScanOptions) (items []Item, next []byte, err error) {
	start := appendDataKey(nil, id, o.Start)
	_, end := columnRange(id, colData)
	if o.End != nil {
		end = appendDataKey(nil, id, o.End)
	}
	s := scan{sight: sight{r: r, id: id}, o: &o}
	if err := r.Scan(start, end, false, s.cell); err != nil {
		return nil, nil, err
	}
	return slices.Clip(s.items), s.next, nil
}

// scan is a Scan under way.
type scan struct {
	sight
	o     *ScanOptions
	items []Item
	size  int // of keys and values
	stale int
	next  []byte
}

func (s *scan) full() bool {
	return s.o.Limit > 0 && len(s.items) >= s.o.Limit || s.o.MaxBytes > 0 && s.size >= s.o.MaxBytes || s.stale >= maxStale
}

func (s *scan) cell(k, cell []byte) (bool, error) {
	key := k[prefixBytes:]
	if s.full() {
		s.next = slices.Clone(key)
		return false, nil
	}
	rec, err := decodeRecord(cell)
	if err != nil {
		return false, err
	}
	expired, err := s.expired(key, &rec)
	if expired || err != nil {
		s.stale++
		return true, err
	}
	it, err := rec.item(s.r, s.id, key, s.o.KeysOnly)
	s.items = append(s.items, it)
	s.size += len(it.Key) + len(it.Value)
	return true, err
}
