package storage

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"
)

// LockTable is who holds which lock of a partition: exactly the locks of its YES records (I12), never stored for itself.
// It belongs to the goroutine that applies; the OpenTxn it hands out are never changed and may be kept.
//
// It is a hash table of its own, as locks come and go with every transaction: a map would want a string of each name.
type LockTable struct {
	seed  maphash.Seed
	heads []*lockedName // of chains; a power of two of them, none before the first lock
	free  []*lockedName // to be used again
	x, s  int           // names with an exclusive holder, and with shared ones
	shade shade
}

// lockedName is a name that is locked, with its holders: one exclusive, or any number of shared ones.
type lockedName struct {
	space LockSpace
	name  []byte
	hash  uint64
	next  *lockedName // in its chain
	x     *OpenTxn
	s     []*OpenTxn
}

// lock is one lock that a transaction takes.
type lock struct {
	space     LockSpace
	exclusive bool
	name      []byte
}

// hold is one lock that a transaction has.
type hold struct {
	of        *lockedName
	exclusive bool
}

const (
	minLockHeads   = 8
	maxIdleHeads   = 256 // of an empty table
	maxFreeLocks   = 64
	maxFreeHolders = 8 // shared ones, of a name that is used again
)

// Len is the number of names that are locked. With 0 nothing conflicts with anything.
func (l *LockTable) Len() int { return l.x + l.s }

// Holder returns one transaction that is in the way of a request, own aside: exclusive conflicts with every lock on the
// name, shared with an exclusive one. own is the zero TxnID for a plain request.
func (l *LockTable) Holder(space LockSpace, name []byte, exclusive bool, own TxnID) (*OpenTxn, bool) {
	if l.Len() == 0 {
		return nil, false
	}
	h := l.find(space, name)
	if h == nil {
		return nil, false
	}
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
	h := l.find(space, name)
	if h == nil || h.x != nil && !visit(h.x) || !exclusive {
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
	h := l.find(ItemSpace, key)
	if h == nil || h.x == nil {
		return nil, false
	}
	return h.x, true
}

// XLockedIn returns, ascending, the keys of items in [start, end) that are exclusively locked; a nil end means no bound.
// It costs a walk over all locks, which are few.
func (l *LockTable) XLockedIn(start, end []byte) [][]byte {
	if l.x == 0 {
		return nil
	}
	var keys [][]byte
	for _, h := range l.heads {
		for ; h != nil; h = h.next {
			if h.x != nil && h.space == ItemSpace && bytes.Compare(h.name, start) >= 0 && (end == nil || bytes.Compare(h.name, end) < 0) {
				keys = append(keys, bytes.Clone(h.name))
			}
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// conflict returns one transaction, own aside, that holds a lock which these locks conflict with, in their order.
func (l *LockTable) conflict(locks []lock, own TxnID) *OpenTxn {
	for i := range locks {
		if o, ok := l.Holder(locks[i].space, locks[i].name, locks[i].exclusive, own); ok {
			return o
		}
	}
	return nil
}

// take gives o all the locks, which it appends to holds; the caller has seen that none conflicts.
func (l *LockTable) take(o *OpenTxn, locks []lock, holds []hold) []hold {
	for i := range locks {
		h := l.add(locks[i].space, locks[i].name)
		switch {
		case locks[i].exclusive:
			h.x = o
			l.x++
			l.shade.cast(h.space, h.name)
		case len(h.s) == 0:
			l.s++
			fallthrough
		default:
			h.s = append(h.s, o)
		}
		holds = append(holds, hold{h, locks[i].exclusive})
	}
	return holds
}

// release takes back what take gave.
func (l *LockTable) release(o *OpenTxn, holds []hold) {
	for i := range holds {
		h := holds[i].of
		switch {
		case holds[i].exclusive:
			h.x = nil
			l.x--
			l.shade.released(h.space, h.name)
		default:
			if h.s = slices.DeleteFunc(h.s, func(s *OpenTxn) bool { return s == o }); len(h.s) > 0 {
				continue
			}
			l.s--
		}
		l.remove(h)
	}
}

// find returns a name that is locked, nil if it is not.
func (l *LockTable) find(space LockSpace, name []byte) *lockedName {
	if len(l.heads) == 0 {
		return nil
	}
	hash := maphash.Bytes(l.seed, name)
	for h := *l.head(hash); h != nil; h = h.next {
		if h.hash == hash && h.space == space && bytes.Equal(h.name, name) {
			return h
		}
	}
	return nil
}

func (l *LockTable) head(hash uint64) **lockedName { return &l.heads[hash&uint64(len(l.heads)-1)] }

// add returns a name, which it copies where it was not locked.
func (l *LockTable) add(space LockSpace, name []byte) *lockedName {
	if h := l.find(space, name); h != nil {
		return h
	}
	if l.Len() >= len(l.heads) {
		l.grow()
	}
	h := l.unused()
	h.space, h.name, h.hash = space, append(h.name[:0], name...), maphash.Bytes(l.seed, name)
	l.link(h)
	return h
}

func (l *LockTable) unused() *lockedName {
	n := len(l.free)
	if n == 0 {
		return new(lockedName)
	}
	h := l.free[n-1]
	l.free = l.free[:n-1]
	return h
}

func (l *LockTable) link(h *lockedName) {
	head := l.head(h.hash)
	h.next, *head = *head, h
}

func (l *LockTable) grow() {
	old := l.heads
	if l.heads = make([]*lockedName, max(minLockHeads, 2*len(old))); len(old) == 0 {
		l.seed = maphash.MakeSeed()
	}
	for _, h := range old {
		for h != nil {
			next := h.next
			l.link(h)
			h = next
		}
	}
}

// remove takes out a name that nobody has locked any more.
func (l *LockTable) remove(h *lockedName) {
	at := l.head(h.hash)
	for *at != h {
		at = &(*at).next
	}
	*at, h.next = h.next, nil
	if l.Len() == 0 && len(l.heads) > maxIdleHeads {
		l.heads = nil // or each walk would see all of them, for one large transaction long ago
	}
	if len(l.free) < maxFreeLocks && cap(h.s) <= maxFreeHolders {
		l.free = append(l.free, h)
	}
}

// appendLocks appends to an empty list the locks that p takes (R4), each name once, in order: S for conditions and gets, X
// for the other operations of either branch and for the token's record. The names are p's.
func appendLocks(locks []lock, p *Prepare) []lock {
	for i := range p.If {
		locks = append(locks, lock{space: p.If[i].space(), name: p.If[i].Key})
	}
	for _, ops := range [...][]TxnOp{p.Then, p.Else} {
		for i := range ops {
			locks = append(locks, lock{ItemSpace, ops[i].Kind != OpGet, ops[i].Key})
		}
	}
	if p.Token != nil {
		locks = append(locks, lock{TokenSpace, true, p.Token.Key[:]})
	}
	return normalLocks(locks)
}

// normalLocks sorts locks and leaves each name once, exclusive if it was so anywhere.
func normalLocks(locks []lock) []lock {
	if len(locks) < 2 {
		return locks
	}
	slices.SortFunc(locks, func(a, b lock) int { return cmp.Or(cmp.Compare(a.space, b.space), bytes.Compare(a.name, b.name)) })
	kept := locks[:1]
	for _, l := range locks[1:] {
		last := &kept[len(kept)-1]
		if l.space == last.space && bytes.Equal(l.name, last.name) {
			last.exclusive = last.exclusive || l.exclusive
			continue
		}
		kept = append(kept, l)
	}
	return kept
}
