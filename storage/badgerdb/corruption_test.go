package badgerdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
)

// crashed makes a directory as a kill leaves it: commits 1 to 40 in two tables, 41 to 60 in the log, all synced up to the
// one given.
func crashed(t *testing.T, synced uint64) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "live")
	for n := uint64(1); n <= 40; n += 20 {
		e := mustOpen(t, dir)
		commitUpTo(t, e, n+19)
		mustClose(t, e)
	}
	e := mustOpen(t, dir)
	commitUpTo(t, e, synced)
	if err := e.Sync(); err != nil {
		t.Fatal(err)
	}
	commitUpTo(t, e, crashedCommits)
	to := filepath.Join(root, "crashed")
	if err := copyDir(dir, to); err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	return to
}

const crashedCommits = 60

func mustOpen(t *testing.T, dir string) *badgerdb.Engine {
	t.Helper()
	e, err := badgerdb.Open(config(dir))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustClose(t *testing.T, e *badgerdb.Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func commitUpTo(t *testing.T, e *badgerdb.Engine, last uint64) {
	t.Helper()
	for n := e.Commits() + 1; n <= last; n++ {
		b := e.Batch()
		for _, prefix := range []string{"first", "second", "third"} {
			if err := b.Set(numbered(prefix, n), numbered("value", n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// victim is a copy of a directory in which one thing is damaged.
type victim struct {
	t    *testing.T
	from string
	dir  string
}

func newVictim(t *testing.T, from string) *victim {
	v := &victim{t: t, from: from, dir: filepath.Join(t.TempDir(), "victim")}
	v.restore()
	return v
}

func (v *victim) restore() {
	v.t.Helper()
	if err := copyDir(v.from, v.dir); err != nil {
		v.t.Fatal(err)
	}
}

func (v *victim) path(name string) string { return filepath.Join(v.dir, name) }

// flip inverts one bit of a file.
func (v *victim) flip(name string, at int64, bit uint) {
	v.t.Helper()
	f, err := os.OpenFile(v.path(name), os.O_RDWR, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	_, readErr := f.ReadAt(b[:], at)
	b[0] ^= 1 << bit
	_, writeErr := f.WriteAt(b[:], at)
	if err := errors.Join(readErr, writeErr); err != nil {
		v.t.Fatal(err)
	}
}

// outcome opens the directory and says what became of it: "refused", or the number of commits that are there and whole.
// A refusal must name the file and leave the directory as it was.
func (v *victim) outcome(name string) string {
	v.t.Helper()
	before := v.files()
	e, err := badgerdb.Open(config(v.dir))
	if err == nil {
		mustClose(v.t, e)
		return fmt.Sprint(committed(v.t, v.dir))
	}
	var ce *badgerdb.CorruptError
	if !errors.As(err, &ce) || !errors.Is(err, storage.ErrCorrupt) {
		v.t.Fatalf("%s: open failed with what is no CorruptError: %v", name, err)
	}
	if !strings.HasPrefix(ce.Path, v.dir) {
		v.t.Fatalf("%s: the error names %q", name, ce.Path)
	}
	if after := v.files(); after != before {
		v.t.Fatalf("%s: a refused open changed the directory from\n%s\nto\n%s", name, before, after)
	}
	return "refused"
}

func (v *victim) files() string {
	v.t.Helper()
	var s strings.Builder
	ns, err := names(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, n := range ns {
		info, err := os.Stat(v.path(n))
		if err != nil {
			v.t.Fatal(err)
		}
		fmt.Fprintln(&s, n, info.Size())
	}
	return s.String()
}

// content returns a file up to its last byte that is not 0, or that was written.
func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := readContent(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readContent(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hole, err := f.Seek(0, seekHole)
	if errors.Is(err, syscall.ENXIO) {
		return nil, nil // the file is empty
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, hole)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b, "\x00"), nil
}

// TestFlippedBits flips single bits in every file that a crash leaves. Nothing that was synced may go: it is refused, or
// does no harm. What was not may go from the damaged commit on.
func TestFlippedBits(t *testing.T) {
	t.Run("all synced", func(t *testing.T) {
		flipBits(t, crashedCommits, "table refused", "manifest refused", "log refused", "log 60", "state refused")
	})
	t.Run("half synced", func(t *testing.T) {
		flipBits(t, 50, "table refused", "manifest refused", "log refused", "log 60", "log 59", "log less", "state refused")
	})
}

func flipBits(t *testing.T, synced uint64, want ...string) {
	from := crashed(t, synced)
	v := newVictim(t, from)
	rng := rand.New(rand.NewPCG(1, 2))
	ns, err := names(from)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range ns {
		size := int64(len(content(t, filepath.Join(from, name))))
		if size == 0 {
			continue
		}
		kind := fileKind(name)
		for _, at := range positions(rng, kind, size) {
			bit := rng.UintN(8)
			v.flip(name, at, bit)
			got := v.outcome(name)
			seen[kind+" "+judge(t, kind, name, at, got, synced)]++
			if got == "refused" {
				v.flip(name, at, bit) // a refused open changes nothing
			} else {
				v.restore()
			}
		}
	}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("no flip gave %q; got %v", w, seen)
		}
	}
	t.Log(seen)
}

func fileKind(name string) string {
	switch {
	case strings.HasSuffix(name, ".sst"):
		return "table"
	case strings.HasSuffix(name, ".mem"):
		return "log"
	case name == "MANIFEST":
		return "manifest"
	case name == "STATE":
		return "state"
	}
	return "other"
}

// positions picks where to flip: everywhere in the manifest, at both ends of the rest and in between.
func positions(rng *rand.Rand, kind string, size int64) []int64 {
	if kind == "other" {
		return []int64{0, size - 1}
	}
	var at []int64
	if kind == "manifest" {
		for i := range size {
			at = append(at, i)
		}
		return at
	}
	for i := range min(6, size) {
		at = append(at, i, size-1-i)
	}
	if kind == "log" {
		at = append(at, size+200) // where nothing was written yet
	}
	for range map[string]int{"log": 20, "table": 15, "state": 4}[kind] {
		at = append(at, rng.Int64N(size))
	}
	return at
}

// judge says what an outcome is, having seen that it may be.
func judge(t *testing.T, kind, name string, at int64, got string, synced uint64) string {
	t.Helper()
	if got == "refused" && kind != "other" || got == "60" && (kind == "other" || kind == "log") {
		return got
	}
	n, err := strconv.ParseUint(got, 10, 64)
	if err != nil || kind != "log" || n < synced {
		t.Errorf("%s: a flip at %d gave %s", name, at, got)
	}
	if n < crashedCommits-1 {
		return "less"
	}
	return got
}

// TestMissingAndCutFiles removes and cuts every file that matters.
func TestMissingAndCutFiles(t *testing.T) {
	from := crashed(t, crashedCommits)
	v := newVictim(t, from)
	ns, err := names(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ns {
		kind := fileKind(name)
		want := "refused"
		if kind == "other" {
			want = "60"
		}
		if err := os.Remove(v.path(name)); err != nil {
			t.Fatal(err)
		}
		if got := v.outcome(name); got != want {
			t.Errorf("without %s: %s, want %s", name, got, want)
		}
		v.restore()
		if kind == "other" {
			continue
		}
		size := int64(len(content(t, v.path(name))))
		for _, to := range []int64{1, size / 2, size - 1} {
			if err := os.Truncate(v.path(name), to); err != nil {
				t.Fatal(err)
			}
			if got := v.outcome(name); got != want {
				t.Errorf("%s cut to %d of %d: %s, want %s", name, to, size, got, want)
			}
			v.restore()
		}
	}
}

// TestCleanDirectory damages a directory that was closed in order, in ways that leave a whole, older state behind.
func TestCleanDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "live")
	var manifests [][]byte
	for n := uint64(10); n <= 30; n += 10 {
		e := mustOpen(t, dir)
		commitUpTo(t, e, n)
		mustClose(t, e)
		b, err := os.ReadFile(filepath.Join(dir, "MANIFEST"))
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, b)
	}
	v := newVictim(t, dir)
	if got := v.outcome("nothing"); got != "30" {
		t.Fatalf("undamaged: %s", got)
	}
	v.restore()
	for _, old := range manifests[:2] {
		if err := os.WriteFile(v.path("MANIFEST"), old, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := v.outcome("MANIFEST"); got != "refused" {
			t.Errorf("with an older manifest: %s", got)
		}
		v.restore()
	}
}

// TestDamageWhileOpen damages a table under an open engine: the cell's own checksum and Scrub find it.
func TestDamageWhileOpen(t *testing.T) {
	v := newVictim(t, crashed(t, crashedCommits))
	e := mustOpen(t, v.dir)
	defer e.Close()
	if err := e.Scrub(t.Context(), nil); err != nil {
		t.Fatalf("scrub before: %v", err)
	}
	table, at := find(t, v.dir, string(numbered("value", 7)))
	v.flip(table, at, 3)
	view := e.View()
	defer view.Close()
	if _, err := view.Get(numbered("first", 7)); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("get: %v, want ErrCorrupt", err)
	}
	err := view.Scan(numbered("first", 0), nil, false, func(_, _ []byte) (bool, error) { return true, nil })
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("scan: %v, want ErrCorrupt", err)
	}
	var ce *badgerdb.CorruptError
	if err := e.Scrub(t.Context(), nil); !errors.As(err, &ce) || ce.Path != v.path(table) {
		t.Errorf("scrub: %v, want a CorruptError of %s", err, table)
	}
}

// find returns the table in which a value stands, and where.
func find(t *testing.T, dir, value string) (name string, at int64) {
	t.Helper()
	ns, err := names(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range ns {
		if !strings.HasSuffix(n, ".sst") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(b), value); i >= 0 {
			return n, int64(i)
		}
	}
	t.Fatalf("no table holds %q", value)
	return "", 0
}
