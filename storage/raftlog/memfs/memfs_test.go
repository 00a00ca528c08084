package memfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// written returns a file of 2,048 synced bytes a, all overwritten with b but not synced.
func written(t *testing.T) (*memfs.FS, raftlog.File) {
	f := memfs.New()
	file := must(f.Create("d/x"))
	_ = must(file.WriteAt(bytes.Repeat([]byte{'a'}, 2048), 0))
	if err := errors.Join(file.Sync(), f.SyncDir("d")); err != nil {
		t.Fatal(err)
	}
	_ = must(file.WriteAt(bytes.Repeat([]byte{'b'}, 2048), 0))
	return f, file
}

// Every way to lose a write happens: wholly, not at all, up to a byte, by sectors.
func TestCrashLosesUnsyncedWrites(t *testing.T) {
	var whole, none, prefix, sectors int
	for seed := range uint64(200) {
		f, _ := written(t)
		f.Crash(source(seed))
		content := f.Content("d/x")
		kept := bytes.Count(content, []byte{'b'})
		switch {
		case len(content) != 2048:
			t.Fatalf("%d bytes", len(content))
		case kept == 0:
			none++
		case kept == 2048:
			whole++
		case kept%512 != 0 && bytes.LastIndexByte(content, 'b') == kept-1:
			prefix++
		case kept%512 == 0:
			sectors++
		default:
			t.Fatalf("seed %d kept %d bytes in pieces that are no sectors", seed, kept)
		}
	}
	if min(whole, none, prefix, sectors) < 5 {
		t.Errorf("whole %d, none %d, prefix %d, sectors %d", whole, none, prefix, sectors)
	}
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(50) {
		f, file := written(t)
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
		f.Crash(source(seed))
		if bytes.Count(f.Content("d/x"), []byte{'b'}) != 2048 {
			t.Fatalf("seed %d lost synced bytes", seed)
		}
		if _, err := file.WriteAt([]byte{1}, 0); !errors.Is(err, memfs.ErrCrashed) {
			t.Fatalf("a handle outlived the crash: %v", err)
		}
	}
}

func TestCrashLosesUnsyncedNames(t *testing.T) {
	created, removed := 0, 0
	for seed := range uint64(50) {
		f, _ := written(t)
		if err := must(f.Create("d/new")).Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Remove("d/x"); err != nil {
			t.Fatal(err)
		}
		f.Crash(source(seed))
		if _, err := f.Open("d/new"); err == nil {
			created++
		}
		if _, err := f.Open("d/x"); errors.Is(err, fs.ErrNotExist) {
			removed++
		}
	}
	if created < 5 || created > 45 || removed < 5 || removed > 45 {
		t.Errorf("of 50: created %d, removed %d", created, removed)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	for seed := range uint64(20) {
		a, _ := written(t)
		b := a.Clone()
		a.Crash(source(seed))
		b.Crash(source(seed))
		if !bytes.Equal(a.Content("d/x"), b.Content("d/x")) {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestKillLosesNothingAndFreesTheLock(t *testing.T) {
	f, _ := written(t)
	_ = must(f.Lock("d/LOCK"))
	if _, err := f.Lock("d/LOCK"); !errors.Is(err, raftlog.ErrLocked) {
		t.Fatalf("locked twice: %v", err)
	}
	f.Kill()
	_ = must(f.Lock("d/LOCK"))
	if bytes.Count(f.Content("d/x"), []byte{'b'}) != 2048 {
		t.Error("kill lost bytes")
	}
}
