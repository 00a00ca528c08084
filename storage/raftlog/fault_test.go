package raftlog_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// After a failed fsync nothing is answered and nothing is written: the kernel may have dropped the pages, and a second
// fsync would report success.
func TestFailedSyncIsFinal(t *testing.T) {
	fs := newFS()
	l := open(t, fs, small)
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(1, 1, 1, 100)) })
	fs.Fail = func(op memfs.Op, _ string) error {
		if op == memfs.OpSync {
			return errInjected
		}
		return nil
	}
	var b raftlog.Batch
	b.Append(1, run(2, 1, 1, 100))
	if err := l.Write(&b, true); !errors.Is(err, errInjected) {
		t.Fatalf("write: %v", err)
	}
	fs.Fail = nil
	b.Clear()
	for name, err := range map[string]error{
		"write":   l.Write(&b, true),
		"entries": second(l.Entries(1, 1, 2, 100)),
		"term":    second(l.Term(1, 1)),
		"reclaim": second(l.Reclaim(100)),
	} {
		if !errors.Is(err, raftlog.ErrFailed) || !errors.Is(err, errInjected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	l = open(t, fs, small)
	if l.LastIndex(1) < 1 {
		t.Error("an acknowledged entry is gone")
	}
}

func second[T any](_ T, err error) error { return err }

// Whichever call to the disk fails, in opening, writing, rolling, reclaiming or closing: the error comes out, and after
// a power cut the acknowledged batches are there.
func TestEveryCallThatCanFail(t *testing.T) {
	for k := 0; ; k++ {
		fs := newFS()
		fs.Fail = failAfter(k)
		acked, err := scenario(fs)
		fs.Fail = nil
		fs.Crash(rand.New(rand.NewPCG(uint64(k), 1)))
		l := open(t, fs, small)
		if last := l.LastIndex(1); last < acked || last > acked+1 {
			t.Fatalf("call %d failed: %d entries acknowledged, %d found", k, acked, last)
		}
		if err == nil {
			if k < 50 {
				t.Fatalf("only %d calls", k)
			}
			return
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("call %d: %v", k, err)
		}
	}
}

// Whichever call fails, the process that comes next on the same machine goes on over several segments, and only then the
// power fails: what it had found in the page cache, such as the record that closes a segment, it had made durable first.
func TestPowerFailsAfterTheNextProcess(t *testing.T) {
	for k, err := 0, errInjected; err != nil; k++ {
		for seed := range uint64(8) {
			fs := newFS()
			fs.Fail = failAfter(k)
			_, err = scenario(fs)
			fs.Fail = nil
			fs.Kill()
			l := open(t, fs, small)
			for range 12 {
				write(t, l, func(b *raftlog.Batch) { b.Append(2, run(l.LastIndex(2)+1, 1, 1, 1000)) })
			}
			last := l.LastIndex(1)
			fs.Crash(rand.New(rand.NewPCG(uint64(k), seed)))
			l, reopened := raftlog.Open(fs, dir, small)
			if reopened != nil {
				t.Fatalf("call %d failed, seed %d: %v", k, seed, reopened)
			}
			if l.LastIndex(1) != last || l.LastIndex(2) != 12 {
				t.Fatalf("call %d failed, seed %d: %d and %d entries", k, seed, l.LastIndex(1), l.LastIndex(2))
			}
		}
	}
}

// scenario writes and reclaims over a few segments. It returns how many entries were acknowledged.
func scenario(fs raftlog.FS) (uint64, error) {
	l, err := raftlog.Open(fs, dir, small)
	if err != nil {
		return 0, err
	}
	var b raftlog.Batch
	for i := range uint64(12) {
		b.Clear()
		b.Append(1, run(1+i, 1, 1, 1000))
		b.Compact(1, i)
		if err := l.Write(&b, true); err != nil {
			return i, errors.Join(err, l.Close())
		}
		if _, err := l.Reclaim(1000); err != nil {
			return i + 1, errors.Join(err, l.Close())
		}
	}
	return 12, l.Close()
}
