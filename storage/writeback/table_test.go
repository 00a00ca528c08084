package writeback

import (
	"math/rand/v2"
	"testing"
)

// TestTable compares it with a map over many tags, some of which begin at one place.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table, want := newTable(0), make(map[tag]ref)
	tags := make([]tag, 5000)
	for i := range tags {
		tags[i] = tag(rng.Uint32())
		if i%4 == 2 {
			tags[i] |= 0xfff << 20 // the last places: they wrap around
		}
	}
	for i := range 20000 {
		of := tags[rng.IntN(1+i/4)]
		s := table.slot(of)
		if s.entry != want[of] || table.get(of) != want[of] {
			t.Fatalf("put %d of %x: the table has %d, want %d", i, of, s.entry, want[of])
		}
		s.entry = ref(i + 1)
		want[of] = s.entry
	}
	for _, of := range tags {
		if got := table.get(of); got != want[of] {
			t.Errorf("%x: the table has %d, want %d", of, got, want[of])
		}
	}
	if table.clear(); table.get(tags[0]) != 0 || table.used != 0 {
		t.Error("something is left after clear")
	}
}
