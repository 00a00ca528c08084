// Package worker owns all replicas of one node and makes their effects happen: a turn takes in what arrived, steps
// the groups, writes one log record with one fsync for all of them, sends, and applies what is committed in one engine
// batch. It does its disk work through the log and the engine that it is given and sends through an Outbox; it has no
// clock and no goroutine of its own, so a whole cluster of workers runs in one test under one seed.
//
// It guarantees the order that raft asks for: nothing that promises durability leaves before the fsync, nothing is
// applied before it is on this node's disk, and nobody hears of a result before it is applied here and durable in the logs
// of a majority.
package worker

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker/waitline"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// Outbox is where what a worker wants sent goes. It must not block; it may lose anything.
type Outbox interface {
	// Send queues a message to a node; Flush starts what is queued on its way.
	Send(to ring.NodeID, group ring.PartitionID, m *raftpb.Message)
	Flush()
	// SendSnapshot streams a replica's state. It takes s.View over and must report the end by SnapshotSent.
	SendSnapshot(s Snapshot)
}

// Snapshot is a replica's state on its way to another node.
type Snapshot struct {
	Group   ring.PartitionID
	Message *raftpb.Message
	View    storage.View
}

// Spool is a received snapshot, complete, verified and durable.
type Spool interface {
	Name() string
	Open() (io.ReadCloser, error)
	Remove()
}

// ChangeLog keeps what entries changed. It has no say in whether they are applied.
type ChangeLog interface {
	// Settle tells at which index the state of a replica is when it begins to be applied to; 0 while it is being filled.
	Settle(p storage.PartitionID, applied uint64)
	// Forget tells that a replica is gone.
	Forget(p storage.PartitionID)
	// Write takes changes before the batch that they are made in is committed; Publish tells that it is.
	Write(changes []storage.Changes)
	Publish()
}

// Config is what a Worker is made of.
type Config struct {
	Node   ring.NodeID
	Log    *raftlog.Log
	Engine storage.Engine
	Outbox Outbox
	// OpenSpool finds a spool again after a restart.
	OpenSpool func(name string) (Spool, error)
	// OnState is told the cluster's description at the start and whenever it changed. Optional.
	OnState func(*meta.State)
	// OnLead is told when a group's leader or term, as known here, changed. Optional.
	OnLead func(p ring.PartitionID, leader replica.ID, term uint64)
	// Board is told where this node's replicas stand. Optional, but nothing can be read without it.
	Board Board
	// Changes gets what entries change, for watchers. Optional.
	Changes ChangeLog
	// OnStuck is told of a transaction that has been in doubt for too long in a group that this node leads: again and
	// again, until it no longer is. Optional; must not block.
	OnStuck func(p ring.PartitionID, t storage.OpenTxn)
	// OnApply is told how long each engine batch took, a sync included if it needs one. Optional.
	OnApply func(d time.Duration)
	// Logger gets what operators should know. Default: nothing.
	Logger *slog.Logger
	// ElectionTicks and HeartbeatTicks are those of replica.Config.
	ElectionTicks, HeartbeatTicks int
	// KeepEntries is how many applied entries of a group stay in the log for members that were away, and as many again
	// may gather before the log is compacted. Default 4000.
	KeepEntries uint64
	// Linger is how long what nobody waits for may wait for company: commits of transactions that are decided, and the news
	// of what is committed. Zero: nothing does.
	Linger time.Duration
	// Now reads a monotonic clock, only to measure batches. Optional.
	Now func() time.Duration
}

// Worker owns a node's replicas. It is not safe for concurrent use.
type Worker struct {
	cfg    Config
	log    *raftlog.Log
	engine storage.Engine
	out    Outbox
	logger *slog.Logger

	groups map[ring.PartitionID]*group
	order  []*group // by number
	dirty  []*group
	state  *meta.State

	now     time.Duration
	batch   raftlog.Batch
	entries []raftlog.Entry
	changes []storage.Changes
	readies []ready
	stood   []Standing // to be published
	drops   []*drop
	ticks   int
	due     []*group // whose last expire has left keys that are due
	expired uint64   // keys, in groups that this node led
	purger  purger
	err     error // final

	lingering []*group // with something that lingers
	lingerEnd time.Duration

	decisions []waitline.Decision
	usual     time.Duration // from proposing a command to its result, about

	reclaiming bool // the log has more to give back
	unsynced   bool // something is committed to the engine and not synced
	dropped    bool // a part of a drop among it
	syncDue    bool
	syncing    func() (done bool, err error) // asks how a sync that was begun is doing; nil if none was
	marked     uint64                        // record of the log that the engine knows of

	space   Space
	crowded []ring.NodeID
}

// Open starts the replicas that the log and the engine hold, finishing what a crash interrupted.
func Open(cfg Config, now time.Duration) (*Worker, error) {
	w := &Worker{cfg: cfg, log: cfg.Log, engine: cfg.Engine, out: cfg.Outbox, logger: cfg.Logger, now: now,
		groups: make(map[ring.PartitionID]*group)}
	if w.logger == nil {
		w.logger = slog.New(slog.DiscardHandler)
	}
	if w.cfg.KeepEntries == 0 {
		w.cfg.KeepEntries = keepEntries
	}
	if err := w.engine.Sync(); err != nil { // what is read now is built upon
		return nil, fmt.Errorf("sync state machines: %w", err)
	}
	for _, id := range w.log.Groups() {
		if err := w.openGroup(id); err != nil {
			return nil, err
		}
	}
	if err := w.readState(); err != nil {
		return nil, err
	}
	return w, nil
}

// Begin tells the time before anything is handed over for the next turn. What is handed over has arrived by then: the
// clock that a write is stamped with, and that its TTL counts from, is not that of a turn long ago.
func (w *Worker) Begin(now time.Duration) { w.now = max(w.now, now) }

// Submit hands a request over.
func (w *Worker) Submit(op *Op) {
	if op.Group != storage.MetaPartition {
		w.purger.asked = w.ticks
	}
	g := w.groups[op.Group]
	if g == nil || g.install != nil {
		op.finish(&replica.NotLeaderError{Partition: op.Group, Leader: w.believedLeader(op.Group)})
		return
	}
	if !g.rep.Leading() {
		op.finish(&replica.NotLeaderError{Partition: op.Group, Leader: g.rep.Leader()})
		return
	}
	if op.Kind == Write {
		w.write(g, op)
		return
	}
	if op.Term != g.rep.Term() { // the right was another leadership's
		op.finish(replica.ErrDropped)
		return
	}
	w.readable(g, op)
}

func (w *Worker) believedLeader(p ring.PartitionID) replica.ID {
	if w.state == nil {
		return 0
	}
	if t := w.target(p); len(t.Voters) > 0 {
		return t.Voters[0]
	}
	return 0
}

// Deliver hands a message of another node over.
func (w *Worker) Deliver(p ring.PartitionID, m *raftpb.Message) {
	g := w.groups[p]
	if g == nil {
		if g = w.create(p, m); g == nil {
			return
		}
	}
	if g.install != nil || w.refuses(p, m) {
		return // raft repeats itself
	}
	w.step(g, m)
}

// step hands a message to a replica. An error is final; the next turn returns it.
func (w *Worker) step(g *group, m *raftpb.Message) {
	if err := g.rep.Step(m); err != nil && w.err == nil {
		w.err = err
	}
	w.touch(g)
}

// Tick tells all groups that one tick has passed, and takes the next step of whatever is done little by little.
func (w *Worker) Tick(now time.Duration) {
	w.now = max(w.now, now)
	w.ticks++
	w.lingerEnd = w.now // should the clock stand still
	w.purger.backlog, w.purger.oldest = 0, 0
	w.reclaiming = w.reclaiming || w.ticks%reclaimEvery == 0
	w.syncDue = w.syncDue || w.ticks%syncEvery == 0
	for _, g := range w.order {
		if g.install == nil {
			g.rep.Tick()
			w.succeed(g)
			w.tend(g)
			w.touch(g)
		}
	}
}

// Turn does everything that is due. An error is final: the log or the engine failed, or a replica found that it has lost
// what it had promised (*replica.RolledBackError), and no replica of this node may promise anything any more.
func (w *Worker) Turn(now time.Duration) error {
	w.now = max(w.now, now)
	if w.err != nil {
		return w.err
	}
	if w.space < Full {
		w.expireRest()
		w.purge()
	}
	late := w.endLinger()
	for pass := 0; pass < maxPasses && len(w.dirty) > 0; pass++ {
		w.gather()
		if err := w.process(); err != nil {
			return err
		}
	}
	for _, g := range late {
		w.sendNews(g)
	}
	if err := w.syncBehind(); err != nil {
		return err
	}
	if w.space < Full { // all of these write before they give anything back
		if err := w.chores(); err != nil {
			return err
		}
	}
	w.out.Flush()
	return nil
}

// chores takes one step of each thing that is done little by little.
func (w *Worker) chores() error {
	if err := w.stepDrops(); err != nil {
		return err
	}
	if err := w.stepInstalls(); err != nil {
		return err
	}
	return w.reclaim()
}

// maxPasses bounds a turn, so that what arrives meanwhile gets its turn as well.
const maxPasses = 4

// Busy reports whether another Turn is wanted although nothing new has arrived.
func (w *Worker) Busy() bool {
	if len(w.dirty) > 0 {
		return true
	}
	if w.space == Full {
		return false
	}
	return len(w.due) > 0 || w.purger.backlog > 0 && w.hurried() || len(w.drops) > 0 || slices.ContainsFunc(w.order, func(g *group) bool { return g.install != nil })
}

// Close gives up all requests that wait. The log and the engine stay open; they are the caller's.
func (w *Worker) Close() {
	for _, g := range w.order {
		w.abandon(g)
	}
	w.groups, w.order, w.dirty, w.due = nil, nil, nil, nil
}

func (w *Worker) abandon(g *group) {
	lost, dropped := g.rep.Close()
	w.finishAll(g, lost, replica.ErrOutcomeUnknown)
	w.finishAll(g, dropped, replica.ErrDropped)
	w.sendLingeringAway(g, replica.ErrDropped)
	w.clearLine(g, replica.ErrDropped)
	w.sendWaitersAway(g, replica.ErrDropped)
}

func (w *Worker) finishAll(g *group, tags []replica.Tag, err error) {
	for _, t := range tags {
		if op, ok := t.(*Op); ok {
			w.finish(g, op, err)
		}
	}
}

func (w *Worker) touch(g *group) {
	if !g.dirty {
		g.dirty = true
		w.dirty = append(w.dirty, g)
	}
}

// State is the cluster's description as this node has applied it, nil before it knows it.
func (w *Worker) State() *meta.State { return w.state }

// readState takes the cluster's description over from the metadata partition.
func (w *Worker) readState() error {
	if w.groups[storage.MetaPartition] == nil {
		return nil
	}
	v := w.engine.View()
	defer v.Close()
	item, err := storage.Get(v, storage.MetaPartition, []byte(meta.Key))
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read cluster state: %w", err)
	}
	s, err := meta.Decode(item.Value)
	if err != nil {
		return err
	}
	w.state = s
	if w.cfg.OnState != nil {
		w.cfg.OnState(s)
	}
	return nil
}

func (w *Worker) target(p ring.PartitionID) replica.Target {
	if w.state == nil {
		return replica.Target{}
	}
	t := w.state.Target(p)
	if p == storage.MetaPartition {
		t = w.state.MetaTarget()
	}
	t.Crowded = w.crowded
	return t
}
