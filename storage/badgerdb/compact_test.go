package badgerdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ringkv/ringkv/storage/badgerdb"
)

const compactKeys = 1000

// write sets or deletes every key but each tenth, or all.
func writeKeys(t *testing.T, e *badgerdb.Engine, value []byte, all bool) {
	t.Helper()
	for n := 0; n < compactKeys; {
		b := e.Batch()
		for range 100 {
			key := fmt.Appendf(nil, "key-%04d", n)
			var err error
			switch {
			case value != nil:
				err = b.Set(key, value)
			case all || n%10 != 0:
				err = b.Delete(key)
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func tableBytes(t *testing.T, e *badgerdb.Engine) int64 {
	t.Helper()
	s, err := e.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s.TableBytes
}

func compact(t *testing.T, e *badgerdb.Engine) {
	t.Helper()
	if err := errors.Join(e.Flush(), e.Compact()); err != nil {
		t.Fatal(err)
	}
}

// What was deleted gives its space back, though it had sunk to the lowest level and its deletions are still in memory.
// What is left reads as before, also after a kill and a start, and no trace of the engine's own doing shows.
func TestCompact(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "live")
	e := mustOpen(t, dir)
	value := bytes.Repeat([]byte("v"), 30<<10)
	writeKeys(t, e, value, true)
	compact(t, e)
	full := tableBytes(t, e)
	writeKeys(t, e, nil, false)
	if got := tableBytes(t, e); got < full {
		t.Fatalf("%d bytes in tables before the flush, %d with everything: nothing to show", got, full)
	}
	compact(t, e)
	if got := tableBytes(t, e); got > full/5 {
		t.Errorf("%d bytes in tables with a tenth of the keys, %d with all", got, full)
	}
	to := filepath.Join(t.TempDir(), "killed")
	if err := copyDir(dir, to); err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	for _, d := range []string{dir, to} {
		e := mustOpen(t, d)
		checkTenth(t, e, value)
		if err := e.Scrub(t.Context(), nil); err != nil {
			t.Error(err)
		}
		writeKeys(t, e, nil, true)
		compact(t, e)
		mustClose(t, e)
	}
}

func checkTenth(t *testing.T, e *badgerdb.Engine, value []byte) {
	t.Helper()
	v := e.View()
	defer v.Close()
	n := 0
	err := v.Scan([]byte{0, 0}, nil, false, func(key, got []byte) (bool, error) {
		if string(key) != fmt.Sprintf("key-%04d", n) || !bytes.Equal(got, value) {
			t.Errorf("found %.20q with %d bytes, want key-%04d", key, len(got), n)
		}
		n += 10
		return true, nil
	})
	if err != nil || n != compactKeys {
		t.Errorf("%d keys: %v", n/10, err)
	}
}
