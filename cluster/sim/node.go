package sim

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// node is a machine: a disk, and at times a process.
type node struct {
	w     *world
	index int
	name  string
	uuid  string
	id    ring.NodeID // 0 until admitted
	disk  *Disk
	gone  bool // its disk was emptied: it never comes back

	// The process.
	life     int // counts the processes; what was planned for an earlier one is void
	worker   *worker.Worker
	log      *raftlog.Log
	engine   storage.Engine // what the worker stands on
	memory   memory
	space    worker.Space
	fuse     fuse
	inbox    []func(*worker.Worker)
	turning  bool // a turn is planned
	paused   bool
	wakesAt  time.Duration // the last time that wakeAt was asked for
	period   time.Duration
	nextTick time.Duration
	waiting  int // requests that the worker has not answered
	leaders  map[ring.PartitionID]ring.NodeID
	side     *txnSide // nil where nobody does transactions
	busy     bool     // amid a turn
	unsynced []Point  // of commands that were proposed since the log was synced
	beside
}

func (w *world) addNode(name string, first bool) *node {
	n := &node{w: w, index: len(w.nodes), name: name, disk: newDisk(), fuse: fuse{left: -1}}
	n.uuid = fmt.Sprintf("uuid-%d", n.index)
	if first {
		n.id = 1
	}
	w.nodes = append(w.nodes, n)
	return n
}

func (n *node) admission() meta.Admission {
	addr := fmt.Sprintf("node-%d", n.index)
	a := meta.Admission{UUID: n.uuid, Name: n.name, HTTP: addr, Peer: addr, Gossip: addr, Weight: 1}
	if n.id != 0 {
		a.ClusterID = clusterID
	}
	return a
}

func (n *node) admitted() meta.Node {
	a := n.admission()
	return meta.Node{UUID: a.UUID, Name: a.Name, HTTP: a.HTTP, Peer: a.Peer, Gossip: a.Gossip, Weight: a.Weight}
}

// start begins a new process on the disk. That it cannot is a violation: nothing that happens here may damage a disk.
func (n *node) start() {
	if n.worker != nil || n.gone {
		return
	}
	n.life++
	n.inbox, n.turning, n.paused, n.waiting, n.unsynced = nil, false, false, 0, nil
	n.fuse, n.space = fuse{left: -1}, worker.Roomy // a node on a full disk does not start
	n.leaders = make(map[ring.PartitionID]ring.NodeID)
	n.period = tick*9/10 + n.w.between(0, tick/5)
	n.nextTick = n.w.now + n.w.between(0, n.period)
	n.beside = newBeside(n)
	n.w.note("start", uint64(n.index), uint64(n.life))
	if err := n.open(); err != nil {
		n.w.violate("node %s cannot start: %w", n.name, err)
		return
	}
	if n.w.cfg.TxnClients > 0 {
		n.side = newTxnSide(n)
	}
	if !n.w.cfg.Direct {
		n.arrive(n.takeSpace)
		n.relapse()
	}
	n.beat(n.life)
	n.lookAround(n.life)
	n.wake()
}

// relapse ends some processes soon after their start, amid what they have to repeat or to finish.
func (n *node) relapse() {
	if n.w.calm || !n.w.chance(0.1) {
		return
	}
	life := n.life
	n.w.after(n.w.between(0, 500*time.Millisecond), func() {
		if n.life == life && !n.w.calm {
			n.crash(n.w.chance(0.7))
			n.restartLater()
		}
	})
}

// resume goes on after a standstill.
func (n *node) resume() {
	n.paused, n.turning = false, false
	n.wake()
	n.thaw()
	if n.side != nil {
		n.side.resume()
	}
}

// arrive hands something to the worker with its next turn.
func (n *node) arrive(fn func(*worker.Worker)) {
	if n.worker == nil {
		return
	}
	n.inbox = append(n.inbox, fn)
	n.wake()
}

func (n *node) turn() {
	inbox := n.inbox
	n.inbox = nil
	installing := n.worker.Installing()
	err := n.work(inbox)
	if n.w.violation != nil {
		return
	}
	if errors.Is(err, errPowerLoss) {
		n.crash(true)
		return
	}
	begun := max(0, n.worker.Installing()-installing)
	n.w.stats.Installs += begun
	if err != nil {
		n.failed(err)
		return
	}
	if begun > 0 && n.fuse.left < 0 && !n.fuse.blown && !n.w.calm && n.w.chance(0.2) {
		n.fuse = fuse{left: n.w.rng.IntN(6), sync: true, keep: n.w.chance(0.5)} // an install is short: aim at it
	}
	if n.worker.Busy() {
		n.wake()
	} else if until, some := n.worker.Lingering(); some {
		n.wakeAt(until)
	}
}

func (n *node) work(inbox []func(*worker.Worker)) (err error) {
	broke := fmt.Errorf("node %s", n.name)
	n.busy = true
	defer func() {
		n.busy = false
		if err != nil && !n.fuse.blown && !errors.Is(err, errPowerLoss) {
			n.w.violate("%w: turn on a good disk: %w", broke, err)
		}
	}()
	defer recovered(&err)
	n.worker.Begin(n.clock())
	for _, fn := range inbox {
		fn(n.worker)
	}
	return n.worker.Turn(n.clock())
}

// receive stores a snapshot durably and hands it to the worker.
func (n *node) receive(p storage.PartitionID, body, data []byte) {
	if _, err := storage.VerifySnapshot(bytes.NewReader(data)); err != nil {
		n.w.violate("snapshot of partition %d for node %s: %w", p, n.name, err)
		return
	}
	_, m, err := wire.DecodeRaft(body)
	if err != nil {
		n.w.violate("decode snapshot message: %w", err)
		return
	}
	s := n.disk.addSpool(data)
	n.w.note("snapshot", uint64(n.index)<<32|uint64(p), m.GetSnapshot().GetMetadata().GetIndex())
	n.arrive(func(wk *worker.Worker) { wk.DeliverSnapshot(p, m, s) })
}
