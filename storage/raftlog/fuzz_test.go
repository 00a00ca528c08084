package raftlog_test

import (
	"slices"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
)

// A piece of a log replaced by anything is noticed, unless it reaches into the last record: then whole records at the
// end may be missing, as after a torn write, but nothing is ever invented.
func FuzzDamagedLog(f *testing.F) {
	fs := newFS()
	l := open(f, fs, small)
	history := []model{must(observe(l))}
	for i := range uint64(8) {
		write(f, l, func(b *raftlog.Batch) {
			b.Append(1, run(1+i, 1, 1, 800))
			b.SetState(2, raftlog.State{Replica: 1, Term: i})
		})
		history = append(history, must(observe(l)))
	}
	if n := l.Stats().Segments; n != 2 {
		f.Fatalf("%d segments", n)
	}
	all := history[len(history)-1]
	starts := records(fs.Content(segmentPath(2)))
	lastRecord := starts[len(starts)-1]

	f.Add(false, uint16(0), []byte{0})
	f.Add(true, uint16(lastRecord), make([]byte, 32))
	f.Add(true, uint16(starts[len(starts)-2]+31), make([]byte, 1200))
	f.Fuzz(func(t *testing.T, last bool, off uint16, piece []byte) {
		number := 1
		if last {
			number = 2
		}
		damaged := fs.Clone()
		content := damaged.Content(segmentPath(number))
		at := int(off) % len(content)
		n := copy(content[at:], piece)
		damaged.Replace(segmentPath(number), content)
		r, err := raftlog.Open(damaged, dir, small)
		if err != nil {
			return // refused: fine for any damage
		}
		found := must(observe(r))
		if all.diff(found) == "" {
			return
		}
		if !last || at+n <= lastRecord {
			t.Fatalf("%d bytes at %d of segment %d were not noticed: %s", n, at, number, all.diff(found))
		}
		if !slices.ContainsFunc(history, func(m model) bool { return m.diff(found) == "" }) {
			t.Fatalf("%d bytes at %d: a log that never was: %s", n, at, all.diff(found))
		}
	})
}
