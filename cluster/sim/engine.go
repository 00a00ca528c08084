package sim

import (
	"math"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/writeback"
)

// memory is what a process's engine keeps before its disk has it, in numbers of commits since the process began.
type memory struct {
	engine  *writeback.Engine
	flights int // begun
	commits int // of the worker
	below   int // of them, as of when the last flight was begun
	written int // of them, in the disk's engine
}

// openEngine opens a node's engine as the node does: memory, which is written behind, before the disk.
func (n *node) openEngine() error {
	disk, err := n.disk.Engine.Open(memdb.Options{OnCommit: n.commitFails, OnSync: n.syncFails})
	if err != nil {
		return err
	}
	n.memory = memory{}
	n.engine = disk
	sabotage := &n.w.cfg.Sabotage
	if sabotage.Below != nil {
		n.engine = sabotage.Below(n.engine)
	}
	if !n.w.cfg.Direct {
		n.memory.engine = writeback.NewStepped(n.engine, n.w.layerBytes, n.flightBegun)
		n.engine = n.memory.engine
	}
	if sabotage.Engine != nil {
		n.engine = sabotage.Engine(n.engine)
	}
	n.engine = n.probed(n.engine)
	return nil
}

// drawLayerBytes is how large layers become in a life: as in a node, which writes them down for a sync only, or so small
// that they are also written down between syncs, and commits wait for that.
func (w *world) drawLayerBytes() int {
	if w.cfg.Direct || w.chance(0.3) {
		return math.MaxInt
	}
	return 2 << 10 << w.rng.IntN(5)
}

func (n *node) flightBegun() {
	n.memory.flights++
	n.memory.below = n.memory.commits
	n.w.stats.Flights++
	n.w.note("flight", uint64(n.index), uint64(n.memory.flights))
	n.carry()
}

// carry plans the next step of what the engine is writing down, which a goroutine of its own would take: beside the turns,
// but not while the process stands still. Whoever waits for the flight has taken the step before its time.
func (n *node) carry() {
	life, flight := n.life, n.memory.flights
	n.w.after(n.w.diskTime(), func() {
		switch {
		case n.life != life || n.memory.flights != flight:
		case n.paused || n.memory.engine.Step():
			n.carry()
		}
	})
}

// diskTime is how long a batch or a sync of the engine takes: now and then longer than worker and log need for a lot.
func (w *world) diskTime() time.Duration {
	if w.chance(0.2) {
		return w.between(0, 2*time.Second)
	}
	return w.between(0, 30*time.Millisecond)
}

// noteWritten takes note that a flight's batch is in the disk's engine.
func (n *node) noteWritten() { n.memory.written = n.memory.below }

// loseMemory counts what ends with the process.
func (n *node) loseMemory() {
	m := &n.memory
	if m.engine == nil {
		return
	}
	n.w.stats.Unwritten += m.commits - m.written
	if m.below > m.written {
		n.w.stats.Grounded++
	}
	n.w.note("lost", uint64(n.index), uint64(m.commits-m.written))
	n.memory = memory{}
}

// syncer is an engine that can sync beside its writer, as the worker wants to know.
type syncer interface {
	StartSync() func() (bool, error)
}

// probed tells of every commit of the worker. It can sync beside its writer if e can.
func (n *node) probed(e storage.Engine) storage.Engine {
	p := probedEngine{e, n}
	if s, ok := e.(syncer); ok {
		return struct {
			probedEngine
			syncer
		}{p, s}
	}
	return p
}

type probedEngine struct {
	storage.Engine
	n *node
}

// Batch is as storage.Engine says.
func (e probedEngine) Batch() storage.Batch { return probedBatch{e.Engine.Batch(), e.n} }

type probedBatch struct {
	storage.Batch
	n *node
}

// Commit is as storage.Batch says.
func (b probedBatch) Commit() error {
	b.n.w.probe(b.n, Point{}) // what it is about shows later, see applied
	b.n.memory.commits++
	return b.Batch.Commit()
}
