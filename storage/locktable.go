package storage

import (
	"bytes"
	"cmp"
	"slices"
)

// LockTable is who holds which lock of a partition: exactly the locks of its YES records (I12), never stored for itself.
// It belongs to the goroutine that applies; the OpenTxn it hands out are never changed and may be kept.
type LockTable struct {
	held [lockSpaces]map[string]holders
	x, s int // names with an exclusive holder, and with shared ones
}

// holders are those of one name: one exclusive, or any number of shared ones.
type holders struct {
	x *OpenTxn
	s []*OpenTxn
}

// lock is one lock that a transaction takes.
type lock struct {
	space     LockSpace
	exclusive bool
	name      string
}

// Len is the number of names that are locked. With 0 nothing conflicts with anything.
func (l *LockTable) Len() int { return l.x + l.s }

// Holder returns one transaction that is in the way of a request, own aside: exclusive conflicts with every lock on the
// name, shared with an exclusive one. own is the zero TxnID for a plain request.
func (l *LockTable) Holder(space LockSpace, name []byte, exclusive bool, own TxnID) (*OpenTxn, bool) {
	if l.Len() == 0 {
		return nil, false
	}
	h := l.held[space][string(name)]
	if h.x != nil && h.x.ID != own {
		return h.x, true
	}
	if exclusive {
		for _, o := range h.s {
			if o.ID != own {
				return o, true
			}
		}
	}
	return nil, false
}

// Holders visits every transaction that is in the way of a request until visit returns false.
func (l *LockTable) Holders(space LockSpace, name []byte, exclusive bool, visit func(*OpenTxn) bool) {
	if l.Len() == 0 {
		return
	}
	h := l.held[space][string(name)]
	if h.x != nil && !visit(h.x) || !exclusive {
		return
	}
	for _, o := range h.s {
		if !visit(o) {
			return
		}
	}
}

// XLocked returns who holds the exclusive lock on an item's key. A linearizable read of the key has to wait for it.
func (l *LockTable) XLocked(key []byte) (*OpenTxn, bool) {
	if l.x == 0 {
		return nil, false
	}
	o := l.held[ItemSpace][string(key)].x
	return o, o != nil
}

// XLockedIn returns, ascending, the keys of items in [start, end) that are exclusively locked; a nil end means no bound.
// It costs a walk over all locks, which are few.
func (l *LockTable) XLockedIn(start, end []byte) [][]byte {
	if l.x == 0 {
		return nil
	}
	var keys [][]byte
	for name, h := range l.held[ItemSpace] {
		if h.x != nil && name >= string(start) && (end == nil || name < string(end)) {
			keys = append(keys, []byte(name))
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// conflict returns one transaction, own aside, that holds a lock which these locks conflict with, in their order.
func (l *LockTable) conflict(locks []lock, own TxnID) *OpenTxn {
	if l.Len() == 0 {
		return nil
	}
	for i := range locks {
		h := l.held[locks[i].space][locks[i].name]
		if h.x != nil && h.x.ID != own {
			return h.x
		}
		if !locks[i].exclusive {
			continue
		}
		for _, o := range h.s {
			if o.ID != own {
				return o
			}
		}
	}
	return nil
}

// take gives o all the locks; the caller has seen that none conflicts.
func (l *LockTable) take(o *OpenTxn, locks []lock) {
	for i := range locks {
		m := l.held[locks[i].space]
		if m == nil {
			m = map[string]holders{}
			l.held[locks[i].space] = m
		}
		h := m[locks[i].name]
		switch {
		case locks[i].exclusive:
			h.x = o
			l.x++
		case len(h.s) == 0:
			l.s++
			fallthrough
		default:
			h.s = append(h.s, o)
		}
		m[locks[i].name] = h
	}
}

// release takes back what take gave.
func (l *LockTable) release(o *OpenTxn, locks []lock) {
	for i := range locks {
		m := l.held[locks[i].space]
		h := m[locks[i].name]
		switch {
		case locks[i].exclusive:
			h.x = nil
			l.x--
		case len(h.s) > 1:
			h.s = slices.DeleteFunc(h.s, func(s *OpenTxn) bool { return s == o })
			m[locks[i].name] = h
			continue
		default:
			h.s = nil
			l.s--
		}
		delete(m, locks[i].name)
	}
}

// locksOf returns the locks that p takes (R4), each name once, in order: S for conditions and gets, X for the other
// operations of either branch and for the token's record.
func locksOf(p *Prepare) []lock {
	locks := make([]lock, 0, len(p.If)+len(p.Then)+len(p.Else)+1)
	for i := range p.If {
		locks = append(locks, lock{space: p.If[i].space(), name: string(p.If[i].Key)})
	}
	for _, ops := range [...][]TxnOp{p.Then, p.Else} {
		for i := range ops {
			locks = append(locks, lock{ItemSpace, ops[i].Kind != OpGet, string(ops[i].Key)})
		}
	}
	if p.Token != nil {
		locks = append(locks, lock{TokenSpace, true, string(p.Token.Key[:])})
	}
	return normalLocks(locks)
}

// normalLocks sorts locks and leaves each name once, exclusive if it was so anywhere.
func normalLocks(locks []lock) []lock {
	if len(locks) < 2 {
		return locks
	}
	slices.SortFunc(locks, func(a, b lock) int {
		return cmp.Or(cmp.Compare(a.space, b.space), cmp.Compare(a.name, b.name))
	})
	kept := locks[:1]
	for _, l := range locks[1:] {
		last := &kept[len(kept)-1]
		if l.space == last.space && l.name == last.name {
			last.exclusive = last.exclusive || l.exclusive
			continue
		}
		kept = append(kept, l)
	}
	return kept
}
