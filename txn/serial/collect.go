package serial

import (
	"fmt"
	"slices"
)

// keyHistory is all that happened to one list.
type keyHistory struct {
	name    Key
	at      int32           // place in checker.keys
	appends []appended      // those of one transaction stand together, in its order
	byValue map[Value]int32 // place in appends
	views   []view
	order   []int32 // places in appends: the longest list that was read, as the version order
	current view    // while views are collected: that of the transaction at hand
	stamp   int32   // while lists are resolved: numbers them
}

// appended is one append. That it was read does not mean that the list it was read in is trusted.
type appended struct {
	value Value
	txn   int32
	nth   int32 // of its transaction's appends to this key, from 0
	last  bool  // of them
	pos   int32 // place in the order, or absent: no other transaction read it
	stamp int32 // the last list in which it was met
}

// absent stands instead of a place.
const absent = -1

// view is what one committed transaction saw of one list. Its own appends are left out of that: where it sees them says
// that it sees them, but not where others will.
type view struct {
	txn   int32
	known bool    // there was a read
	bad   bool    // its reads contradict each other, or other transactions' reads: no edges follow
	list  []Value // what the reads saw, all the same
	owned int     // how many appends of its own the last of them saw after that
	own   []Value // appended so far
	mine  int32   // the first of these, a place in appends; or absent
	refs  []int32 // places in appends of list, without those that cannot be: the version that was read
}

// version is how much of the order v read. An append at that place would be the next one.
func (v *view) version() int32 { return int32(len(v.refs)) }

// precedes says whether an append, by its place in appends, was read and stands before pos in the order.
func (k *keyHistory) precedes(ref, pos int32) bool {
	at := k.appends[ref].pos
	return at != absent && at < pos
}

func (c *checker) key(name Key) *keyHistory {
	if k := c.byName[name]; k != nil {
		return k
	}
	k := &keyHistory{name: name, at: int32(len(c.keys)), byValue: map[Value]int32{}, current: view{txn: absent}}
	c.byName[name] = k
	c.keys = append(c.keys, k)
	return k
}

// collectAppends fills in appends and byValue of all keys, and visible as far as outcomes decide it.
func (c *checker) collectAppends() error {
	c.visible = make([]bool, len(c.txns))
	for i := range c.txns {
		c.visible[i] = c.txns[i].Outcome == Committed
		for _, op := range c.txns[i].Ops {
			k := c.key(op.Key)
			if op.Kind != OpAppend {
				continue
			}
			if at, ok := k.byValue[op.Value]; ok {
				return fmt.Errorf("%w: %v and %v append %d to %s", ErrMalformed,
					c.txns[k.appends[at].txn].ID, c.txns[i].ID, op.Value, op.Key)
			}
			k.append(int32(i), op.Value)
		}
	}
	return nil
}

func (k *keyHistory) append(t int32, v Value) {
	a := appended{value: v, txn: t, last: true, pos: absent}
	if n := len(k.appends); n > 0 && k.appends[n-1].txn == t {
		k.appends[n-1].last = false
		a.nth = k.appends[n-1].nth + 1
	}
	k.byValue[v] = int32(len(k.appends))
	k.appends = append(k.appends, a)
}

// collectViews walks through every committed transaction and checks it against itself.
func (c *checker) collectViews() {
	var touched []*keyHistory
	for i := range c.txns {
		if c.txns[i].Outcome != Committed {
			continue
		}
		touched = c.walk(int32(i), touched[:0])
		for _, k := range touched {
			if k.current.known {
				k.views = append(k.views, k.current)
			}
		}
	}
}

// walk follows the operations of t and leaves a current view in each of the keys that it returns.
func (c *checker) walk(t int32, touched []*keyHistory) []*keyHistory {
	for _, op := range c.txns[t].Ops {
		k := c.byName[op.Key]
		if k.current.txn != t {
			k.current = view{txn: t, mine: absent}
			touched = append(touched, k)
		}
		v := &k.current
		if op.Kind == OpRead {
			c.read(k, v, op.Seen)
			continue
		}
		if len(v.own) == 0 {
			v.mine = k.byValue[op.Value]
		}
		v.own = append(v.own, op.Value)
	}
	return touched
}

// read takes a read into v if it agrees with the appends and reads before it, all of one transaction.
func (c *checker) read(k *keyHistory, v *view, seen []Value) {
	if !v.agrees(seen) {
		v.bad = true
		c.resolve(k, v.txn, seen) // what it saw may be wrong by itself
		c.found.note(Internal, c.sublist(v.txn), func() []string { return []string{c.sayInternal(k, v, seen)} })
		return
	}
	v.list, v.owned, v.known = seen[:len(seen)-len(v.own)], len(v.own), true
}

// agrees says whether a read of seen may follow: the same list as before and own appends after it.
func (v *view) agrees(seen []Value) bool {
	others := len(seen) - len(v.own)
	return others >= 0 && slices.Equal(seen[others:], v.own) && (!v.known || slices.Equal(seen[:others], v.list))
}

// resolve gives the places in k.appends of the values that t saw, leaves out and reports those that cannot be, and makes
// the writers of the others visible.
func (c *checker) resolve(k *keyHistory, t int32, seen []Value) []int32 {
	k.stamp++
	refs := make([]int32, 0, len(seen))
	for _, v := range seen {
		ref, ok := k.byValue[v]
		if !ok {
			c.found.note(Unwritten, c.sublist(t), func() []string { return []string{c.sayUnwritten(k, t, seen, v)} })
			continue
		}
		a := &k.appends[ref]
		switch {
		case a.stamp == k.stamp:
			c.found.note(Duplicate, c.sublist(t), func() []string { return []string{c.sayDuplicate(k, t, seen, v)} })
		case c.txns[a.txn].Outcome == Aborted:
			c.found.note(G1a, c.sublist(a.txn, t), func() []string { return []string{c.sayAborted(k, t, seen, a)} })
		default:
			a.stamp = k.stamp
			c.visible[a.txn] = true
			refs = append(refs, ref)
		}
	}
	return refs
}
