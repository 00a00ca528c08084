package transport_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network connects transports in memory, so that a test can run in a synctest bubble, where time is fake and passes
// only when everyone waits. It can drop, hold and cut what flows between two ends.
type network struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	links     []*link
	dials     int
}

func newNetwork() *network {
	return &network{listeners: make(map[string]*memListener)}
}

// link is one connection. forward is from the dialer to the acceptor.
type link struct {
	addr              string
	forward, backward *pipeEnd
}

// cut breaks the link as a crash does: both ends notice.
func (l *link) cut() {
	_ = l.forward.Close()
	_ = l.backward.Close()
}

// pipeEnd is an end of a link, with faults on what is written to it.
type pipeEnd struct {
	net.Conn
	drop   atomic.Bool // swallow it
	mu     sync.Mutex
	hold   chan struct{} // wait until it is closed
	once   sync.Once
	closed chan struct{}
}

func newPipeEnd(conn net.Conn) *pipeEnd {
	return &pipeEnd{Conn: conn, closed: make(chan struct{})}
}

// Close also ends writes that are stalled, as closing a socket does.
func (e *pipeEnd) Close() error {
	e.once.Do(func() { close(e.closed) })
	return e.Conn.Close()
}

func (e *pipeEnd) Write(p []byte) (int, error) {
	e.mu.Lock()
	hold := e.hold
	e.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-e.closed:
			return 0, net.ErrClosed
		}
	}
	if e.drop.Load() {
		return len(p), nil
	}
	return e.Conn.Write(p)
}

// stall makes writes wait until the returned function is called.
func (e *pipeEnd) stall() (resume func()) {
	hold := make(chan struct{})
	e.mu.Lock()
	e.hold = hold
	e.mu.Unlock()
	return func() {
		e.mu.Lock()
		e.hold = nil
		e.mu.Unlock()
		close(hold)
	}
}

type memListener struct {
	addr  string
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memListener) Addr() net.Addr { return memAddr(l.addr) }

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

func (n *network) listen(addr string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &memListener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[addr] = l
	return l
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	addr = strings.TrimSuffix(addr, ":80") // http.Client adds it
	n.mu.Lock()
	n.dials++
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	lk := &link{addr: addr, forward: newPipeEnd(a), backward: newPipeEnd(b)}
	select {
	case l.conns <- lk.backward:
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	n.links = append(n.links, lk)
	n.mu.Unlock()
	return lk.forward, nil
}

// latest is the newest link to addr.
func (n *network) latest(t *testing.T, addr string) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := len(n.links) - 1; i >= 0; i-- {
		if n.links[i].addr == addr {
			return n.links[i]
		}
	}
	t.Fatalf("nobody dialed %s", addr)
	return nil
}

func (n *network) dialCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// handlerFunc is a Handler.
type handlerFunc func(ctx context.Context, from ring.NodeID, method uint8, body []byte) (uint8, []byte)

func (f handlerFunc) HandleRequest(ctx context.Context, from ring.NodeID, method uint8, body []byte) (uint8, []byte) {
	return f(ctx, from, method, body)
}

// echo answers with the body.
func echo(_ context.Context, _ ring.NodeID, _ uint8, body []byte) (uint8, []byte) {
	return transport.StatusOK, body
}

// node is a transport under test, with what it received.
type node struct {
	*transport.Transport
	log *logRecorder

	mu      sync.Mutex
	batches [][]wire.RaftMessage
	leaders [][]wire.Leader
	peers   []bool // what OnPeer said
}

func (n *node) onRaft(_ ring.NodeID, batch []wire.RaftMessage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.batches = append(n.batches, batch)
}

func (n *node) onPeer(_ ring.NodeID, connected bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers = append(n.peers, connected)
}

func (n *node) received() [][]wire.RaftMessage {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.batches
}

// config is a node's Config in a network, for a test to change.
func (n *network) config(id ring.NodeID, addr string) transport.Config {
	return transport.Config{
		Identity: func() transport.Identity { return transport.Identity{Cluster: "c1", Node: id} },
		Listener: n.listen(addr),
		Dial:     n.dial,
		Handler:  handlerFunc(echo),
	}
}

func start(t *testing.T, cfg transport.Config) *node {
	t.Helper()
	n := &node{log: &logRecorder{}}
	if cfg.OnRaft == nil {
		cfg.OnRaft = n.onRaft
	}
	cfg.OnLeaders = func(_ ring.NodeID, l []wire.Leader) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.leaders = append(n.leaders, l)
	}
	if cfg.OnPeer == nil {
		cfg.OnPeer = n.onPeer
	}
	cfg.Logger = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if n.Transport, err = transport.New(cfg); err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// pair is two nodes of which the first dials the second.
func pair(t *testing.T, net *network, change func(a, b *transport.Config)) (a, b *node) {
	t.Helper()
	cfgA, cfgB := net.config(1, "a"), net.config(2, "b")
	if change != nil {
		change(&cfgA, &cfgB)
	}
	a, b = start(t, cfgA), start(t, cfgB)
	a.SetPeers(map[ring.NodeID]string{1: "a", 2: "b"})
	return a, b
}

// logRecorder counts log lines.
type logRecorder struct {
	mu    sync.Mutex
	lines []string
}

func (l *logRecorder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *logRecorder) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

var _ io.Writer = (*logRecorder)(nil)

// waitForEnd answers only when nobody waits for it any more.
func waitForEnd(ctx context.Context, _ ring.NodeID, _ uint8, _ []byte) (uint8, []byte) {
	<-ctx.Done()
	return transport.StatusOK, nil
}
