package memdb_test

import (
	"errors"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/enginetest"
	"github.com/ringkv/ringkv/storage/memdb"
)

type fixture struct{ disk *memdb.Disk }

func (f fixture) Open() (storage.Engine, error) { return f.disk.Open(memdb.Options{}) }
func (f fixture) Crash(storage.Engine) error    { f.disk.Crash(); return nil }
func (f fixture) Remove()                       {}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(*testing.T) enginetest.Fixture { return fixture{memdb.NewDisk()} })
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
			if err := put(e, "second"); !errors.Is(err, storage.ErrFailed) {
				t.Fatalf("faulty commit: %v, want ErrFailed", err)
			}
			if err := put(e, "third"); !errors.Is(err, storage.ErrFailed) {
				t.Fatalf("commit on a failed engine: %v, want ErrFailed", err)
			}
			disk.Crash()
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
