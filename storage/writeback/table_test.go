package writeback

import (
	"math/rand/v2"
	"testing"
)

// TestTable compares it with a map over many hashes, some of which share a slot or begin at one place.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table, want := newTable(), make(map[uint32]ref)
	hashes := make([]uint64, 5000)
	for i := range hashes {
		hashes[i] = rng.Uint64()
		switch i % 4 {
		case 1:
			hashes[i] = hashes[i-1]&^0xffff | uint64(i) // another hash of the same tag
		case 2:
			hashes[i] |= 0xfff << 52 // the last places: they wrap around
		}
	}
	for i := range 20000 {
		hash := hashes[rng.IntN(1+i/4)]
		s := table.slot(hash)
		if tag := uint32(hash >> tagBits); s.entry != want[tag] || table.get(hash) != want[tag] {
			t.Fatalf("put %d of %x: the table has %d, want %d", i, hash, s.entry, want[tag])
		}
		s.entry = ref(i + 1)
		want[uint32(hash>>tagBits)] = s.entry
	}
	for _, hash := range hashes {
		if got := table.get(hash); got != want[uint32(hash>>tagBits)] {
			t.Errorf("%x: the table has %d, want %d", hash, got, want[uint32(hash>>tagBits)])
		}
	}
	if table.clear(); table.get(hashes[0]) != 0 || table.used != 0 {
		t.Error("something is left after clear")
	}
}
