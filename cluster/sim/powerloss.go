package sim

import (
	"errors"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// powerLoss is what a worker's turn panics with when its node loses power amid it: whatever is under way ends there.
type powerLoss struct{}

// errPowerLoss is what a turn that ended so returns.
var errPowerLoss = errors.New("the power failed")

// probeRequest tells of a point that is about a request; only commands of transactions have any.
func (n *node) probeRequest(r *request, s Step, after bool) {
	if n.w.onProbe == nil || r.ask != askTxn {
		return
	}
	p, ok := pointOf(r)
	if !ok {
		return
	}
	p.Step, p.After = s, after
	n.w.probe(n, p)
}

func pointOf(r *request) (Point, bool) {
	h, err := storage.CommandKeys(r.data, nil)
	return Point{Actor: Leader, Kind: h.Kind, Group: r.group}, err == nil && h.Attempt > 0
}

// proposed notes a command that the next sync of the log is to bring to the disk.
func (n *node) proposed(r *request) {
	if n.w.onProbe == nil || r.ask != askTxn {
		return
	}
	if p, ok := pointOf(r); ok {
		n.unsynced = append(n.unsynced, p)
	}
}

// probeSync tells of the points before or after a sync of the log.
func (n *node) probeSync(after bool) {
	points := n.unsynced
	if after {
		n.unsynced = nil
	}
	for _, p := range points {
		p.Step, p.After = StepSync, after
		n.w.probe(n, p)
	}
}

// applied tells what the engine's last commit was about: the worker gives a result right after it.
func (n *node) applied(r *request) {
	if n.w.onApplied == nil || r.ask != askTxn {
		return
	}
	if p, ok := pointOf(r); ok {
		p.Step = StepApply
		n.w.onApplied(n, p)
	}
}

// probedFS tells of every sync of a node's log.
type probedFS struct {
	raftlog.FS
	n *node
}

// Create is as raftlog.FS says.
func (fs probedFS) Create(path string) (raftlog.File, error) { return fs.file(fs.FS.Create(path)) }

// Open is as raftlog.FS says.
func (fs probedFS) Open(path string) (raftlog.File, error) { return fs.file(fs.FS.Open(path)) }

func (fs probedFS) file(f raftlog.File, err error) (raftlog.File, error) {
	if err != nil {
		return nil, err
	}
	return probedFile{f, fs.n}, nil
}

type probedFile struct {
	raftlog.File
	n *node
}

// Sync is as raftlog.File says.
func (f probedFile) Sync() error {
	f.n.probeSync(false)
	err := f.File.Sync()
	if err == nil {
		f.n.probeSync(true)
	}
	return err
}
