package readindex_test

import (
	"testing"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/ring"
)

// BenchmarkRead is what a leader of 64 groups of three voters does for its reads, its peers' part included: one at a time, and
// one of each group together.
func BenchmarkRead(b *testing.B) {
	const groups = 64
	for _, c := range []struct {
		name  string
		reads int
	}{{"one", 1}, {"one of each group", groups}} {
		b.Run(c.name, func(b *testing.B) {
			r := readindex.New()
			witnesses := map[ring.NodeID]*readindex.Witness{1: readindex.NewWitness(1), 3: readindex.NewWitness(3)}
			for p := range ring.PartitionID(groups) {
				st := leading(p, 1, 2, 3)
				r.Stand(&st)
				for n, w := range witnesses {
					w.Stand(p, idOf(n), term)
				}
			}
			tag := new(int)
			b.ReportAllocs()
			next := ring.PartitionID(0)
			for b.Loop() {
				for range c.reads {
					next = (next + 1) % groups
					r.Read(next, tag)
				}
				for r.Waiting() > 0 {
					r.Ask()
					asks := r.Take().Asks
					for i := range asks {
						a := witnesses[asks[i].To].Answer(&asks[i].Question)
						r.Answer(asks[i].To, &a)
					}
				}
				r.Take()
			}
		})
	}
}
