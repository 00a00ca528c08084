// Package memdb is a storage.Engine in memory, for tests and for the simulator. It is deterministic, has no goroutine,
// and keeps nothing that Commit did not report as durable, unless a fault says otherwise.
package memdb

import (
	"bytes"
	"errors"
	"sync"

	"github.com/google/btree"

	"github.com/ringkv/ringkv/storage"
)

// DefaultMaxBatchBytes fits the largest command, as badgerdb does.
const DefaultMaxBatchBytes = 9 << 20

// Fault is what becomes of one commit.
type Fault uint8

// The faults. After any but FaultNone Commit returns storage.ErrFailed and so does everything else on the engine, until
// the disk is crashed and opened again.
const (
	FaultNone Fault = iota
	FaultLost       // the batch is gone
	FaultKept       // the batch is durable although Commit failed: the outcome that the caller cannot know
)

// Options configures an Engine; the zero value is valid.
type Options struct {
	// MaxBatchBytes is the largest batch; 0 means DefaultMaxBatchBytes.
	MaxBatchBytes int
	// OnCommit, if set, is asked at each commit of the disk, numbered from 1 over all engines opened on it. It must not
	// use the engine.
	OnCommit func(n uint64) Fault
}

// ErrOpen is returned when a disk is opened while an engine on it is open.
var ErrOpen = errors.New("memdb: disk is in use")

type pair struct{ key, value []byte }

type tree = btree.BTreeG[pair]

func less(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }

// Disk is what survives an engine: the batches whose commit was durable.
type Disk struct {
	mu      sync.Mutex // guards all below
	tree    *tree
	commits uint64
	engine  *Engine // the one that is open
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{tree: btree.NewG(32, less)}
}

// Open opens the disk. ErrOpen while another engine has it.
func (d *Disk) Open(o Options) (*Engine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine != nil {
		return nil, ErrOpen
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = DefaultMaxBatchBytes
	}
	d.engine = &Engine{disk: d, opts: o}
	return d.engine, nil
}

// Crash takes the disk from the engine that has it, as a kill does: its views and its batch are of no use any more,
// and what was not committed is lost.
func (d *Disk) Crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine != nil {
		d.engine.err = storage.ErrClosed
		d.engine = nil
	}
}

// New opens a disk of its own, with default options.
func New() *Engine {
	d := NewDisk()
	e := &Engine{disk: d, opts: Options{MaxBatchBytes: DefaultMaxBatchBytes}}
	d.engine = e
	return e
}

// Engine is an open disk.
type Engine struct {
	disk *Disk
	opts Options
	err  error  // guarded by disk.mu: why it can no longer be used
	open *Batch // guarded by disk.mu
}

var _ storage.Engine = (*Engine)(nil)

// MaxBatchBytes is as storage.Engine says.
func (e *Engine) MaxBatchBytes() int { return e.opts.MaxBatchBytes }

// DiskBytes is 0: nothing is on disk.
func (e *Engine) DiskBytes() int64 { return 0 }

// View is as storage.Engine says.
func (e *Engine) View() storage.View {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	return &View{engine: e, tree: e.disk.tree.Clone()}
}

// Batch is as storage.Engine says. It panics where another batch is open: the caller's invariant is broken.
func (e *Engine) Batch() storage.Batch {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.open != nil {
		panic("memdb: two batches at a time")
	}
	e.open = &Batch{engine: e, tree: e.disk.tree.Clone()}
	return e.open
}

// Close gives the disk back. What was committed stays on it.
func (e *Engine) Close() error {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.disk.engine == e {
		e.disk.engine = nil
	}
	e.err = storage.ErrClosed
	return nil
}

func (e *Engine) usable() error {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	return e.err
}

// commit makes t the disk's state, or does what a fault says.
func (e *Engine) commit(t *tree) error {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	e.open = nil
	if e.err != nil {
		return e.err
	}
	e.disk.commits++
	fault := FaultNone
	if e.opts.OnCommit != nil {
		fault = e.opts.OnCommit(e.disk.commits)
	}
	if fault != FaultLost {
		e.disk.tree = t
	}
	if fault != FaultNone {
		e.err = storage.ErrFailed
	}
	return e.err
}

func (e *Engine) discard() {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	e.open = nil
}
