package writeback

import "sync/atomic"

// index leads from the tags of keys to their entries in the cache. It is a table as that of a layer, but each key has a slot
// of its own, and slots can be removed.
type index struct {
	slots []slot
	shift uint // from a tag to its place
	used  int
}

// asked is set in a slot's ref when somebody has asked for the entry. Readers do that beside each other.
const asked ref = 1 << 31

func (s *slot) load() ref { return ref(atomic.LoadUint32((*uint32)(&s.entry))) }
func (s *slot) ask()      { atomic.OrUint32((*uint32)(&s.entry), uint32(asked)) }

func newIndex() index { return index{slots: make([]slot, minSlots), shift: minShift} }

// home is the place where the search for a tag begins; it ends at the first slot without an entry.
func (x *index) home(t tag) int { return int(t >> x.shift) }

// after is the place behind at.
func (x *index) after(at int) int { return (at + 1) & (len(x.slots) - 1) }

// findRef returns the place of the entry at r, which has the tag; -1 if it is not in use.
func (x *index) findRef(t tag, r ref) int {
	for at := x.home(t); x.slots[at].entry != 0; at = x.after(at) {
		if x.slots[at].entry&^asked == r {
			return at
		}
	}
	return -1
}

// set gives the slot at a place, which is the one of a key or the free one where the search for it has ended, an entry. That
// the one before was asked for stays known. No place is valid any more.
func (x *index) set(at int, t tag, r ref) {
	s := &x.slots[at]
	if s.entry == 0 {
		x.used++
	}
	*s = slot{t, r | s.entry&asked}
	if x.used > len(x.slots)/8*5 {
		x.grow()
	}
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	x.shift--
	for _, s := range old {
		if s.entry == 0 {
			continue
		}
		at := x.home(s.tag)
		for x.slots[at].entry != 0 {
			at = x.after(at)
		}
		x.slots[at] = s
	}
}

// remove frees a slot. Those behind it move up, as far as their searches come by: no place is valid any more.
func (x *index) remove(at int) {
	for next := x.after(at); x.slots[next].entry != 0; next = x.after(next) {
		mask := len(x.slots) - 1
		if way := (next - x.home(x.slots[next].tag)) & mask; way >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = slot{}
	x.used--
}
