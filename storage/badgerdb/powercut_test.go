package badgerdb_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
)

// watched is an engine of which is known what its log files held when they were last synced.
type watched struct {
	*badgerdb.Engine
	f *fixture
}

// Sync is as storage.Engine says.
func (w *watched) Sync() error {
	err := w.Engine.Sync()
	if err == nil {
		err = w.f.remember()
	}
	return err
}

// remember reads the log files, which are synced.
func (f *fixture) remember() error {
	ns, err := names(f.dir())
	if err != nil {
		return err
	}
	f.durable = make(map[string][]byte)
	for _, name := range ns {
		if !strings.HasSuffix(name, ".mem") {
			continue
		}
		path := filepath.Join(f.dir(), name)
		b, err := readContent(path)
		if info, gone := os.Stat(path); gone != nil || info.Size() == 0 {
			continue // written out meanwhile
		}
		if err != nil {
			return err
		}
		f.durable[name] = b
	}
	return nil
}

// PowerCut copies the directory and takes from the log files some of what was written since they were synced, in sectors
// of 512 bytes. Tables, manifest and state are synced whenever they are written.
func (f *fixture) PowerCut(e storage.Engine) error {
	durable := f.durable
	if err := f.Crash(e); err != nil {
		return err
	}
	ns, err := names(f.dir())
	if err != nil {
		return err
	}
	for _, name := range ns {
		if strings.HasSuffix(name, ".mem") {
			if err := f.tear(name, durable); err != nil {
				return err
			}
		}
		delete(durable, name)
	}
	for name, b := range durable { // removed since, which need not be durable
		if f.rng.IntN(2) == 0 {
			writeLog(f.t, filepath.Join(f.dir(), name), b)
		}
	}
	return nil
}

func (f *fixture) tear(name string, durable map[string][]byte) error {
	path := filepath.Join(f.dir(), name)
	old, known := durable[name]
	if !known && f.rng.IntN(3) == 0 {
		return os.Remove(path) // a file that was just made, and not yet in the directory
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b := torn(f.rng, old, content(f.t, path))
	return errors.Join(os.WriteFile(path, b, 0o600), os.Truncate(path, max(info.Size(), int64(len(b)))))
}

// torn is what a power cut leaves of a file that held old when it was synced, and now.
func torn(rng *rand.Rand, old, now []byte) []byte {
	const sector = 512
	size := max(len(old), len(now))
	old, now = padded(old, size), padded(now, size)
	keep := rng.IntN(5) // of 4: how many of the sectors are written
	for at := 0; at < size; at += sector {
		end := min(at+sector, size)
		if rng.IntN(4) >= keep {
			copy(now[at:end], old[at:end])
		} else if rng.IntN(20) == 0 { // it was written before it was full
			from := at + rng.IntN(end-at)
			copy(now[from:end], old[from:end])
		}
	}
	return now
}

func padded(b []byte, size int) []byte { return append(bytes.Clone(b), make([]byte, size-len(b))...) }

// TestPowerCuts writes commits that fill sectors, syncs now and then, and cuts the power: what is left are all commits up
// to one, and no synced one is missing.
func TestPowerCuts(t *testing.T) {
	f := newFixture(t)
	var lost, kept uint64
	last := uint64(0)
	for round := range 15 {
		e, err := f.Open()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		w := e.(*watched)
		synced := last
		for range f.rng.IntN(12) {
			commitUpTo(t, w.Engine, last+1+uint64(f.rng.IntN(9)))
			last = w.Commits()
			if f.rng.IntN(3) == 0 {
				if err := w.Sync(); err != nil {
					t.Fatal(err)
				}
				synced = last
			}
		}
		if f.rng.IntN(4) == 0 { // the next start writes the log out into a table
			if err := f.Crash(w); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := f.PowerCut(w); err != nil {
			t.Fatal(err)
		}
		found := committed(t, f.dir())
		if found < synced || found > last {
			t.Fatalf("round %d: %d commits found, %d synced, %d made", round, found, synced, last)
		}
		lost, kept = lost+last-found, kept+found-synced
		last = found
	}
	if lost == 0 || kept == 0 {
		t.Errorf("%d commits that were not synced were lost, %d kept: one kind was never seen", lost, kept)
	}
}
