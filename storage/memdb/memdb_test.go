package memdb_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/enginetest"
	"github.com/ringkv/ringkv/storage/memdb"
)

type fixture struct {
	disk *memdb.Disk
	rng  *rand.Rand
}

func (f fixture) Open() (storage.Engine, error) { return f.disk.Open(memdb.Options{}) }
func (f fixture) Crash(storage.Engine) error    { f.disk.Kill(); return nil }
func (f fixture) PowerCut(storage.Engine) error { f.disk.Crash(f.rng); return nil }
func (f fixture) Remove()                       {}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(*testing.T) enginetest.Fixture { return fixture{memdb.NewDisk(), rand.New(rand.NewPCG(1, 2))} })
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault memdb.Fault
		want  error // of reading the batch's key after the crash
	}{
		{"lost", memdb.FaultLost, storage.ErrNotFound},
		{"kept", memdb.FaultKept, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := memdb.NewDisk()
			e, err := disk.Open(memdb.Options{OnCommit: func(n uint64) memdb.Fault {
				if n == 2 {
					return c.fault
				}
				return memdb.FaultNone
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := put(e, "first"); err != nil {
				t.Fatal(err)
			}
			before := e.View()
			if err := put(e, "second"); !errors.Is(err, storage.ErrFailed) {
				t.Fatalf("faulty commit: %v, want ErrFailed", err)
			}
			if err := put(e, "third"); !errors.Is(err, storage.ErrFailed) {
				t.Fatalf("commit on a failed engine: %v, want ErrFailed", err)
			}
			if _, err := before.Get([]byte("first")); err != nil {
				t.Fatalf("first, in a view from before the failure: %v", err)
			}
			if _, err := e.View().Get([]byte("first")); !errors.Is(err, storage.ErrFailed) {
				t.Fatalf("first, in a view of a failed engine: %v, want ErrFailed", err)
			}
			disk.Kill()
			if _, err := before.Get([]byte("first")); !errors.Is(err, storage.ErrClosed) {
				t.Fatalf("first, in a view of an engine that is gone: %v, want ErrClosed", err)
			}
			if e, err = disk.Open(memdb.Options{}); err != nil {
				t.Fatal(err)
			}
			v := e.View()
			defer v.Close()
			if _, err := v.Get([]byte("first")); err != nil {
				t.Fatalf("first: %v", err)
			}
			if _, err := v.Get([]byte("second")); !errors.Is(err, c.want) {
				t.Fatalf("second: %v, want %v", err, c.want)
			}
			if _, err := v.Get([]byte("third")); !errors.Is(err, storage.ErrNotFound) {
				t.Fatalf("third: %v, want ErrNotFound", err)
			}
		})
	}
}

// TestPowerCut: each number of lost commits happens, never one that was synced.
func TestPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	seen := make(map[int]bool)
	for range 60 {
		disk := memdb.NewDisk()
		e, err := disk.Open(memdb.Options{})
		err = errors.Join(err, put(e, "synced"), e.Sync(), put(e, "first"), put(e, "second"))
		if err != nil {
			t.Fatal(err)
		}
		lost := disk.Crash(rng)
		seen[lost] = true
		if e, err = disk.Open(memdb.Options{}); err != nil {
			t.Fatal(err)
		}
		v := e.View()
		for i, key := range []string{"synced", "first", "second"} {
			if _, err := v.Get([]byte(key)); (err == nil) != (i < 3-lost) {
				t.Fatalf("%d commits lost, %s: %v", lost, key, err)
			}
		}
		v.Close()
	}
	if len(seen) != 3 {
		t.Errorf("only these numbers of commits were ever lost: %v", seen)
	}
}

func TestSyncFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault memdb.Fault
		most  int // commits lost by the power cut that follows
	}{{"lost", memdb.FaultLost, 1}, {"kept", memdb.FaultKept, 0}} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			most := 0
			for range 20 {
				disk := memdb.NewDisk()
				e, err := disk.Open(memdb.Options{OnSync: func() memdb.Fault { return c.fault }})
				if err := errors.Join(err, put(e, "key")); err != nil {
					t.Fatal(err)
				}
				if err := e.Sync(); !errors.Is(err, storage.ErrFailed) {
					t.Fatalf("faulty sync: %v, want ErrFailed", err)
				}
				if err := e.Sync(); !errors.Is(err, storage.ErrFailed) {
					t.Fatalf("sync of a failed engine: %v, want ErrFailed", err)
				}
				most = max(most, disk.Crash(rng))
			}
			if most != c.most {
				t.Errorf("%d commits lost, want %d", most, c.most)
			}
		})
	}
}

func TestOneEngineADisk(t *testing.T) {
	disk := memdb.NewDisk()
	if _, err := disk.Open(memdb.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Open(memdb.Options{}); !errors.Is(err, memdb.ErrOpen) {
		t.Fatalf("second open: %v, want ErrOpen", err)
	}
}

func put(e storage.Engine, key string) error {
	b := e.Batch()
	defer b.Discard()
	if err := b.Set([]byte(key), []byte("x")); err != nil {
		return err
	}
	return b.Commit()
}
