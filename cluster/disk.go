package cluster

import (
	"fmt"
	"sync/atomic"
	"syscall"
)

// disk watches the free space under the data directory. The engine maps its files, and a write to a mapped file on a
// full disk kills the process: there must never be so little space.
type disk struct {
	dir  string
	min  int64
	free atomic.Int64
}

func watchDisk(dir string, least int64) (*disk, error) {
	d := &disk{dir: dir, min: least}
	return d, d.look()
}

// look measures again.
func (d *disk) look() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		return fmt.Errorf("measure free space of %s: %w", d.dir, err)
	}
	d.free.Store(int64(st.Bavail) * st.Bsize)
	return nil
}

// full reports whether writes are to be refused.
func (d *disk) full() bool { return d.free.Load() < d.min }

// critical reports whether it is too dangerous to go on.
func (d *disk) critical() bool { return d.free.Load() < d.min/4 }
