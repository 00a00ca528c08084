package raftlog_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
)

func openOS(t testing.TB, dir string) *raftlog.Log {
	t.Helper()
	l, err := raftlog.Open(raftlog.OS(), dir, raftlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, raftlog.ErrClosed) {
			t.Error(err)
		}
	})
	return l
}

func TestOnTheOperatingSystem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	opt := raftlog.Options{SegmentBytes: 8192}
	l, err := raftlog.Open(raftlog.OS(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(30) {
		write(t, l, func(b *raftlog.Batch) {
			b.Append(1, run(1+i, 1, 1, 1000))
			b.Compact(1, i)
		})
		if _, err := l.Reclaim(1000); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Segments > 2 || s.Reclaimed < 2 {
		t.Fatalf("%+v", s)
	}
	want := must(observe(l))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openOS(t, dir)
	if d := want.diff(must(observe(l))); d != "" {
		t.Fatal(d)
	}
	if info := must(os.Stat(dir)); info.Mode().Perm() != 0o700 {
		t.Fatalf("directory mode %v", info.Mode())
	}
}

func TestDirectoryIsLockedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	l := openOS(t, dir)
	if _, err := raftlog.Open(raftlog.OS(), dir, raftlog.Options{}); !errors.Is(err, raftlog.ErrLocked) {
		t.Fatalf("opened twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	openOS(t, dir)
}
