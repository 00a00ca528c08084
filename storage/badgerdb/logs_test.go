package badgerdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const emptyLog = 128 << 20 // bytes of a log file that Badger has just made

// splitLog replaces the victim's one log, commits 41 to 60, by two: up to commit 50, and from 51 on. It returns the
// offset of commit 50 in the first.
func splitLog(t *testing.T, v *victim) (lastTxn int64) {
	t.Helper()
	b := content(t, v.path("00001.mem"))
	from, at := endOf(t, b, 49), endOf(t, b, 50)
	writeLog(t, v.path("00001.mem"), b[:at])
	writeLog(t, v.path("00002.mem"), append(bytes.Clone(b[:20]), b[at:]...))
	return from
}

// endOf returns the offset behind a commit: its last record has the key "!badger!txn" and eight bytes, its number in
// decimal, and a checksum of four.
func endOf(t *testing.T, b []byte, commit int) int64 {
	t.Helper()
	number := fmt.Sprint(commit)
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("!badger!txn"))
		if i < 0 {
			t.Fatalf("no commit %d", commit)
		}
		at += i + len("!badger!txn") + 8
		if bytes.HasPrefix(b[at:], []byte(number)) {
			return int64(at + len(number) + 4)
		}
	}
}

// writeLog writes a log file of the length that Badger gives it; the rest is a hole.
func writeLog(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, emptyLog); err != nil {
		t.Fatal(err)
	}
}

// TestTwoLogs damages directories in which a memory table was not written out yet when the next one was begun: commits 41
// to 50 are in the first log, 51 to 60 in the second.
func TestTwoLogs(t *testing.T) {
	const first, second = "00001.mem", "00002.mem"
	synced := []uint64{60, 50, 45}
	var victims []*victim
	for _, n := range synced {
		victims = append(victims, newVictim(t, crashed(t, n)))
	}
	for _, c := range []struct {
		name   string
		damage func(v *victim, lastOfFirst int64)
		want   [3]string // with 60, 50 and 45 commits synced
	}{
		{"none", func(*victim, int64) {}, [3]string{"60", "60", "60"}},
		{"first is missing", func(v *victim, _ int64) { v.remove(first) }, [3]string{"refused", "refused", "refused"}},
		{"first has no length", func(v *victim, _ int64) { v.cut(first, 0) }, [3]string{"refused", "refused", "refused"}},
		{"first lost its last commit", func(v *victim, at int64) { v.cut(first, at) }, [3]string{"refused", "refused", "49"}},
		{"flip in the first record of the first", func(v *victim, _ int64) { v.flip(first, 22, 0) }, [3]string{"refused", "refused", "refused"}},
		{"flip in the last commit of the first", func(v *victim, at int64) { v.flip(first, at+9, 0) }, [3]string{"refused", "refused", "49"}},
		{"flip behind the end of the first", func(v *victim, _ int64) { v.flip(first, emptyLog-1, 0) }, [3]string{"refused", "50", "50"}},
		{"first ends where it was cut by a repair", func(v *victim, at int64) { v.cut(first, at+(at-20)/9) }, [3]string{"60", "60", "60"}},
		{"second is missing", func(v *victim, _ int64) { v.remove(second) }, [3]string{"refused", "50", "50"}},
		{"second was just begun", func(v *victim, _ int64) { v.cut(second, 0) }, [3]string{"refused", "50", "50"}},
		{"second has only zeros", func(v *victim, _ int64) { v.zero(second) }, [3]string{"refused", "50", "50"}},
		{"flip in the last commit of the first, second has only zeros", func(v *victim, at int64) {
			v.flip(first, at+9, 0)
			v.zero(second)
		}, [3]string{"refused", "refused", "49"}},
		{"flip in the first record of the second", func(v *victim, _ int64) { v.flip(second, 22, 0) }, [3]string{"refused", "50", "50"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, v := range victims {
				v.t = t
				c.damage(v, splitLog(t, v))
				if got := v.outcome(c.name); got != c.want[i] {
					t.Errorf("%d synced: got %s, want %s", synced[i], got, c.want[i])
				}
				v.restore()
			}
		})
	}
}

// TestWrittenOutLog: a log whose content is in a table comes back after a power cut, whole, torn or without a first
// commit. It must do no harm, least of all by bringing back a part of what it held.
func TestWrittenOutLog(t *testing.T) {
	for _, c := range []struct {
		name  string
		alone bool // there is no log behind it
		tear  func(b []byte) []byte
	}{
		{"whole", false, func(b []byte) []byte { return b }},
		{"its end is torn", false, func(b []byte) []byte { return b[:len(b)*2/3] }},
		{"its begin is torn", false, func(b []byte) []byte { clear(b[20:512]); return b }},
		{"its begin is torn, alone", true, func(b []byte) []byte { clear(b[20:512]); return b }},
		{"its end is torn, alone", true, func(b []byte) []byte { return b[:len(b)*2/3] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := crashed(t, crashedCommits)
			old := content(t, filepath.Join(from, "00001.mem"))
			v := newVictim(t, from)
			e := mustOpen(t, v.dir) // writes 41 to 60 out
			mustClose(t, e)
			if !c.alone {
				e = mustOpen(t, v.dir)
				commitUpTo(t, e, 70)
				to := filepath.Join(t.TempDir(), "crashed")
				if err := errors.Join(e.Sync(), copyDir(v.dir, to), e.Close()); err != nil {
					t.Fatal(err)
				}
				v.dir = to
				if err := os.Rename(v.path("00001.mem"), v.path("00002.mem")); err != nil {
					t.Fatal(err)
				}
			}
			writeLog(t, v.path("00001.mem"), c.tear(old))
			want := "70"
			if c.alone {
				want = "60"
			}
			if got := v.outcome(c.name); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func (v *victim) remove(name string) {
	v.t.Helper()
	if err := os.Remove(v.path(name)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *victim) cut(name string, size int64) {
	v.t.Helper()
	if err := os.Truncate(v.path(name), size); err != nil {
		v.t.Fatal(err)
	}
}

// zero leaves a log's head only.
func (v *victim) zero(name string) {
	v.t.Helper()
	v.cut(name, 20)
	v.cut(name, emptyLog)
}
