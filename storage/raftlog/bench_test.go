//go:build unix

package raftlog_test

import (
	"syscall"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
)

// batches writes b.N entries of 256 bytes, 64 a batch over 64 groups, compacting as a node does.
func batches(b *testing.B, sync bool) {
	l := openOS(b, b.TempDir())
	const groups = 64
	entries := run(1, 1, 1, 256)
	var batch raftlog.Batch
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	for n := 0; n < b.N; n += groups {
		batch.Clear()
		index := uint64(n/groups) + 1
		entries[0].Index = index
		for g := range raftlog.GroupID(groups) {
			batch.Append(g, entries)
			if index%1000 == 0 {
				batch.Compact(g, index-100)
			}
		}
		if err := l.Write(&batch, sync); err != nil {
			b.Fatal(err)
		}
		if index%100 == 0 {
			if _, err := l.Reclaim(1 << 20); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(l.Stats().Segments), "segments")
}

// cpu returns the time that the process has spent on a core, in user and system mode, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkWriteEntry(b *testing.B)       { batches(b, false) }
func BenchmarkWriteEntrySynced(b *testing.B) { batches(b, true) }

// BenchmarkWriteSingleSynced is one small entry, one record, one fsync.
func BenchmarkWriteSingleSynced(b *testing.B) {
	l := openOS(b, b.TempDir())
	var batch raftlog.Batch
	for n := range b.N {
		batch.Clear()
		batch.Append(1, run(uint64(n)+1, 1, 1, 256))
		if err := l.Write(&batch, true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadEntry reads back single entries: from memory just after they were written, or from the file.
func BenchmarkReadEntry(b *testing.B) {
	for name, back := range map[string]uint64{"tail": 100, "file": 20_000} {
		b.Run(name, func(b *testing.B) {
			l := openOS(b, b.TempDir())
			var batch raftlog.Batch
			batch.Append(1, run(1, 1, 30_000, 256))
			if err := l.Write(&batch, false); err != nil {
				b.Fatal(err)
			}
			index := l.LastIndex(1) - back
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Entries(1, index, index+1, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
