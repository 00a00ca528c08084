package changelog_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/changelog"
)

// smallDisk mounts a file system of so many bytes. It takes root's privileges: where they are missing the test is skipped,
// but never in CI, which is to have them.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("mount a tmpfs: %v: a full disk cannot be tested here, and in CI it must be: run as root with CAP_SYS_ADMIN", err)
	case err != nil:
		t.Skipf("NOT TESTED: a full disk: mount a tmpfs: %v: run as root with CAP_SYS_ADMIN", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fillUp writes a file until the disk is full.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestFullDisk: while there is no space, writers go on, what cannot be kept is gone and never skipped, and what is kept
// stays; afterwards all is as before.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "256k")
	ballast := filepath.Join(dir, "ballast")
	n := newNode(t, filepath.Join(dir, "log"), changelog.Options{MaxBytes: 128 << 10, SegmentBytes: 8 << 10}, 1, 2)
	write := func(id storage.PartitionID, batches int) {
		t.Helper()
		for range batches {
			n.log.Write([]storage.Changes{n.apply(id, 3)})
			n.log.Publish()
			through, applied := n.log.Through(id), n.parts[id].p.Meta().Applied
			if through != applied {
				t.Fatalf("partition %d: through %d, applied %d", id, through, applied)
			}
			n.check(id, through-min(through, 20), 1<<20) // right, or gone
		}
	}
	write(2, 10)
	write(1, 10)
	for round := range 3 {
		fillUp(t, ballast)
		full := n.log.Through(1)
		write(1, 300)
		if !n.check(1, full, 1<<20) {
			t.Fatal("everything could be written: the disk was not full")
		}
		if n.check(2, 0, 1<<20) {
			t.Error("the history of a partition that nothing happened in is gone")
		}
		if round == 1 {
			must(t, n.log.Close())
			n.open()
		}
		must(t, os.Remove(ballast))
		free := n.log.Through(1)
		write(1, 20)
		if n.check(1, free, 1<<20) {
			t.Error("with space again, changes are not kept")
		}
		must(t, n.log.Close())
		n.open()
		if n.check(1, free, 1<<20) || n.check(2, 0, 1<<20) {
			t.Error("gone with a restart")
		}
	}
	must(t, n.log.Close())
}
