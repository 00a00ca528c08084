package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/cluster/watch"
)

// TestWatchWhileChangesCannotBeKept gives the change log of a node a disk of its own, which is full: writes and reads go on,
// whoever watches is told that changes are missing, and a cursor from before them is too old. With space again all is well.
func TestWatchWhileChangesCannotBeKept(t *testing.T) {
	c := config(t, "n1")
	dir := filepath.Join(c.DataDir, "changes")
	first, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	ready(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	err = syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
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
	n := start(t, c)
	ready(t, n)
	put(t, n, "k", "before")
	live, err := n.Watch(t.Context(), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	before := live.Cursor()

	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	for i := range 100 { // more than what is left of a page
		put(t, n, "k", fmt.Sprint(i, strings.Repeat(".", 1000)))
	}
	if it, err := n.Get(t.Context(), []byte("k"), false); err != nil || !strings.HasPrefix(string(it.Value), "99.") {
		t.Errorf("get: %q, %v", it.Value, err)
	}
	for err = nil; err == nil; { // what it was told before is in order
		_, err = live.Next(t.Context(), 20*time.Second)
	}
	if !errors.Is(err, watch.ErrLagged) {
		t.Errorf("who watches: %v, want ErrLagged", err)
	}
	for name, cursor := range map[string]string{"before": before, "where it lagged": live.Cursor()} {
		if _, err := n.Watch(t.Context(), nil, cursor); !errors.Is(err, watch.ErrTooOld) {
			t.Errorf("cursor %s: %v, want ErrTooOld", name, err)
		}
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	again, err := n.Watch(t.Context(), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	put(t, n, "k", "after")
	if got := until(t, again, 1); got[0] != "put k=after" {
		t.Errorf("with space again: %q", got)
	}
}
