package transport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// Identity is who a node is. Streams are only made between two nodes of the same cluster that know their numbers;
// the zero Identity (not admitted yet) neither dials nor accepts.
type Identity struct {
	Cluster string // 1 to 128 printable ASCII characters
	Node    ring.NodeID
}

// Statuses of an answer. A handler owns those from StatusOK up to StatusReserved; the ones from there on are the
// transport's own.
const (
	StatusOK       uint8 = 0
	StatusReserved uint8 = 0xF0

	statusOverloaded uint8 = 0xFF
)

// Handler answers the calls of other nodes.
type Handler interface {
	// HandleRequest runs on a goroutine of its own. ctx ends at the caller's deadline, when the caller's connection
	// is lost (nobody waits for the answer then), or on Close. body belongs to the handler. status is under
	// StatusReserved; the caller gets a *StatusError unless it is StatusOK. respBody is copied.
	HandleRequest(ctx context.Context, from ring.NodeID, method uint8, body []byte) (status uint8, respBody []byte)
}

// Respond answers a request, once, from any goroutine and without waiting. body is copied.
type Respond func(status uint8, body []byte)

// Config is what a Transport is made of. Zero means the default.
type Config struct {
	// Identity returns who this node is now. It is asked for every stream; it must be quick. Required.
	Identity func() Identity
	// Run tells the processes of one node apart: two that run at the same time have copies of one data directory. Printable
	// ASCII. Default: random.
	Run string
	// Listener accepts peer connections; the Transport closes it. Required.
	Listener net.Listener
	// Handler answers calls. Required.
	Handler Handler
	// Begin is offered every request before it gets a goroutine. It takes those that it can answer by respond once they are
	// done, without a goroutine that waits, and leaves all others to Handler: false. It runs on the connection's reader and
	// must not block. within is how long the caller waits, 0 for ever. Close does not wait for what it took. Optional.
	Begin func(from ring.NodeID, method uint8, within time.Duration, body []byte, respond Respond) bool
	// Answer is offered every request first. Those that it takes, it answers on the spot, on the connection's reader; the
	// answers to all of a frame leave together, at once, ahead of whatever waits. Optional.
	Answer func(from ring.NodeID, method uint8, body []byte) (resp []byte, ok bool)
	// OnRaft gets the raft messages of one received frame, in order; it owns the slice. It runs on the connection's
	// reader: while it blocks, nothing else of that peer is read, and after ReadTimeout the peer gives the connection
	// up. Required.
	OnRaft func(from ring.NodeID, batch []wire.RaftMessage)
	// OnLeaders gets a peer's announcement, on the reader as well; it owns the slice. Optional.
	OnLeaders func(from ring.NodeID, leaders []wire.Leader)
	// OnPeer is told whenever the stream to a peer is up or gone. It runs on the peer's goroutine: what it sends when
	// the stream is up leaves on it; it must not call Close. Optional.
	OnPeer func(id ring.NodeID, connected bool)
	// OnTwin is told whenever a peer refuses our stream because it has one of another process with our identity. That
	// may be our former self, whose end the peer has not noticed; for longer than ReadTimeout and BackoffMax it is
	// another that runs. It runs on the peer's goroutine; it must not call Close. Optional.
	OnTwin func(id ring.NodeID)
	// Logger gets connects, losses and refusals. Default: nothing is logged.
	Logger *slog.Logger
	// Dial makes a connection. Default: a net.Dialer. Tests put their faults here.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS wraps listener and dialed connections. nil: no TLS.
	TLS *tls.Config

	// DialTimeout bounds one attempt to connect, hello included. Default 2 s.
	DialTimeout time.Duration
	// PingInterval is the time between two signs of life on an idle stream. Default 700 ms.
	PingInterval time.Duration
	// ReadTimeout is after how long a silent stream is given up; over two PingIntervals. Default 2.5 s.
	ReadTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause before the next attempt to connect. Default 50 ms and 1 s.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// StallTimeout bounds every single read and write of plain HTTP requests made with Client. Default 30 s.
	StallTimeout time.Duration

	// MaxQueueBytes bounds what waits to be written to one peer, or back to one. Default 64 MiB.
	MaxQueueBytes int
	// FrameBytes is the payload after which a frame takes no more envelopes, in bytes. A larger single envelope has a
	// frame of its own. Default 1 MiB.
	FrameBytes int
	// MaxCalls bounds the calls in flight to one peer. Default 4096.
	MaxCalls int
	// MaxHandlers bounds the requests of other nodes handled at the same time. Default 4096.
	MaxHandlers int
}

func (c Config) withDefaults() Config {
	setDefault(&c.DialTimeout, 2*time.Second)
	setDefault(&c.PingInterval, 700*time.Millisecond)
	setDefault(&c.ReadTimeout, 2500*time.Millisecond)
	setDefault(&c.BackoffMin, 50*time.Millisecond)
	setDefault(&c.BackoffMax, time.Second)
	setDefault(&c.StallTimeout, 30*time.Second)
	setDefault(&c.MaxQueueBytes, 64<<20)
	setDefault(&c.FrameBytes, 1<<20)
	setDefault(&c.MaxCalls, 4096)
	setDefault(&c.MaxHandlers, 4096)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Run == "" {
		c.Run = rand.Text()
	}
	if c.OnTwin == nil {
		c.OnTwin = func(ring.NodeID) {}
	}
	if c.OnLeaders == nil {
		c.OnLeaders = func(ring.NodeID, []wire.Leader) {}
	}
	if c.OnPeer == nil {
		c.OnPeer = func(ring.NodeID, bool) {}
	}
	return c
}

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	switch {
	case c.Identity == nil:
		return errors.New("transport: config: no Identity")
	case c.Listener == nil:
		return errors.New("transport: config: no Listener")
	case c.Handler == nil:
		return errors.New("transport: config: no Handler")
	case c.OnRaft == nil:
		return errors.New("transport: config: no OnRaft")
	case c.ReadTimeout <= 2*c.PingInterval:
		return errors.New("transport: config: ReadTimeout must be over two PingIntervals")
	case c.FrameBytes > wire.MaxFrame:
		return errors.New("transport: config: FrameBytes is larger than a frame can be")
	case c.BackoffMin > c.BackoffMax:
		return errors.New("transport: config: BackoffMin is over BackoffMax")
	}
	return nil
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
