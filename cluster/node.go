// Package cluster is a node: it owns the node's disk, its worker's goroutine, its connections, and the way of a
// request from any node to the replica that answers it.
//
// It decides nothing that must be agreed on: members and placement are the metadata group's (cluster/meta), what is
// committed is raft's (cluster/replica), what is stored is the state machine's (storage). What it knows of the other
// nodes are hints, and whoever is asked wrongly says so.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/gossip"
	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/changelog"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/writeback"
)

// Node is one running node. All methods may be called from any goroutine.
type Node struct {
	cfg    Config
	logger *slog.Logger
	begun  time.Time

	identity atomic.Pointer[identity]
	engine   *writeback.Engine
	tables   *badgerdb.Engine // under engine, which writes to it
	log      *raftlog.Log
	disk     *disk
	changes  *changelog.Log
	hub      *watch.Hub
	routes   routes
	timings  timings

	peers    *transport.Transport
	gossip   *gossip.Gossip
	loop     *loop
	reads    *reads
	spools   *spools
	requests sync.Pool // of *request
	tolds    sync.Pool // of *told
	life     life
	wishes   atomic.Uint64 // counts the locks that were asked for through this node
	parked   atomic.Int64  // requests that wait here, or may have to, for locks
	twins    twins
	scrubber *scrubber

	compactions chan chan struct{} // asks for one; what is sent is closed when it is done

	crowded atomic.Pointer[[]ring.NodeID] // nodes whose disks are nearly full, in order

	ctx      context.Context // ends when the node stops
	cancel   context.CancelCauseFunc
	tasks    sync.WaitGroup
	changed  chan struct{} // a token when leaders changed and others should hear of it
	member   chan struct{} // closed once the node is a member and its worker runs
	stopped  chan struct{} // closed once everything has ended
	closing  sync.Once
	closeErr error
}

// Start opens a node's disk, finishes what a crash interrupted, and begins to serve. A node with an empty data
// directory forms a cluster of its own, or with Config.Join asks to be admitted to one; until it is, its methods
// return ErrNotMember and Ready says what it waits for.
func Start(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, logger: cfg.Logger, begun: time.Now(),
		life: newLife(), scrubber: newScrubber(), compactions: make(chan chan struct{}), changed: make(chan struct{}, 1), member: make(chan struct{}), stopped: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.requests.New, n.tolds.New = newRequest, newTold
	n.loop, n.reads = newLoop(cfg.Tick, n.begun), newReads(n)
	n.hub = watch.New(watch.Config{Cluster: watched{n}, MaxWatchers: cfg.MaxWatchers, Logger: cfg.Logger})
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) start() error {
	id, err := loadIdentity(n.cfg.DataDir, n.cfg.Name)
	if err != nil {
		return err
	}
	n.identity.Store(&id)
	if err := n.openDisk(id); err != nil {
		return err
	}
	if err := n.openPeers(); err != nil {
		return err
	}
	if err := n.refuseTwin(); err != nil {
		return err
	}
	if err := n.openGossip(); err != nil {
		return err
	}
	if !id.member() && len(n.cfg.Join) == 0 {
		if id, err = n.form(id); err != nil {
			return err
		}
	}
	if id.member() {
		if err := n.serve(); err != nil {
			return err
		}
		if err := n.gossip.UpdateMeta(); err != nil {
			return err
		}
	}
	n.peers.Start()
	n.tasks.Go(n.control)
	n.tasks.Go(n.watchSpace)
	n.tasks.Go(n.compactWhenLow)
	n.tasks.Go(n.scrub)
	n.tasks.Go(n.announce)
	return nil
}

func (n *Node) openDisk(id identity) (err error) {
	dir := n.cfg.DataDir
	defer func() { err = explainFull(err, dir) }()
	if !id.member() {
		if err := clearStorage(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(spoolDir(dir), 0o755); err != nil {
		return fmt.Errorf("create snapshot directory: %w", err)
	}
	if n.disk, err = watchDisk(&n.cfg); err != nil {
		return err
	}
	if err := n.disk.startable(); err != nil {
		return err
	}
	if n.tables, err = badgerdb.Open(badgerdb.Config{Dir: dataDir(dir), Logger: n.logger}); err != nil {
		return inUse(err, dir)
	}
	n.engine = writeback.New(n.tables)
	if err := n.openLog(id); err != nil {
		return inUse(err, dir)
	}
	n.spools = &spools{dir: spoolDir(dir), disk: n.disk}
	return n.openChanges()
}

// openLog opens the raft log; the engine knows how far it went at least.
func (n *Node) openLog(id identity) error {
	v := n.engine.View()
	record, err := storage.LogMark(v)
	v.Close()
	if err != nil {
		return fmt.Errorf("open raft log: %w", err)
	}
	n.log, err = raftlog.Open(raftlog.OS(), logDir(n.cfg.DataDir), raftlog.Options{
		MustExist: id.member(), MinRecord: record, OnSync: n.timings.fsync.observe,
	})
	return err
}

func inUse(err error, dir string) error {
	if errors.Is(err, raftlog.ErrLocked) || errors.Is(err, badgerdb.ErrInUse) {
		return fmt.Errorf("data directory %s is in use by another running node: choose another --data-dir (%w)", dir, err)
	}
	return err
}

// form makes this node a cluster of one.
func (n *Node) form(id identity) (identity, error) {
	clusterID := newClusterID()
	first := meta.Node{
		UUID: id.UUID, Name: id.Name, HTTP: n.cfg.reachableHTTP(), Peer: n.peerAddr(), Gossip: n.gossip.Addr(),
		Zone: n.cfg.Zone, Weight: n.cfg.Weight,
	}
	state, err := meta.Form(clusterID, n.cfg.Partitions, n.cfg.Replicas, first)
	if err != nil {
		return id, fmt.Errorf("form cluster: %w", err)
	}
	if err := worker.Form(n.log, n.engine, state); err != nil {
		return id, fmt.Errorf("form cluster: %w", err)
	}
	id.ClusterID, id.Node = clusterID, 1
	if err := id.save(n.cfg.DataDir); err != nil {
		return id, err
	}
	n.identity.Store(&id)
	n.logger.Info("formed a new cluster", "cluster", clusterID, "partitions", n.cfg.Partitions, "replicas", n.cfg.Replicas)
	return id, nil
}

func (n *Node) openPeers() error {
	ln, err := net.Listen("tcp", n.cfg.Peer)
	if err != nil {
		return fmt.Errorf("listen for other nodes (--peer): %w", err)
	}
	n.peers, err = transport.New(transport.Config{
		Identity: func() transport.Identity {
			id := n.identity.Load()
			return transport.Identity{Cluster: id.ClusterID, Node: id.Node}
		},
		Run:      n.life.run,
		Listener: ln,
		Handler:  n,
		Answer:   n.reads.vouch,
		Begin:    n.BeginRequest,
		OnRaft:   func(_ ring.NodeID, batch []wire.RaftMessage) { n.loop.deliver(batch) },
		OnLeaders: func(from ring.NodeID, leaders []wire.Leader) {
			for _, l := range leaders {
				n.routes.learn(ring.PartitionID(l.Partition), from, l.Term)
			}
		},
		OnPeer: n.onPeer,
		OnTwin: n.onTwin,
		Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.handleSnapshots()
	n.handleJoin()
	n.handleSelf()
	return nil
}

// serve starts the worker of a node that is a member.
func (n *Node) serve() error {
	w, err := worker.Open(worker.Config{
		Node: n.self(), Log: n.log, Engine: n.engine, Outbox: outbox{n},
		OpenSpool: n.spools.open,
		Board:     n.reads,
		OnState:   n.onState, OnLead: n.onLead, OnApply: n.timings.apply.observe,
		OnStuck: n.cfg.OnStuck, Changes: n.changes,
		Now:    n.loop.now,
		Logger: n.logger, ElectionTicks: n.cfg.ElectionTicks, HeartbeatTicks: n.cfg.HeartbeatTicks, Linger: linger,
	}, n.loop.now())
	if err != nil {
		return err
	}
	if err := n.spools.clear(); err != nil { // what was pending is installed now
		return err
	}
	n.loop.worker, n.loop.reads = w, n.reads
	n.tasks.Go(func() {
		if err := n.loop.run(n.ctx); err != nil {
			n.fail(n.located(err))
		}
	})
	n.tasks.Go(func() { n.reads.run(n.ctx) })
	close(n.member)
	n.tasks.Go(n.beginLife)
	return nil
}

// fail stops the node because it can no longer keep its promises.
func (n *Node) fail(err error) {
	err = explainFull(err, n.cfg.DataDir)
	n.logger.Error("node failed", "err", err)
	n.cancel(err)
}

// located names the data directory in an error that asks the operator to move it away.
func (n *Node) located(err error) error {
	if back := (*replica.RolledBackError)(nil); errors.As(err, &back) {
		return fmt.Errorf("data directory %s: %w", n.cfg.DataDir, err)
	}
	return err
}

// Done is closed when the node begins to stop, of itself or by Close; Err then says why.
func (n *Node) Done() <-chan struct{} { return n.ctx.Done() }

// Err is why the node stopped by itself, nil if it runs or was closed.
func (n *Node) Err() error {
	if err := context.Cause(n.ctx); err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// Close stops the node and returns after the last goroutine has ended. What was acknowledged is on disk; what was
// not gets ErrClosed or an unknown outcome.
func (n *Node) Close() error {
	n.closing.Do(func() {
		n.handOver()
		n.cancel(ErrClosed)
		n.hub.Close()
		var errs []error
		if n.gossip != nil {
			if err := n.gossip.Leave(leaveTimeout); err != nil { // the others find out by themselves
				n.logger.Debug("leave gossip", "err", err)
			}
			errs = append(errs, n.gossip.Close())
		}
		if n.peers != nil {
			errs = append(errs, n.peers.Close())
		}
		n.tasks.Wait()
		errs = append(errs, n.closeEngine())
		if n.log != nil {
			errs = append(errs, n.log.Close())
		}
		if n.changes != nil {
			errs = append(errs, n.changes.Close())
		}
		n.closeErr = errors.Join(errs...)
		close(n.stopped)
	})
	<-n.stopped
	return n.closeErr
}

// How long a stopping node waits for others to take its leaderships over, and to hear that it goes.
const (
	leaveTimeout    = 500 * time.Millisecond
	handOverTimeout = time.Second
	handOverPoll    = 10 * time.Millisecond
)

// handOver gives this node's leaderships to others before it stops, so that nobody has to wait for an election.
func (n *Node) handOver() {
	if !n.isMember() || n.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, handOverTimeout)
	defer cancel()
	for left := 1; left > 0; {
		if n.loop.ask(ctx, func(w *worker.Worker) { left = w.HandOver() }) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(handOverPoll):
		}
	}
}

func (n *Node) self() ring.NodeID { return n.identity.Load().Node }

func (n *Node) isMember() bool {
	select {
	case <-n.member:
		return true
	default:
		return false
	}
}

func (n *Node) partition(key []byte) (ring.PartitionID, error) {
	r := n.routes.ring.Load()
	if r == nil {
		return 0, ErrNotMember
	}
	return r.Partition(key), nil
}
