// Package transport owns the connections between nodes: their peer port, one stream to every peer, and the plain HTTP
// requests that do not fit a stream (joining, snapshots). DESIGN.md says what is guaranteed and what each error means.
//
// It must not decide anything: it does not know what a raft group or a request is about, who is a member (SetPeers is
// told), or whether to try again. It loses messages rather than wait, and says so.
package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// Transport is one node's end of the peer network. All methods may be called from any goroutine.
type Transport struct {
	cfg      Config
	counters counters
	mux      *http.ServeMux
	server   *http.Server
	client   *http.Client
	calls    sync.Pool // of *call

	ctx    context.Context // ends when Close begins
	cancel context.CancelCauseFunc

	peers atomic.Pointer[map[ring.NodeID]*peer] // replaced, never changed

	mu       sync.Mutex // guards what follows
	started  bool
	closed   bool
	inbound  map[ring.NodeID]*inbound // the latest accepted stream of each node
	refusals map[refusal]struct{}     // those that were logged
	wg       sync.WaitGroup           // everything started; Add only while closed is false
}

// New checks cfg and makes a Transport. Register handlers, then Start it.
func New(cfg Config) (*Transport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Transport{
		cfg:      cfg,
		mux:      http.NewServeMux(),
		inbound:  make(map[ring.NodeID]*inbound),
		refusals: make(map[refusal]struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	t.calls.New = func() any { return &call{ended: make(chan struct{}, 1)} }
	t.peers.Store(&map[ring.NodeID]*peer{})
	t.server = t.newServer()
	t.client = t.newClient()
	t.mux.HandleFunc("GET "+streamPath, t.acceptStream)
	return t, nil
}

// Handle serves pattern (of http.ServeMux) on the peer port.
func (t *Transport) Handle(pattern string, h http.Handler) {
	t.mux.Handle(pattern, h)
}

// Client makes plain HTTP requests to other nodes' peer ports: http://ADDR/PATH, also when TLS is on. It gives up a
// connection on which nothing moves for StallTimeout; bound the whole by a context.
func (t *Transport) Client() *http.Client {
	return t.client
}

// Addr is where the Transport listens.
func (t *Transport) Addr() net.Addr {
	return t.cfg.Listener.Addr()
}

// Start begins to accept connections.
func (t *Transport) Start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.closed {
		return
	}
	t.started = true
	t.wg.Go(t.serve)
}

// Close ends every connection and call and returns after the last goroutine has ended. Handlers see their context
// end; Close waits for them.
func (t *Transport) Close() error {
	t.cancel(ErrClosed)
	t.mu.Lock()
	already := t.closed
	t.closed = true
	t.mu.Unlock()
	var err error
	if !already {
		err = errors.Join(t.server.Close(), ignoreClosed(t.cfg.Listener.Close()))
	}
	t.wg.Wait()
	t.client.CloseIdleConnections()
	return err
}

// begin counts a goroutine that Close waits for. It reports false after Close.
func (t *Transport) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

// SetPeers says which nodes to keep a stream to, and where they are; this node itself is passed over. Streams to
// nodes that are no longer named, or that have moved, end without being waited for.
func (t *Transport) SetPeers(addrs map[ring.NodeID]string) {
	self := t.cfg.Identity().Node
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	old := *t.peers.Load()
	next := make(map[ring.NodeID]*peer, len(addrs))
	for id, addr := range addrs {
		if id == self {
			continue
		}
		if p := old[id]; p != nil && p.addr == addr {
			next[id] = p
			continue
		}
		next[id] = newPeer(t, id, addr)
		t.wg.Go(next[id].run)
	}
	t.peers.Store(&next)
	for id, p := range old {
		if next[id] != p {
			p.cancel(errRemoved)
		}
	}
}

// Peers returns the state of every peer, by id.
func (t *Transport) Peers() []PeerStatus {
	peers := *t.peers.Load()
	list := make([]PeerStatus, 0, len(peers))
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		list = append(list, peers[id].status())
	}
	return list
}

// SendRaft queues a message and wakes the stream's writer. It never blocks; false means that the message was dropped
// (no connection, full queue, larger than a frame). true does not mean that it arrives.
func (t *Transport) SendRaft(to ring.NodeID, group uint16, m *raftpb.Message) bool {
	return t.sendRaft(to, group, m, false)
}

// QueueRaft is SendRaft without waking the writer: for many messages at once, followed by one Flush. The message may
// leave before that.
func (t *Transport) QueueRaft(to ring.NodeID, group uint16, m *raftpb.Message) bool {
	return t.sendRaft(to, group, m, true)
}

// Flush sends what was queued by QueueRaft. It does not wait: what a connection does not take at once is its writer's.
func (t *Transport) Flush() {
	for _, p := range *t.peers.Load() {
		if s := p.session.Load(); s != nil {
			s.out.flush()
		}
	}
}

func (t *Transport) sendRaft(to ring.NodeID, group uint16, m *raftpb.Message, lazy bool) bool {
	it := item{size: wire.EnvelopeOverhead + wire.RaftSize(m), urgent: overtakes(m.GetType()), lazy: lazy}
	sent := t.send(to, it, func(dst []byte) []byte {
		return wire.AppendRaftEnvelope(dst, group, m)
	})
	if sent {
		t.counters.raftSent.Add(1)
	} else {
		t.counters.raftDropped.Add(1)
	}
	return sent
}

// overtakes tells the messages that keep a group alive from those that carry its data. Raft expects reordering.
func overtakes(typ raftpb.MessageType) bool {
	return typ != raftpb.MsgApp && typ != raftpb.MsgSnap && typ != raftpb.MsgProp
}

// SendLeaders queues an announcement of partitions that this node leads, for one peer. Like SendRaft it may be lost.
func (t *Transport) SendLeaders(to ring.NodeID, leaders []wire.Leader) bool {
	it := item{size: wire.LeadersSize(len(leaders)), urgent: true}
	return t.send(to, it, func(dst []byte) []byte {
		return wire.AppendLeaders(dst, leaders)
	})
}

func (t *Transport) send(to ring.NodeID, it item, encode func([]byte) []byte) bool {
	p := (*t.peers.Load())[to]
	if p == nil {
		return false
	}
	s := p.session.Load()
	if s == nil {
		return false
	}
	_, err := s.out.add(it, encode)
	return err == nil
}

// Call asks another node and waits for its answer. ctx's deadline travels with the request. body is copied; the
// answer is the caller's, but may share a buffer with other answers: copy a small part that is kept for long.
//
// Errors: see errors.go; when ctx ended first, ctx.Err(), and whether the request was handled is not known.
func (t *Transport) Call(ctx context.Context, to ring.NodeID, method uint8, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, callError(to, fmt.Errorf("%w: %w", ErrExpired, err))
	}
	s, err := t.sessionOf(to)
	if err != nil {
		return nil, callError(to, err)
	}
	c, err := s.start(method, remaining(ctx), body)
	if err != nil {
		return nil, callError(to, err)
	}
	t.counters.calls.Add(1)
	select {
	case <-c.ended:
	case <-ctx.Done():
		if s.remove(c.id) != nil { // nobody else ends it now
			s.release(c)
			return nil, callError(to, ctx.Err())
		}
		<-c.ended
	}
	resp, err := c.resp, c.err
	s.release(c)
	return s.result(resp, err)
}

// Go is Call without waiting: done is told once what Call would return, on the goroutine of whoever ended the call. It must
// not block: while it runs, no other answer of that node is read. A call without an answer ends with
// context.DeadlineExceeded, at until or up to PingInterval later, or when its stream ends where that is being dialed or
// stands still; the zero time is never.
func (t *Transport) Go(to ring.NodeID, method uint8, until time.Time, body []byte, done func(resp []byte, err error)) {
	t.start(to, method, until, body, false, done)
}

// GoNow is Go for a request that does not wait for company: it is written at once, if the connection takes it, ahead of
// whatever waits.
func (t *Transport) GoNow(to ring.NodeID, method uint8, until time.Time, body []byte, done func(resp []byte, err error)) {
	t.start(to, method, until, body, true, done)
}

func (t *Transport) start(to ring.NodeID, method uint8, until time.Time, body []byte, now bool, done func([]byte, error)) {
	if err := t.begun(to, method, until, body, now, done); err != nil {
		done(nil, callError(to, err))
		return
	}
	t.counters.calls.Add(1)
}

func (t *Transport) begun(to ring.NodeID, method uint8, until time.Time, body []byte, now bool, done func([]byte, error)) error {
	if !until.IsZero() && !time.Now().Before(until) {
		return fmt.Errorf("%w: %w", ErrExpired, context.DeadlineExceeded)
	}
	s, err := t.sessionOf(to)
	if err != nil {
		return err
	}
	if err := s.startFor(method, until, body, now, done); err != nil || !now {
		return err
	}
	s.out.flush()
	return nil
}

func callError(to ring.NodeID, err error) error { return fmt.Errorf("call node %d: %w", to, err) }

func (t *Transport) sessionOf(to ring.NodeID) (*session, error) {
	if t.ctx.Err() != nil {
		return nil, ErrClosed
	}
	p := (*t.peers.Load())[to]
	if p == nil {
		return nil, fmt.Errorf("%w: not a peer", ErrUnreachable)
	}
	s := p.session.Load()
	if s == nil {
		return nil, fmt.Errorf("%w: no connection", ErrUnreachable)
	}
	return s, nil
}

func resultOf(r wire.Response) ([]byte, error) {
	switch r.Status {
	case StatusOK:
		return r.Body, nil
	case statusOverloaded:
		return nil, ErrOverloaded
	default:
		return nil, &StatusError{Status: r.Status, Body: r.Body}
	}
}

// remaining is the time to ctx's deadline, at least a nanosecond; 0 if it has none.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), 1)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
