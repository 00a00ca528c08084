package raftlog_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

const dir = "log"

// small makes segments roll after a few batches.
var small = raftlog.Options{SegmentBytes: 4096, ID: 7}

func segmentPath(n int) string { return filepath.Join(dir, fmt.Sprintf("%010d.seg", n)) }

func open(t testing.TB, fs raftlog.FS, opt raftlog.Options) *raftlog.Log {
	t.Helper()
	l, err := raftlog.Open(fs, dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t testing.TB, l *raftlog.Log, fill func(b *raftlog.Batch)) {
	t.Helper()
	var b raftlog.Batch
	fill(&b)
	if err := l.Write(&b, true); err != nil {
		t.Fatal(err)
	}
}

// run returns n entries from index on, whose data tells which they are and holds no zero byte.
func run(index, term uint64, n, size int) []raftlog.Entry {
	list := make([]raftlog.Entry, n)
	for i := range list {
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(1 + (int(index)+i+j)%255)
		}
		list[i] = raftlog.Entry{Index: index + uint64(i), Term: term, Type: uint8(i % 3), Data: data}
	}
	return list
}

func entries(t testing.TB, l *raftlog.Log, g raftlog.GroupID) []raftlog.Entry {
	t.Helper()
	list, err := l.Entries(g, l.FirstIndex(g), l.LastIndex(g)+1, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func newFS() *memfs.FS { return memfs.New() }
