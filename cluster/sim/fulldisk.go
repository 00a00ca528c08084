package sim

import (
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// fillDisk fills a node's disk more or less, for a while. Where it is full something may fail for it.
func (w *world) fillDisk() {
	n := w.anyNode()
	if n == nil || n.space != worker.Roomy {
		return
	}
	w.stats.Filled++
	n.space = worker.Low + worker.Space(w.rng.IntN(3))
	w.note("fill", uint64(n.index), uint64(n.space))
	if n.space == worker.Full && n.fuse.left < 0 && !n.fuse.blown && w.chance(0.3) {
		n.fuse = fuse{left: w.rng.IntN(60), keep: w.chance(0.5)}
	}
	w.tellSpace()
	life := n.life
	w.after(w.between(300*time.Millisecond, 5*time.Second), func() {
		if n.life == life && n.space != worker.Roomy {
			n.space = worker.Roomy
			w.tellSpace()
		}
	})
}

// tellSpace tells every node, after a while, how full its own disk and those of the others are by then.
func (w *world) tellSpace() {
	if w.cfg.Direct {
		return // disks are never full
	}
	for _, n := range w.up() {
		life := n.life
		w.after(w.between(0, 300*time.Millisecond), func() {
			if n.life == life {
				n.arrive(n.takeSpace)
			}
		})
	}
}

func (n *node) takeSpace(wk *worker.Worker) { wk.SetSpace(n.space, n.w.crowded()) }

// crowded are the nodes whose disks are nearly full.
func (w *world) crowded() (ids []ring.NodeID) {
	for _, n := range w.up() {
		if n.space > worker.Roomy {
			ids = append(ids, n.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// roomFor tells whether a node has room for what a request writes, as cluster's space.go does.
func (n *node) roomFor(r *request, op *worker.Op) bool {
	if op.Kind != worker.Write || r.group == storage.MetaPartition {
		return true
	}
	return n.space < worker.Tight || n.space < worker.Full && !storage.NeedsSpace(op.Data)
}
