package writeback

// table leads from the hash of a key to the newest entry with that hash. Keys whose hashes agree in the bits that it
// keeps share a slot; their entries are one chain. It is open addressing with linear probing, half of Go's map for time:
// eight slots lie in a cache line, and a put finds where its entry goes in the same step as what was there.
type table struct {
	slots []slot // a power of two of them
	shift uint   // from a tag to its place
	used  int
}

// slot is 8 bytes long. One without an entry is free.
type slot struct {
	tag   uint32 // the hash's upper half: places are of its upper bits, so that a larger table needs no more of it
	entry ref
}

const (
	tagBits  = 32
	minSlots = 1 << 6
)

func newTable() table {
	return table{slots: make([]slot, minSlots), shift: tagBits - 6}
}

// get returns the newest entry with the hash, 0 if there is none.
func (t *table) get(hash uint64) ref {
	return t.slots[t.find(uint32(hash>>tagBits))].entry
}

// find returns where the tag's slot is, or would be.
func (t *table) find(tag uint32) int {
	at := int(tag >> t.shift)
	for t.slots[at].entry != 0 && t.slots[at].tag != tag {
		at = (at + 1) & (len(t.slots) - 1)
	}
	return at
}

// slot returns the hash's slot; the caller gives it an entry if it is free. It is valid until the next call.
func (t *table) slot(hash uint64) *slot {
	if t.used >= len(t.slots)/8*5 {
		t.grow()
	}
	tag := uint32(hash >> tagBits)
	s := &t.slots[t.find(tag)]
	if s.entry == 0 {
		s.tag = tag
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
