package raftlog_test

import (
	"reflect"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
)

// reclaim calls Reclaim until there is nothing more to do.
func reclaim(t *testing.T, l *raftlog.Log, limit int) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = l.Reclaim(limit); err != nil {
			t.Fatal(err)
		}
	}
}

// One group keeps ten entries for a follower that never answers, another only its vote; a third writes and compacts.
// The log stays small, and a crash after every step finds all three.
func TestLaggingGroupDoesNotPinTheLog(t *testing.T) {
	fs := newFS()
	opt := raftlog.Options{SegmentBytes: 16 << 10}
	l := open(t, fs, opt)
	vote := raftlog.State{Replica: 1, Term: 3, Vote: 2}
	write(t, l, func(b *raftlog.Batch) {
		b.Append(1, run(1, 1, 10, 200))
		b.SetState(2, vote)
	})
	for i := range uint64(500) {
		write(t, l, func(b *raftlog.Batch) {
			b.Append(3, run(1+i, 1, 1, 1000))
			b.Compact(3, i)
		})
		if _, err := l.Reclaim(4096); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Segments > 6 {
			t.Fatalf("after %d batches: %+v", i, s)
		}
		if i%50 == 0 {
			fs.Kill()
			l = open(t, fs, opt)
		}
	}
	s := l.Stats()
	if s.LiveBytes != 10*(28+200)+28+1000 || s.Entries != 11 || s.DiskBytes > 7*16<<10 {
		t.Errorf("%+v", s)
	}
	if got := entries(t, l, 1); !reflect.DeepEqual(got, run(1, 1, 10, 200)) {
		t.Errorf("the lagging group's entries: %v", got)
	}
	if got, ok := l.State(2); !ok || got != vote {
		t.Errorf("the sleeping group's vote: %v %v", got, ok)
	}
}

// A step moves no more than about what it was allowed.
func TestReclaimStepIsBounded(t *testing.T) {
	l := open(t, newFS(), raftlog.Options{SegmentBytes: 64 << 10})
	for i := range uint64(50) { // live in the first segment
		write(t, l, func(b *raftlog.Batch) { b.Append(1, run(1+i, 1, 1, 1000)) })
	}
	for i := range uint64(400) {
		write(t, l, func(b *raftlog.Batch) {
			b.Append(2, run(1+i, 1, 1, 1000))
			b.Compact(2, i)
		})
	}
	steps := 0
	for more := true; more; steps++ {
		before := l.Stats().MovedBytes
		var err error
		if more, err = l.Reclaim(5000); err != nil {
			t.Fatal(err)
		}
		if moved := l.Stats().MovedBytes - before; moved > 5000+1200 {
			t.Fatalf("a step moved %d bytes", moved)
		}
	}
	if s := l.Stats(); steps < 10 || s.Segments > 2 || s.MovedBytes < 50*1028 {
		t.Errorf("%d steps, %+v", steps, s)
	}
}

// A log whose entries are all needed is left alone, and one that Reclaim cannot make smaller does not keep it busy.
func TestReclaimEnds(t *testing.T) {
	l := open(t, newFS(), small)
	for i := range uint64(200) {
		write(t, l, func(b *raftlog.Batch) { b.Append(raftlog.GroupID(i%64), run(1+i/64, 1, 1, 0)) })
	}
	reclaim(t, l, 1)
	if s := l.Stats(); s.Entries != 200 {
		t.Errorf("%+v", s)
	}
	full := open(t, newFS(), small)
	for i := range uint64(50) {
		write(t, full, func(b *raftlog.Batch) { b.Append(1, run(1+i, 1, 1, 1000)) })
	}
	reclaim(t, full, 1000)
	if s := full.Stats(); s.MovedBytes != 0 || s.Reclaimed != 0 {
		t.Errorf("moved for nothing: %+v", s)
	}
}
