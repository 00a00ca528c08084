package raftlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// sample makes a log of three segments whose last record is a batch, as kill -9 leaves it, and what it holds: with all
// batches, and without the last one.
func sample(t *testing.T) (fs *memfs.FS, all, but model) { return sampleOf(t, small) }

func sampleOf(t *testing.T, opt raftlog.Options) (fs *memfs.FS, all, but model) {
	fs = newFS()
	l := open(t, fs, opt)
	for i := range uint64(10) {
		write(t, l, func(b *raftlog.Batch) {
			b.Append(1, run(1+2*i, 1+i, 2, 300))
			b.Append(2, run(1+i, 1, 1, 5))
			b.SetState(1, raftlog.State{Replica: 1, Term: 1 + i, Vote: 1, Commit: i})
		})
	}
	but = must(observe(l))
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(21, 12, 1, 700)) })
	all = must(observe(l))
	if n := l.Stats().Segments; n != 3 {
		t.Fatalf("%d segments", n)
	}
	fs.Kill()
	return fs, all, but
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// reopened tells what a damaged log answers: its content, or the error that refused it, which must be ErrCorrupt.
func reopened(t *testing.T, fs *memfs.FS) (model, error) {
	t.Helper()
	l, err := raftlog.Open(fs, dir, small)
	if err != nil {
		if !errors.Is(err, raftlog.ErrCorrupt) {
			t.Fatalf("neither a log nor corrupt: %v", err)
		}
		return nil, err
	}
	return must(observe(l)), nil
}

// One flipped bit anywhere is refused, or it is where nothing was written and changes nothing. That holds for the last
// record too, as the sample's data has no sector of zeros.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	fs, all, _ := sample(t)
	for n := 1; n <= 3; n++ {
		content, refused := fs.Content(segmentPath(n)), 0
		for off := 0; off < len(content); off += 3 { // a step that meets every field of the format
			damaged := fs.Clone()
			content[off] ^= 1 << (off % 8)
			damaged.Replace(segmentPath(n), content)
			content[off] ^= 1 << (off % 8)
			found, err := reopened(t, damaged)
			if err != nil {
				refused++
				if !strings.Contains(err.Error(), segmentPath(n)) && !strings.Contains(err.Error(), segmentPath(n+1)) {
					t.Fatalf("bit at %d of segment %d: the error names another file: %v", off, n, err)
				}
				continue
			}
			if d := all.diff(found); d != "" {
				t.Fatalf("bit at %d of segment %d was not noticed: %s", off, n, d)
			}
		}
		if refused < 300 {
			t.Fatalf("segment %d: only %d flips were refused", n, refused)
		}
	}
}

// A sector of zeros anywhere is refused but in the last record, where no one can tell it from a torn write: then
// exactly that record is gone.
func TestEveryZeroedSectorIsNoticed(t *testing.T) {
	fs, all, but := sample(t)
	cut := 0
	for n := 1; n <= 3; n++ {
		content := fs.Content(segmentPath(n))
		for off := 0; off < len(content); off += 512 {
			damaged, zeroed := fs.Clone(), append([]byte(nil), content...)
			clear(zeroed[off:min(off+512, len(zeroed))])
			damaged.Replace(segmentPath(n), zeroed)
			found, err := reopened(t, damaged)
			if err != nil || all.diff(found) == "" {
				continue
			}
			if d := but.diff(found); d != "" || n != 3 {
				t.Fatalf("sector at %d of segment %d was not noticed: %s", off, n, d)
			}
			cut++
		}
	}
	if cut == 0 || cut > 2 {
		t.Fatalf("%d sectors cut the last record", cut)
	}
}

// The last record cut short at any byte (beyond the first 100 not all are tried) is a torn tail: the log opens without it, takes the next batch in its place,
// and holds that one after the next start.
func TestLastRecordTornAtEveryLength(t *testing.T) {
	fs, all, but := sample(t)
	content := fs.Content(segmentPath(3))
	starts := records(content)
	start := starts[len(starts)-1]
	for _, padded := range []bool{true, false} {
		for end := start; end < start+28+32+700; end += 1 + (end-start)/100 {
			torn, cut := fs.Clone(), append([]byte(nil), content[:end]...)
			if padded {
				cut = append(cut, make([]byte, len(content)-end)...)
			}
			torn.Replace(segmentPath(3), cut)
			found, err := reopened(t, torn)
			if err != nil || but.diff(found) != "" {
				t.Fatalf("cut at %d (padded %v): %v %s", end-start, padded, err, but.diff(found))
			}
			torn.Kill()
			l := open(t, torn, small)
			write(t, l, func(b *raftlog.Batch) { b.Append(1, run(21, 12, 1, 700)) })
			torn.Crash(rand.New(rand.NewPCG(uint64(end), 0)))
			if found, err = reopened(t, torn); err != nil || all.diff(found) != "" {
				t.Fatalf("after the cut at %d: %v", end-start, err)
			}
		}
	}
}

// records finds where records start, by the mark that their headers end with.
func records(content []byte) []int {
	var starts []int
	for off := 64; off+32 <= len(content); off += 32 {
		if string(content[off+28:off+32]) == "RKV\xa5" {
			starts = append(starts, off)
		}
	}
	return starts
}

// Every missing segment is noticed, the first and the last too.
func TestMissingSegments(t *testing.T) {
	for n := 1; n <= 3; n++ {
		fs, _, _ := sample(t)
		if err := fs.Remove(segmentPath(n)); err != nil {
			t.Fatal(err)
		}
		if _, err := reopened(t, fs); err == nil {
			t.Errorf("segment %d is missing and nobody noticed", n)
		}
	}
}

func TestSegmentOfAnotherLog(t *testing.T) {
	fs, _, _ := sample(t)
	opt := small
	opt.ID = 8
	other, _, _ := sampleOf(t, opt) // the same but for the id
	fs.Replace(segmentPath(2), other.Content(segmentPath(2)))
	if _, err := reopened(t, fs); err == nil {
		t.Error("a segment of another log was taken")
	}
}

// Damage that comes while the log is open is noticed by the read that meets it, and by the move.
func TestDamageUnderAnOpenLog(t *testing.T) {
	fs, all, _ := sample(t)
	l := open(t, fs, small)
	for _, off := range []int{700, 1000, 3000} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			f := must(fs.Open(segmentPath(1)))
			b := make([]byte, 1)
			_ = must(f.ReadAt(b, int64(off)))
			_ = must(f.WriteAt([]byte{b[0] ^ 4}, int64(off)))
			found, err := observe(l)
			if err == nil && all.diff(found) != "" {
				t.Fatal("damaged entries were returned")
			}
			var corrupt *raftlog.CorruptError
			if !errors.As(err, &corrupt) || corrupt.File != segmentPath(1) {
				t.Fatalf("error %v", err)
			}
			_ = must(f.WriteAt(b, int64(off)))
		})
	}
}

// Bytes in a value that are a record of a log, even of this one and numbered to fit, are no record.
func TestValueThatLooksLikeARecord(t *testing.T) {
	fs := newFS()
	l := open(t, fs, small)
	write(t, l, func(b *raftlog.Batch) { b.Append(1, run(1, 1, 1, 100)) })
	other := newFS()
	opt := small
	opt.ID = 8
	o := open(t, other, opt)
	for i := range uint64(8) {
		write(t, o, func(b *raftlog.Batch) { b.Append(1, run(1+i, 1, 1, 100)) })
	}
	fake := append(make([]byte, 4), other.Content(segmentPath(1))[64:2500]...) // aligned to 32 in the record below
	before := must(observe(l))
	write(t, l, func(b *raftlog.Batch) { b.Append(1, []raftlog.Entry{{Index: 2, Term: 1, Data: fake}}) })
	content := fs.Content(segmentPath(1))
	starts := records(content)
	if len(starts) < 8 {
		t.Fatalf("the value does not look like records: %v", starts)
	}
	clear(content[starts[3] : starts[3]+32]) // the header's sector did not reach the disk
	fs.Replace(segmentPath(1), content)
	fs.Kill()
	found, err := reopened(t, fs)
	if err != nil || before.diff(found) != "" {
		t.Fatalf("a torn record with records in its value: %v", err)
	}
}
