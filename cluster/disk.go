package cluster

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

// disk watches the free space under the data directory. The engine maps its files, and a write to a mapped file on a
// full disk kills the process: there must never be so little space.
type disk struct {
	dir     string
	least   int64 // bytes that should stay free: Config.MinFreeBytes
	measure func(dir string) (int64, error)
	free    atomic.Int64
	room    atomic.Uint32 // a worker.Space
}

func watchDisk(c *Config) (*disk, error) {
	d := &disk{dir: c.DataDir, least: c.MinFreeBytes, measure: c.freeBytes}
	return d, d.look()
}

// freeBytes are those that a file system leaves to its ordinary users.
func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("measure free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// look measures again.
func (d *disk) look() error {
	free, err := d.measure(d.dir)
	if err != nil {
		return err
	}
	d.free.Store(free)
	d.room.Store(uint32(d.judge(free)))
	return nil
}

// bound is the number of free bytes below which a disk is at least so full. What writes on its way may still take lies
// between one bound and the next.
func (d *disk) bound(s worker.Space) int64 {
	switch s {
	case worker.Low:
		return d.least
	case worker.Tight:
		return d.least / 2
	case worker.Full:
		return d.least / 4
	}
	return 0
}

// judge says how full the disk is. It goes back only when an eighth of the reserve is free beyond the bound: who takes
// writes again at once is full again at once.
func (d *disk) judge(free int64) worker.Space {
	was := d.space()
	for s := worker.Full; s > worker.Roomy; s-- {
		bound := d.bound(s)
		if s <= was {
			bound += d.least / 8
		}
		if free < bound {
			return s
		}
	}
	return worker.Roomy
}

// space is how full the disk was at the last look.
func (d *disk) space() worker.Space { return worker.Space(d.room.Load()) }

// engineNeeds is what the engine writes at once when it opens or closes, in bytes: two memory tables.
const engineNeeds = 128 << 20

// cramped reports whether the engine has too little space to open or close.
func (d *disk) cramped() bool {
	return d.space() == worker.Full || d.free.Load() < engineNeeds
}

// startable returns why the node must not open its storage, nil if there is room for it: the engine writes its memory
// into files first thing.
func (d *disk) startable() error {
	if !d.cramped() {
		return nil
	}
	return fmt.Errorf("%w: the disk of %s has %d MiB free, a node needs %d MiB to start: free some space there, then start it again; nothing is lost",
		ErrDiskFull, d.dir, d.free.Load()>>20, max(d.bound(worker.Full), engineNeeds)>>20)
}

// explainFull adds what to do to an error that comes from a full disk.
func explainFull(err error, dir string) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return fmt.Errorf("%w: free some space under %s, then start the node again; nothing that was acknowledged is lost: %w", ErrDiskFull, dir, err)
}

// closeEngine closes the engine, unless the disk failed or is full: closing writes what is in memory into mapped files,
// and that kills the process where there is no space. The next start finds the same in the engine's log.
func (n *Node) closeEngine() error {
	if n.engine == nil {
		return nil
	}
	broken := n.loop.failed() || errors.Is(n.Err(), storage.ErrFailed)
	if err := n.disk.look(); err == nil && !n.disk.cramped() && !broken {
		return n.engine.Close()
	}
	n.logger.Warn("left the engine as it is: the disk has no room or failed")
	return nil
}
