package badgerdb_test

import (
	"bytes"
	"fmt"
	"os"
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

// TestTwoLogs damages directories in which a memory table was not written out yet when the next one was begun.
func TestTwoLogs(t *testing.T) {
	v := newVictim(t, crashed(t))
	remove := func(name string) {
		if err := os.Remove(v.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(name string, size int64) {
		if err := os.Truncate(v.path(name), size); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		damage func(lastOfFirst int64)
		want   string
	}{
		{"none", func(int64) {}, "60"},
		{"first is missing", func(int64) { remove("00001.mem") }, "refused"},
		{"first has no length", func(int64) { cut("00001.mem", 0) }, "refused"},
		{"first lost its last commit", func(at int64) { cut("00001.mem", at) }, "refused"},
		{"flip in the first record of the first", func(int64) { v.flip("00001.mem", 22, 0) }, "refused"},
		{"flip in the last commit of the first", func(at int64) { v.flip("00001.mem", at+9, 0) }, "refused"},
		{"flip behind the end of the first", func(int64) { v.flip("00001.mem", emptyLog-1, 0) }, "refused"},
		{"first ends where it was cut by a repair", func(at int64) { cut("00001.mem", at+(at-20)/9) }, "60"},
		// The newest log as a whole is the one thing whose loss cannot be seen here: the state that is left was the state
		// once, and the raft log, which has the entries since, brings it forward or shows a gap.
		{"second is missing", func(int64) { remove("00002.mem") }, "50"},
		{"second was just begun", func(int64) { cut("00002.mem", 0) }, "50"},
		{"second has only zeros", func(int64) { cut("00002.mem", 20); cut("00002.mem", emptyLog) }, "50"},
		{"flip in the last commit of the first, second has only zeros", func(at int64) {
			v.flip("00001.mem", at+9, 0)
			cut("00002.mem", 20)
			cut("00002.mem", emptyLog)
		}, "refused"},
		{"flip in the first record of the second", func(int64) { v.flip("00002.mem", 22, 0) }, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.damage(splitLog(t, v))
			if got := v.outcome(c.name); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			v.restore()
		})
	}
}
