package badgerdb_test

import (
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// BenchmarkExpire removes keys of 256 bytes whose time has come: so many of each partition, so many partitions a batch. An
// operation is one key; CPU is of the whole process.
func BenchmarkExpire(b *testing.B) {
	for _, c := range []struct{ keys, partitions int }{{16, 1}, {64, 1}, {256, 1}, {16, 16}, {256, 16}} {
		b.Run(fmt.Sprintf("%dx%d", c.keys, c.partitions), func(b *testing.B) { benchExpire(b, c.keys, c.partitions) })
	}
}

func benchExpire(b *testing.B, keys, partitions int) {
	p := newPutter(b, b.TempDir())
	p.fill() // what lives on
	n := max(b.N, keys*partitions)
	p.fillTTL(n)
	clock := storage.Millis(n)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	for removed, at := 0, 0; removed < n; {
		batch := p.e.Batch()
		for range partitions {
			part := p.partitions[at%len(p.partitions)]
			at++
			removed += p.expire(batch, part, clock, keys)
		}
		if err := batch.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(n), "cpu-ns/op")
	if err := p.e.Close(); err != nil {
		b.Fatal(err)
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

// expire removes at most limit keys of a partition and tells how many.
func (p *putter) expire(batch storage.Batch, part *storage.Partition, clock storage.Millis, limit int) int {
	p.b.Helper()
	entry := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindExpire, Clock: clock, Limit: uint32(limit)})
	res, err := part.Apply(batch, part.Meta().Applied+1, 1, entry)
	if err == nil {
		err = part.Flush(batch)
	}
	if err != nil {
		p.b.Fatal(err)
	}
	return int(res.Count)
}
