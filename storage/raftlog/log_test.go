package raftlog_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ringkv/ringkv/storage/raftlog"
)

func TestBatchIsThereAfterReopening(t *testing.T) {
	fs := newFS()
	l := open(t, fs, raftlog.Options{SegmentBytes: 64 << 10})
	state := raftlog.State{Replica: 3, Term: 5, Vote: 2, Commit: 9}
	write(t, l, func(b *raftlog.Batch) {
		b.Append(1, run(1, 5, 10, 100))
		b.SetState(1, state)
		b.Reset(2, 40, 6)
		b.Append(2, run(41, 6, 3, 0))
		b.Compact(1, 4)
	})
	check := func() {
		t.Helper()
		if got := l.Groups(); !slices.Equal(got, []raftlog.GroupID{1, 2}) {
			t.Fatalf("groups %v", got)
		}
		if s, ok := l.State(1); !ok || s != state {
			t.Fatalf("state %v %v", s, ok)
		}
		if _, ok := l.State(2); ok {
			t.Fatal("group 2 has a state")
		}
		if got := entries(t, l, 1); !reflect.DeepEqual(got, run(1, 5, 10, 100)[4:]) {
			t.Fatalf("entries %v", got)
		}
		if l.FirstIndex(2) != 41 || l.LastIndex(2) != 43 || entries(t, l, 2)[0].Data != nil {
			t.Fatalf("group 2: %d to %d", l.FirstIndex(2), l.LastIndex(2))
		}
		for i, want := range map[uint64]uint64{40: 6, 41: 6} {
			if term, err := l.Term(2, i); err != nil || term != want {
				t.Fatalf("term of %d: %d %v", i, term, err)
			}
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, fs, raftlog.Options{MustExist: true})
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadsOutsideTheLog(t *testing.T) {
	l := open(t, newFS(), small)
	write(t, l, func(b *raftlog.Batch) {
		b.Append(1, run(1, 1, 10, 100))
		b.Compact(1, 4)
	})
	for _, c := range []struct {
		name   string
		g      raftlog.GroupID
		lo, hi uint64
		want   error
	}{
		{"at the mark", 1, 4, 6, raftlog.ErrCompacted},
		{"above the end", 1, 5, 12, raftlog.ErrUnavailable},
		{"unknown group", 9, 1, 2, raftlog.ErrUnavailable},
		{"all", 1, 5, 11, nil},
		{"none", 1, 11, 11, nil},
	} {
		if _, err := l.Entries(c.g, c.lo, c.hi, 1<<20); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for i, want := range map[uint64]error{3: raftlog.ErrCompacted, 4: nil, 10: nil, 11: raftlog.ErrUnavailable} {
		if _, err := l.Term(1, i); !errors.Is(err, want) {
			t.Errorf("term of %d: %v, want %v", i, err, want)
		}
	}
	if term, err := l.Term(9, 0); term != 0 || err != nil {
		t.Errorf("term of index 0 of an unknown group: %d %v", term, err)
	}
}

func TestEntriesStopsAtMaxBytesButReturnsOne(t *testing.T) {
	l := open(t, newFS(), small)
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(1, 1, 10, 72)) }) // 100 bytes each
	for limit, want := range map[uint64]int{0: 1, 99: 1, 199: 1, 200: 2, 999: 9, 1 << 30: 10} {
		got, err := l.Entries(1, 1, 11, limit)
		if err != nil || len(got) != want {
			t.Errorf("limit %d: %d entries, want %d (%v)", limit, len(got), want, err)
		}
	}
}

func TestAppendReplacesAConflictingEnd(t *testing.T) {
	fs := newFS()
	l := open(t, fs, small)
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(1, 1, 10, 50)) })
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(6, 2, 2, 60)) })
	want := append(run(1, 1, 10, 50)[:5], run(6, 2, 2, 60)...)
	if got := entries(t, l, 1); !reflect.DeepEqual(got, want) {
		t.Fatalf("entries %v", got)
	}
	fs.Kill()
	if got := entries(t, open(t, fs, small), 1); !reflect.DeepEqual(got, want) {
		t.Fatalf("entries after reopening %v", got)
	}
}

func TestRemoveKeepsTheTombstone(t *testing.T) {
	fs := newFS()
	l := open(t, fs, small)
	grave := raftlog.State{Replica: 4, Removed: true, Term: 3}
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(1, 1, 10, 50)) })
	write(t, l, func(b *raftlog.Batch) {
		b.SetState(1, grave)
		b.Remove(1)
	})
	fs.Kill()
	l = open(t, fs, small)
	if s, ok := l.State(1); !ok || s != grave || l.FirstIndex(1) != 1 || l.LastIndex(1) != 0 {
		t.Fatalf("state %v, entries %d to %d", s, l.FirstIndex(1), l.LastIndex(1))
	}
	write(t, l, func(b *raftlog.Batch) {
		b.SetState(1, raftlog.State{Replica: 5})
		b.Reset(1, 100, 3)
	})
	if l.FirstIndex(1) != 101 {
		t.Fatalf("first index %d", l.FirstIndex(1))
	}
}

// Every invalid batch is refused, and its error is final.
func TestInvalidBatches(t *testing.T) {
	state := raftlog.State{Replica: 4, Term: 7, Vote: 2}
	for _, c := range []struct {
		name string
		fill func(b *raftlog.Batch)
	}{
		{"gap", func(b *raftlog.Batch) { b.Append(1, run(12, 7, 1, 1)) }},
		{"gap within", func(b *raftlog.Batch) { b.Append(1, []raftlog.Entry{{Index: 11, Term: 7}, {Index: 13, Term: 7}}) }},
		{"below the mark", func(b *raftlog.Batch) { b.Append(1, run(3, 7, 1, 1)) }},
		{"term descends", func(b *raftlog.Batch) { b.Append(1, run(11, 6, 1, 1)) }},
		{"compaction above the end", func(b *raftlog.Batch) { b.Compact(1, 11) }},
		{"second vote", func(b *raftlog.Batch) { b.SetState(1, raftlog.State{Replica: 4, Term: 7, Vote: 3}) }},
		{"vote forgotten", func(b *raftlog.Batch) { b.SetState(1, raftlog.State{Replica: 4, Term: 7}) }},
		{"older term", func(b *raftlog.Batch) { b.SetState(1, raftlog.State{Replica: 4, Term: 6, Vote: 2}) }},
		{"older replica", func(b *raftlog.Batch) { b.SetState(1, raftlog.State{Replica: 3, Term: 8}) }},
		{"from the grave", func(b *raftlog.Batch) {
			b.SetState(1, raftlog.State{Replica: 4, Term: 8, Removed: true})
			b.SetState(1, raftlog.State{Replica: 4, Term: 9})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, newFS(), small)
			write(t, l, func(b *raftlog.Batch) {
				b.Append(1, run(1, 7, 10, 10))
				b.SetState(1, state)
				b.Compact(1, 4)
			})
			var b raftlog.Batch
			c.fill(&b)
			if err := l.Write(&b, true); !errors.Is(err, raftlog.ErrInvalidBatch) {
				t.Fatalf("error %v", err)
			}
			b.Clear()
			if err := l.Write(&b, true); !errors.Is(err, raftlog.ErrFailed) {
				t.Fatalf("the write after: %v", err)
			}
		})
	}
}

func TestSyncsAreCountedAndTimed(t *testing.T) {
	var timed uint64
	opt := raftlog.Options{OnSync: func(time.Duration) { timed++ }}
	l := open(t, newFS(), opt)
	before, timedBefore := l.Stats().Syncs, timed
	var b raftlog.Batch
	b.Append(1, run(1, 1, 1, 1))
	for _, sync := range []bool{false, true} {
		if err := l.Write(&b, sync); err != nil {
			t.Fatal(err)
		}
		b.Clear()
	}
	if err := l.Write(&b, true); err != nil { // nothing new: no sync
		t.Fatal(err)
	}
	if got := l.Stats().Syncs - before; got != 1 || timed-timedBefore != 1 {
		t.Fatalf("%d syncs, %d timed", got, timed-timedBefore)
	}
}

func TestOpenRefusals(t *testing.T) {
	if _, err := raftlog.Open(newFS(), dir, raftlog.Options{MustExist: true}); !errors.Is(err, raftlog.ErrNoLog) {
		t.Errorf("no log: %v", err)
	}
	if _, err := raftlog.Open(newFS(), dir, raftlog.Options{SegmentBytes: 12}); err == nil {
		t.Error("a segment size of 12 bytes was taken")
	}
	fs := newFS()
	l := open(t, fs, small)
	if _, err := raftlog.Open(fs, dir, small); !errors.Is(err, raftlog.ErrLocked) {
		t.Errorf("open twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, raftlog.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if err := open(t, fs, small).Close(); err != nil {
		t.Errorf("after closing: %v", err)
	}
}
