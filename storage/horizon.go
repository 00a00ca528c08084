package storage

import (
	"bytes"
	"errors"
)

// Horizon is up to where a partition has let keys expire: those with a deadline at or before At, and, of those with the
// next millisecond as their deadline, the keys up to Key. Only expire entries move it, and never back. It is at or behind
// the partition's clock, so a key that is put has its deadline beyond.
//
// The clock itself does not decide, as every command moves that: each would have to look up what it passes, to raise
// LastRemoval and to tell watchers.
type Horizon struct {
	At  Millis
	Key []byte
}

// passed tells whether a key with this deadline has expired, unless it is held.
func (h *Horizon) passed(deadline Millis, key []byte) bool {
	switch deadline {
	case 0:
		return false
	case h.At + 1:
		return len(h.Key) > 0 && bytes.Compare(key, h.Key) <= 0
	}
	return deadline <= h.At
}

// heldKey is that of the mark of a key that a transaction had locked when the horizon passed it. Such a key is there until no
// transaction has it locked any more.
func heldKey(id PartitionID, key []byte) []byte {
	return append(appendPrefix(make([]byte, 0, prefixBytes+len(key)), id, colHeld), key...)
}

// expired tells whether what is stored under key counts as absent.
func (p *Partition) expired(key []byte, r *record) bool {
	if !p.meta.Horizon.passed(r.deadline, key) {
		return false
	}
	_, held := p.held[string(key)]
	return !held
}

// present returns the record of key, where it is absent or has expired one that does not exist.
func (p *Partition) present(r Reader, key []byte) (record, error) {
	rec, err := p.lookup(r, key)
	if err == nil && p.expired(key, &rec) {
		rec = record{stale: 2 + rec.chunks()}
	}
	return rec, err
}

// loadHeld reads which keys are held.
func (p *Partition) loadHeld(r Reader) error {
	start, end := columnRange(p.id, colHeld)
	return r.Scan(start, end, true, func(k, _ []byte) (bool, error) {
		p.hold(k[prefixBytes:])
		return true, nil
	})
}

func (p *Partition) hold(key []byte) {
	if p.held == nil {
		p.held = make(map[string]struct{})
	}
	p.held[string(key)] = struct{}{}
}

// sight is what a reader outside of the state machine goes by: the horizon that its view has.
type sight struct {
	r       Reader
	id      PartitionID
	horizon *Horizon // nil: not read yet, as most keys have no deadline
}

// expired tells whether what the view has under key counts as absent.
func (s *sight) expired(key []byte, rec *record) (bool, error) {
	if rec.deadline == 0 {
		return false, nil
	}
	if s.horizon == nil {
		meta, err := ReadMeta(s.r, s.id)
		if err != nil {
			return false, err
		}
		s.horizon = &meta.Horizon
	}
	if !s.horizon.passed(rec.deadline, key) {
		return false, nil
	}
	_, err := s.r.Get(heldKey(s.id, key))
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return false, err
}

// present returns the record of key, where it is absent or has expired the zero record.
func (s *sight) present(key []byte) (record, error) {
	rec, err := lookup(s.r, s.id, key)
	if err != nil || !rec.exists() {
		return record{}, err
	}
	if expired, err := s.expired(key, &rec); expired || err != nil {
		return record{}, err
	}
	return rec, nil
}
