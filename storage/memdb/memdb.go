// Package memdb is a storage.Engine in memory, for tests and for the simulator. It is deterministic, has no goroutine,
// and forgets like a disk: a power cut takes commits that were not synced, the newest first.
package memdb

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/google/btree"

	"github.com/ringkv/ringkv/storage"
)

// DefaultMaxBatchBytes fits the largest command, as badgerdb does.
const DefaultMaxBatchBytes = 9 << 20

// Fault is what becomes of one commit or sync.
type Fault uint8

// The faults. After any but FaultNone Commit or Sync returns storage.ErrFailed and so does everything else on the engine,
// but for reads of views that are open, until the disk is crashed or killed and opened again.
const (
	FaultNone Fault = iota
	FaultLost       // the commit, or the sync, did not happen
	FaultKept       // it did although it failed: the outcome that the caller cannot know
)

// Options configures an Engine; the zero value is valid.
type Options struct {
	// MaxBatchBytes is the largest batch; 0 means DefaultMaxBatchBytes.
	MaxBatchBytes int
	// OnCommit, if set, is asked at each commit of the disk, numbered from 1 over all engines opened on it. It must not
	// use the engine.
	OnCommit func(n uint64) Fault
	// OnSync, if set, is asked at each sync of the engine that has something to do. It must not use the engine.
	OnSync func() Fault
}

// ErrOpen is returned when a disk is opened while an engine on it is open.
var ErrOpen = errors.New("memdb: disk is in use")

type pair struct{ key, value []byte }

type tree = btree.BTreeG[pair]

func less(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }

// Disk is what survives an engine.
type Disk struct {
	mu      sync.Mutex // guards all below
	tree    *tree
	lazy    []*tree // the states before each commit that is not synced, oldest first
	commits uint64
	engine  *Engine // the one that is open
}

// maxLazy bounds how many commits a power cut can take, and with it the memory for old states. A disk may always write
// more than it was asked to.
const maxLazy = 256

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	return &Disk{tree: btree.NewG(32, less)}
}

// Open opens the disk; what is on it is durable from then on. ErrOpen while another engine has it.
func (d *Disk) Open(o Options) (*Engine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine != nil {
		return nil, ErrOpen
	}
	if o.MaxBatchBytes == 0 {
		o.MaxBatchBytes = DefaultMaxBatchBytes
	}
	d.lazy = nil
	d.engine = &Engine{disk: d, opts: o}
	return d.engine, nil
}

// Kill takes the disk from the engine that has it, as the end of its process does: its views and its batch are of no use
// any more. Everything that was committed is there.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release()
}

// Crash is a power cut. It takes the disk from the engine and loses some of the commits that were not synced, the newest
// first; how many is drawn from rng and returned.
func (d *Disk) Crash(rng *rand.Rand) (lost int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release()
	n := len(d.lazy)
	kept := rng.IntN(n + 1)
	if kept < n {
		d.tree = d.lazy[kept]
	}
	d.lazy = nil
	return n - kept
}

func (d *Disk) release() {
	if d.engine != nil {
		d.engine.err = storage.ErrClosed
		d.engine = nil
	}
}

// replace makes t the state, of which nothing is durable yet.
func (d *Disk) replace(t *tree) {
	if len(d.lazy) == maxLazy {
		d.lazy = append(d.lazy[:0], d.lazy[1:]...)
	}
	d.lazy = append(d.lazy, d.tree)
	d.tree = t
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
	return &View{engine: e, tree: e.disk.tree.Clone(), failed: e.err}
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

// Sync is as storage.Engine says.
func (e *Engine) Sync() error {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.err != nil || len(e.disk.lazy) == 0 {
		return e.err
	}
	fault := FaultNone
	if e.opts.OnSync != nil {
		fault = e.opts.OnSync()
	}
	if fault != FaultLost {
		e.disk.lazy = nil
	}
	if fault != FaultNone {
		e.err = storage.ErrFailed
	}
	return e.err
}

// Close gives the disk back. What was committed stays on it.
func (e *Engine) Close() error {
	e.disk.mu.Lock()
	defer e.disk.mu.Unlock()
	if e.disk.engine == e {
		e.disk.engine = nil
		if e.err == nil {
			e.disk.lazy = nil
		}
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
		e.disk.replace(t)
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
