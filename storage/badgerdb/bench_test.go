package badgerdb_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
)

const benchKeys = 100_000

func benchKey(n int) []byte { return fmt.Appendf(nil, "bench/%010d", n) }

// putter applies puts to 64 partitions of an engine, so many entries a batch.
type putter struct {
	b          *testing.B
	e          *badgerdb.Engine
	partitions []*storage.Partition
}

func newPutter(b *testing.B, dir string) *putter {
	b.Helper()
	e, err := badgerdb.Open(badgerdb.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	p := &putter{b: b, e: e}
	v := e.View()
	defer v.Close()
	for id := range storage.PartitionID(64) {
		part, err := storage.OpenPartition(v, id)
		if err != nil {
			b.Fatal(err)
		}
		p.partitions = append(p.partitions, part)
	}
	return p
}

func (p *putter) put(keys []int) {
	p.b.Helper()
	batch := p.e.Batch()
	defer batch.Discard()
	value := make([]byte, 256)
	for _, n := range keys {
		binary.BigEndian.PutUint64(value, rand.Uint64())
		part := p.partitions[n%len(p.partitions)]
		entry := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: benchKey(n), Value: value})
		if _, err := part.Apply(batch, part.Meta().Applied+1, 1, entry); err != nil {
			p.b.Fatal(err)
		}
	}
	for _, n := range keys {
		if err := p.partitions[n%len(p.partitions)].Flush(batch); err != nil {
			p.b.Fatal(err)
		}
	}
	if err := batch.Commit(); err != nil {
		p.b.Fatal(err)
	}
}

func (p *putter) fill() {
	p.b.Helper()
	var keys []int
	for n := range benchKeys {
		if keys = append(keys, n); len(keys) == 500 {
			p.put(keys)
			keys = keys[:0]
		}
	}
}

// BenchmarkPut overwrites keys of 100,000 with 256 bytes each, 64 puts a batch, and syncs once a second as a node does. An
// operation is one put; CPU is of the whole process, compactions included.
func BenchmarkPut(b *testing.B) {
	p := newPutter(b, b.TempDir())
	p.fill()
	keys := make([]int, 64)
	b.ReportAllocs()
	cpu, synced := cpuTime(), time.Now()
	var slowest time.Duration
	b.ResetTimer()
	for n := 0; n < b.N; n += len(keys) {
		if begun := time.Now(); begun.Sub(synced) > time.Second {
			if err := p.e.Sync(); err != nil {
				b.Fatal(err)
			}
			synced = time.Now()
			slowest = max(slowest, synced.Sub(begun))
		}
		for i := range keys {
			keys[i] = rand.IntN(benchKeys)
		}
		p.put(keys)
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(slowest)/float64(time.Millisecond), "slowest-sync-ms")
	b.ReportMetric(float64(residentKiB(b, "VmHWM"))/1024, "peak-MiB")
	b.ReportMetric(float64(residentKiB(b, "VmRSS"))/1024, "rss-MiB")
	if err := p.e.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGet reads random keys of 100,000, each in a view of its own.
func BenchmarkGet(b *testing.B) {
	dir := b.TempDir()
	p := newPutter(b, dir)
	p.fill()
	if err := p.e.Close(); err != nil {
		b.Fatal(err)
	}
	p = newPutter(b, dir) // everything in tables
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		n := rand.IntN(benchKeys)
		v := p.e.View()
		if _, err := storage.Get(v, storage.PartitionID(n%64), benchKey(n)); err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
	b.StopTimer()
	if err := p.e.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what the process has used, in nanoseconds.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// residentKiB reads a line of /proc/self/status; 0 where there is none.
func residentKiB(b *testing.B, field string) (n int) {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				b.Fatal(err)
			}
		}
	}
	return n
}
