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

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/gossip"
	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// Node is one running node. All methods may be called from any goroutine.
type Node struct {
	cfg    Config
	logger *slog.Logger
	begun  time.Time

	identity atomic.Pointer[identity]
	engine   *badgerdb.Engine
	log      *raftlog.Log
	disk     *disk
	routes   routes
	timings  timings

	peers    *transport.Transport
	gossip   *gossip.Gossip
	loop     *loop
	spools   *spools
	requests sync.Pool

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
		changed: make(chan struct{}, 1), member: make(chan struct{}), stopped: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.requests.New = func() any {
		r := &request{ended: make(chan struct{}, 1)}
		r.Op.Done = func(*worker.Op) { r.ended <- struct{}{} }
		return r
	}
	n.loop = newLoop(cfg.Tick, n.begun)
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
	n.tasks.Go(n.announce)
	return nil
}

func (n *Node) openDisk(id identity) error {
	dir := n.cfg.DataDir
	if !id.member() {
		if err := clearStorage(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(spoolDir(dir), 0o755); err != nil {
		return fmt.Errorf("create snapshot directory: %w", err)
	}
	var err error
	n.log, err = raftlog.Open(raftlog.OS(), logDir(dir), raftlog.Options{MustExist: id.member(), OnSync: n.timings.fsync.observe})
	if errors.Is(err, raftlog.ErrLocked) {
		return fmt.Errorf("data directory %s is in use by another running node: choose another --data-dir (%w)", dir, err)
	}
	if err != nil {
		return err
	}
	if n.engine, err = badgerdb.Open(badgerdb.Config{Dir: dataDir(dir), Logger: n.logger}); err != nil {
		return err
	}
	n.spools = &spools{dir: spoolDir(dir)}
	n.disk, err = watchDisk(dir, n.cfg.MinFreeBytes)
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
		Listener: ln,
		Handler:  n,
		OnRaft:   func(_ ring.NodeID, batch []wire.RaftMessage) { n.loop.deliver(batch) },
		OnLeaders: func(from ring.NodeID, leaders []wire.Leader) {
			for _, l := range leaders {
				n.routes.learn(ring.PartitionID(l.Partition), from, l.Term)
			}
		},
		OnPeer: n.onPeer,
		Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.handleSnapshots()
	n.handleJoin()
	return nil
}

// serve starts the worker of a node that is a member.
func (n *Node) serve() error {
	w, err := worker.Open(worker.Config{
		Node: n.self(), Log: n.log, Engine: n.engine, Outbox: outbox{n},
		OpenSpool: n.spools.open,
		OnState:   n.onState, OnLead: n.onLead, OnApply: n.timings.apply.observe,
		Now:    n.loop.now,
		Logger: n.logger, ElectionTicks: n.cfg.ElectionTicks, HeartbeatTicks: n.cfg.HeartbeatTicks,
	}, n.loop.now())
	if err != nil {
		return err
	}
	if err := n.spools.clear(); err != nil { // what was pending is installed now
		return err
	}
	n.loop.worker = w
	n.tasks.Go(func() {
		if err := n.loop.run(n.ctx); err != nil {
			n.fail(err)
		}
	})
	close(n.member)
	return nil
}

// fail stops the node because it can no longer keep its promises.
func (n *Node) fail(err error) {
	n.logger.Error("node failed", "err", err)
	n.cancel(err)
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
		if n.engine != nil {
			errs = append(errs, n.engine.Close())
		}
		if n.log != nil {
			errs = append(errs, n.log.Close())
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

// onState is the worker telling what the cluster looks like now.
func (n *Node) onState(s *meta.State) {
	n.routes.setState(s)
	n.dialMembers(s)
	n.poke()
}

func (n *Node) dialMembers(s *meta.State) {
	addrs := make(map[ring.NodeID]string)
	for _, m := range s.Present() {
		addrs[m.ID] = m.Peer
	}
	n.peers.SetPeers(addrs)
}

// onLead is the worker telling who leads a group.
func (n *Node) onLead(p ring.PartitionID, leader replica.ID, term uint64) {
	n.routes.learn(p, leader.Node(), term)
	if leader.Node() == n.self() {
		n.poke()
	}
}

func (n *Node) poke() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// outbox sends what the worker wants sent.
type outbox struct{ n *Node }

func (o outbox) Send(to ring.NodeID, group ring.PartitionID, m *raftpb.Message) {
	o.n.peers.QueueRaft(to, uint16(group), m)
}

func (o outbox) Flush() { o.n.peers.Flush() }

func (o outbox) SendSnapshot(s worker.Snapshot) { o.n.sendSnapshot(s) }

var _ worker.Outbox = outbox{}
