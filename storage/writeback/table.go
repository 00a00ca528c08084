package writeback

// tag is what is kept of the hash of a key: its upper half.
type tag uint32

const tagBits = 32

// table leads from the tag of a key to the newest entry with that tag. Keys whose tags agree share a slot; their entries are
// one chain. It is open addressing with linear probing, half of Go's map for time:
// eight slots lie in a cache line, and a put finds where its entry goes in the same step as what was there.
type table struct {
	slots []slot // a power of two of them
	shift uint   // from a tag to its place: its upper bits, so that a larger table needs no more of the hash
	used  int
}

// slot is 8 bytes long. One without an entry is free.
type slot struct {
	tag   tag
	entry ref
}

const (
	minSlots = 1 << 6
	minShift = tagBits - 6
)

// newTable returns one that so many tags fit into before it grows.
func newTable(tags int) table {
	t := table{shift: minShift}
	for t.most() <= tags {
		t.shift--
	}
	t.slots = make([]slot, 1<<(tagBits-t.shift))
	return t
}

// most is how many slots may be in use: further ones would be far from their place.
func (t *table) most() int { return 1 << (tagBits - t.shift) / 8 * 5 }

// get returns the newest entry with the tag, 0 if there is none.
func (t *table) get(of tag) ref { return t.slots[t.find(of)].entry }

// find returns where the tag's slot is, or would be.
func (t *table) find(of tag) int {
	at := int(of >> t.shift)
	for t.slots[at].entry != 0 && t.slots[at].tag != of {
		at = (at + 1) & (len(t.slots) - 1)
	}
	return at
}

// slot returns the tag's slot; the caller gives it an entry if it is free. It is valid until the next call.
func (t *table) slot(of tag) *slot {
	if t.used >= t.most() {
		t.grow()
	}
	s := &t.slots[t.find(of)]
	if s.entry == 0 {
		s.tag = of
		t.used++
	}
	return s
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	t.shift--
	for _, s := range old {
		if s.entry != 0 {
			t.slots[t.find(s.tag)] = s
		}
	}
}

func (t *table) clear() {
	clear(t.slots)
	t.used = 0
}
