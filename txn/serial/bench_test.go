package serial_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/ringkv/ringkv/txn/serial"
)

// BenchmarkCheck judges histories of 100,000 transactions by 64 clients, right ones and some that are wrong all over,
// which takes longest.
func BenchmarkCheck(b *testing.B) {
	tests := []struct {
		name  string
		store func(dice) store
	}{
		{"right", func(dice) store { return newSerial() }},
		{"snapshot", newSnapshot},
		{"readcommitted", newReadCommitted},
		{"stale", newStale},
		{"dirty", newDirty},
		{"half", newHalf},
	}
	for _, bb := range tests {
		b.Run(bb.name, func(b *testing.B) {
			d := rand.New(rand.NewPCG(1, 4))
			h, final := simulate(d, huge(), bb.store(d))
			ops, worst := 0, serial.None
			for i := range h {
				ops += len(h[i].Ops)
			}
			b.ReportAllocs()
			for b.Loop() {
				worst = mustCheckFinal(b, h, final).Worst()
			}
			b.ReportMetric(float64(len(h)), "txns")
			b.ReportMetric(float64(ops), "ops")
			b.Logf("%v", worst)
		})
	}
}

// BenchmarkRing judges a history with one cycle, through all of 100,000 transactions: the longest search.
func BenchmarkRing(b *testing.B) {
	const n = 100_000
	var h []serial.Txn
	for i := range n {
		mine, next := serial.Key(strconv.Itoa(i)), serial.Key(strconv.Itoa((i+1)%n))
		h = append(h, committed(i, 0, 99, serial.Read(mine), serial.Append(next, 1)))
	}
	for b.Loop() {
		if rep := mustCheck(b, h); rep.Worst() != serial.G2 || len(rep.Findings[0].Steps) != n {
			b.Fatal(rep.Worst())
		}
	}
}
