package sim

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// The pace of a node. Its tick is a little faster or slower than the others'.
const (
	tick           = 50 * time.Millisecond
	electionTicks  = 8
	heartbeatTicks = 2
	linger         = 5 * time.Millisecond
	keepEntries    = 12  // so few that a member which was away needs a snapshot
	maxInbox       = 500 // while a node stands still
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
	engine   storage.Engine
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

// form makes this node a cluster of one and starts it.
func (n *node) form(s *meta.State) error {
	l, err := raftlog.Open(n.disk.FS, LogDir, LogOptions())
	if err != nil {
		return err
	}
	e, err := n.disk.Engine.Open(memdb.Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(worker.Form(l, e, s), e.Close(), l.Close()); err != nil {
		return err
	}
	n.start()
	return nil
}

// start begins a new process on the disk. That it cannot is a violation: nothing that happens here may damage a disk.
func (n *node) start() {
	if n.worker != nil || n.gone {
		return
	}
	n.life++
	n.inbox, n.turning, n.paused, n.waiting, n.unsynced = nil, false, false, 0, nil
	n.fuse = fuse{left: -1}
	n.leaders = make(map[ring.PartitionID]ring.NodeID)
	n.period = tick*9/10 + n.w.between(0, tick/5)
	n.nextTick = n.w.now + n.w.between(0, n.period)
	n.w.note("start", uint64(n.index), uint64(n.life))
	if err := n.open(); err != nil {
		n.w.violate("node %s cannot start: %w", n.name, err)
		return
	}
	if n.w.cfg.TxnClients > 0 {
		n.side = newTxnSide(n)
	}
	n.beat(n.life)
	n.lookAround(n.life)
	n.wake()
}

// resume goes on after a standstill.
func (n *node) resume() {
	n.paused, n.turning = false, false
	n.wake()
	if n.side != nil {
		n.side.resume()
	}
}

func (n *node) open() (err error) {
	defer recovered(&err)
	w := n.w
	if damage := w.cfg.Sabotage.Restart; damage != nil {
		if err := damage(n.disk); err != nil {
			return err
		}
	}
	n.disk.FS.Fail = n.fsFails
	engine, err := n.disk.Engine.Open(memdb.Options{OnCommit: n.commitFails, OnSync: n.syncFails})
	if err != nil {
		return err
	}
	n.engine = engine
	if wrap := w.cfg.Sabotage.Engine; wrap != nil {
		n.engine = wrap(n.engine)
	}
	if err := n.openLog(); err != nil {
		return err
	}
	wk, err := worker.Open(worker.Config{
		Node: n.id, Log: n.log, Engine: n.engine, Outbox: &outbox{n: n, life: n.life},
		OpenSpool: n.disk.openSpool, OnLead: n.onLead, OnStuck: n.onStuck, Logger: w.logger(n),
		ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks, KeepEntries: keepEntries, Linger: n.linger(),
	}, n.clock())
	n.worker = wk
	return err
}

// linger is how long what nobody waits for lingers: not at all where the clock that would end it is sabotaged, which is to
// be found out by what it does to locks.
func (n *node) linger() time.Duration {
	if n.w.cfg.Sabotage.Clock != nil {
		return 0
	}
	return linger
}

// clock is the machine's monotonic clock.
func (n *node) clock() time.Duration {
	if bad := n.w.cfg.Sabotage.Clock; bad != nil {
		return bad(n.index, n.w.now)
	}
	return n.w.now
}

// openLog opens the log as a node does. Where the log is sabotaged its own check would convict at once, and say nothing of
// the judge.
func (n *node) openLog() (err error) {
	var fs raftlog.FS = probedFS{n.disk.FS, n}
	opts := LogOptions()
	sabotage := &n.w.cfg.Sabotage
	if sabotage.FS != nil {
		fs = sabotage.FS(fs)
	} else if sabotage.Restart == nil {
		v := n.engine.View()
		defer v.Close()
		if opts.MinRecord, err = storage.LogMark(v); err != nil {
			return err
		}
	}
	n.log, err = raftlog.Open(fs, LogDir, opts)
	return err
}

// recovered turns a panic, of raft's mostly, into an error: an invariant broke.
func recovered(err *error) {
	r := recover()
	if _, off := r.(powerLoss); off {
		*err = errPowerLoss
		return
	}
	if r != nil {
		*err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
	}
}

func (n *node) onLead(p ring.PartitionID, leader replica.ID, term uint64) {
	n.leaders[p] = leader.Node()
	if leader.Node() == n.id {
		n.w.stats.Leaders++
		n.w.note("leads", uint64(n.index)<<32|uint64(p), term)
		n.announce(p)
		if n.w.cfg.Sabotage.ForgetLines {
			n.forgetLine(p)
		}
	}
}

// announce tells the others that this node leads a group; what arrives late is a wrong hint, which must do no harm.
func (n *node) announce(p ring.PartitionID) {
	for _, o := range n.w.up() {
		if d, ok := n.w.net.pass(n, o); ok && o != n {
			n.w.after(d, func() {
				if o.worker != nil {
					o.leaders[p] = n.id
				}
			})
		}
	}
}

// beat wakes the node once a tick for as long as this process lives.
func (n *node) beat(life int) {
	n.w.after(max(0, n.nextTick-n.w.now), func() {
		if n.life != life || n.worker == nil {
			return
		}
		n.nextTick = n.w.now + n.period
		n.inbox = append(n.inbox, func(wk *worker.Worker) { wk.Tick(n.clock()) })
		n.wake()
		n.beat(life)
	})
}

// arrive hands something to the worker with its next turn.
func (n *node) arrive(fn func(*worker.Worker)) {
	if n.worker == nil {
		return
	}
	n.inbox = append(n.inbox, fn)
	n.wake()
}

func (n *node) wake() {
	if n.turning || n.paused {
		return
	}
	n.turning = true
	life := n.life
	n.w.after(n.w.between(0, 2*time.Millisecond), func() {
		if n.life != life || n.worker == nil {
			return
		}
		n.turning = false
		if !n.paused {
			n.turn()
		}
	})
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
	if begun > 0 && n.fuse.left < 0 && !n.w.calm && n.w.chance(0.2) {
		n.fuse = fuse{left: n.w.rng.IntN(6), sync: true, keep: n.w.chance(0.5)} // an install is short: aim at it
	}
	if n.worker.Busy() {
		n.wake()
	} else if until, some := n.worker.Lingering(); some {
		n.wakeAt(until)
	}
}

// wakeAt has the worker take a turn later, for what it lets linger; several at one time are one.
func (n *node) wakeAt(at time.Duration) {
	if n.wakesAt == at {
		return
	}
	n.wakesAt = at
	life := n.life
	n.w.after(max(0, at-n.clock()), func() {
		if n.life == life && n.worker != nil {
			n.wake()
		}
	})
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

// failed ends a process whose worker gave up: as the node does, it answers everybody who waits.
func (n *node) failed(error) {
	n.w.stats.DiskFails++
	n.w.stats.Torn += n.worker.Installing()
	n.close()
	n.release(n.w.chance(0.5))
	n.restartLater()
}

// close ends the process in order, but for its disk.
func (n *node) close() {
	n.w.note("close", uint64(n.index), uint64(n.life))
	wk := n.worker
	n.ended()
	wk.Close()
	if n.waiting != 0 {
		n.w.violate("node %s: %d requests were never answered", n.name, n.waiting)
	}
}

// release takes the disk from a process; with power, what is not synced may be lost.
func (n *node) release(power bool) {
	if !power {
		n.disk.Engine.Kill()
		n.disk.FS.Kill()
		return
	}
	n.w.stats.Forgotten += n.disk.Engine.Crash(n.w.rng)
	n.disk.FS.Crash(n.w.rng)
}

// ended makes everything void that the process has planned.
func (n *node) ended() {
	n.worker = nil
	n.life++
	if n.side != nil {
		n.side.die()
	}
}

// stop is an orderly end.
func (n *node) stop() {
	n.close()
	if err := errors.Join(n.engine.Close(), n.log.Close()); err != nil && !n.fuse.blown {
		n.w.violate("node %s: close disk: %w", n.name, err)
	}
	n.release(false)
}

// crash ends the process at once: with power, what is not synced is lost as well. Nobody is answered.
func (n *node) crash(power bool) {
	if n.worker == nil {
		return
	}
	n.w.note("crash", uint64(n.index), uint64(n.life))
	n.w.stats.Torn += n.worker.Installing()
	n.ended()
	n.release(power)
	if power {
		n.w.stats.Powercuts++
	} else {
		n.w.stats.Kills++
	}
}

func (n *node) restartLater() {
	n.w.after(n.w.between(10*time.Millisecond, 3*time.Second), n.start)
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
