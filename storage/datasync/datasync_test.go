package datasync_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ringkv/ringkv/storage/datasync"
)

func TestSync(t *testing.T) {
	for name, procs := range map[string]int{"one processor": 1, "several": 2} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			path := filepath.Join(t.TempDir(), "f")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			var s datasync.Syncer
			for range 20 {
				if _, err := f.WriteString("x"); err != nil {
					t.Fatal(err)
				}
				if err := s.Sync(f); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(f); err == nil {
				t.Error("a closed file was synced")
			}
		})
	}
}

// BenchmarkSync appends 4 KiB and syncs, as a log does.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var s datasync.Syncer
	page := make([]byte, 4096)
	for b.Loop() {
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := s.Sync(f); err != nil {
			b.Fatal(err)
		}
	}
}
