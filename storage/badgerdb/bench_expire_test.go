package badgerdb_test

import (
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// BenchmarkExpire lets keys of 256 bytes expire whose time has come: so many of each partition, so many partitions a batch. An
// operation is one key; CPU is of the whole process.
func BenchmarkExpire(b *testing.B) {
	for _, c := range []struct{ keys, partitions int }{{16, 1}, {64, 16}, {1024, 1}} {
		b.Run(fmt.Sprintf("%dx%d", c.keys, c.partitions), func(b *testing.B) { benchExpire(b, c.keys, c.partitions, false) })
	}
}

// BenchmarkPurge removes such keys.
func BenchmarkPurge(b *testing.B) {
	for _, c := range []struct{ keys, partitions int }{{16, 1}, {64, 1}, {256, 1}, {64, 4}} {
		b.Run(fmt.Sprintf("%dx%d", c.keys, c.partitions), func(b *testing.B) { benchExpire(b, c.keys, c.partitions, true) })
	}
}

func benchExpire(b *testing.B, keys, partitions int, purge bool) {
	p := newPutter(b, b.TempDir())
	p.fill() // what lives on
	n := max(b.N, keys*partitions)
	p.fillTTL(n)
	step := storage.Command{Kind: storage.KindExpire, Clock: storage.Millis(n), Limit: storage.MaxExpire}
	if purge {
		p.work(&step, n, len(p.partitions))
		step.Kind = storage.KindPurge
	}
	step.Limit = uint32(keys)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	p.work(&step, n, partitions)
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(n), "cpu-ns/op")
	if err := p.e.Close(); err != nil {
		b.Fatal(err)
	}
}

// work applies a command to so many partitions a batch until it has found n keys.
func (p *putter) work(c *storage.Command, n, partitions int) {
	p.b.Helper()
	for found, at := 0, 0; found < n; {
		batch := p.e.Batch()
		for range partitions {
			found += p.step(batch, p.partitions[at%len(p.partitions)], c)
			at++
		}
		if err := batch.Commit(); err != nil {
			p.b.Fatal(err)
		}
	}
}

// fillTTL puts n keys that are due one after another.
func (p *putter) fillTTL(n int) {
	p.b.Helper()
	for i := 0; i < n; {
		batch := p.e.Batch()
		for range min(500, n-i) {
			part := p.partitions[i%len(p.partitions)]
			cmd := storage.Command{Kind: storage.KindPut, Key: fmt.Appendf(nil, "ttl/%010d", i), Value: make([]byte, 256), TTL: storage.Millis(i + 1)}
			if _, err := part.Apply(batch, part.Meta().Applied+1, 1, storage.AppendCommand(nil, &cmd)); err != nil {
				p.b.Fatal(err)
			}
			i++
		}
		for _, part := range p.partitions {
			if err := part.Flush(batch); err != nil {
				p.b.Fatal(err)
			}
		}
		if err := batch.Commit(); err != nil {
			p.b.Fatal(err)
		}
	}
}

// step applies a command to a partition and tells how many keys it found.
func (p *putter) step(batch storage.Batch, part *storage.Partition, c *storage.Command) int {
	p.b.Helper()
	res, err := part.Apply(batch, part.Meta().Applied+1, 1, storage.AppendCommand(nil, c))
	if err == nil {
		err = part.Flush(batch)
	}
	if err != nil {
		p.b.Fatal(err)
	}
	return int(res.Count)
}
