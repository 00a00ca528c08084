package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// Disk is what a node's process leaves behind when it ends.
type Disk struct {
	FS     *memfs.FS // holds the raft log in LogDir
	Engine *memdb.Disk
	spools map[string][]byte
	next   int // number of the next spool
}

// LogDir is where the raft log is, and LogOptions how it is opened: small segments, so that they roll.
const LogDir = "log"

// LogOptions are the options of every log of a run. The ID only has to be the same each time.
func LogOptions() raftlog.Options { return raftlog.Options{SegmentBytes: 16 << 10, ID: 1} }

func newDisk() *Disk {
	return &Disk{FS: memfs.New(), Engine: memdb.NewDisk(), spools: make(map[string][]byte)}
}

// errDisk is what a broken disk says.
var errDisk = errors.New("disk broke")

// fuse breaks a disk after a number of operations, and keeps it broken.
type fuse struct {
	left  int  // operations that still succeed; -1: not set
	sync  bool // only syncs count
	blown bool
	keep  bool // a commit or an engine's sync that fails has happened all the same
}

// burn counts one operation and tells whether it fails.
func (f *fuse) burn(isSync bool) bool {
	if f.blown {
		return true
	}
	if f.left < 0 || f.sync && !isSync {
		return false
	}
	f.left--
	f.blown = f.left < 0
	return f.blown
}

func (n *node) fsFails(op memfs.Op, path string) error {
	switch op {
	case memfs.OpWrite, memfs.OpSync, memfs.OpSyncDir, memfs.OpCreate, memfs.OpTruncate:
		if n.fuse.burn(op == memfs.OpSync) {
			return fmt.Errorf("%s %s: %w", op, path, errDisk)
		}
	}
	return nil
}

func (n *node) commitFails(uint64) memdb.Fault {
	fault := n.engineFails(false)
	if fault != memdb.FaultLost {
		n.noteWritten()
	}
	return fault
}

func (n *node) syncFails() memdb.Fault { return n.engineFails(true) }

func (n *node) engineFails(isSync bool) memdb.Fault {
	switch {
	case !n.fuse.burn(isSync):
		return memdb.FaultNone
	case n.fuse.keep:
		return memdb.FaultKept
	}
	return memdb.FaultLost
}

// spool is a received snapshot on a node's disk.
type spool struct {
	disk *Disk
	name string
}

var _ worker.Spool = spool{}

// Name is as worker.Spool says.
func (s spool) Name() string { return s.name }

// Open is as worker.Spool says.
func (s spool) Open() (io.ReadCloser, error) {
	b, ok := s.disk.spools[s.name]
	if !ok {
		return nil, fmt.Errorf("no spool %s", s.name)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Remove is as worker.Spool says.
func (s spool) Remove() { delete(s.disk.spools, s.name) }

func (d *Disk) openSpool(name string) (worker.Spool, error) {
	if _, ok := d.spools[name]; !ok {
		return nil, fmt.Errorf("no spool %s", name)
	}
	return spool{d, name}, nil
}

func (d *Disk) addSpool(data []byte) spool {
	d.next++
	s := spool{d, fmt.Sprintf("%d.snap", d.next)}
	d.spools[s.name] = data
	return s
}
