package transport

import (
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/ring"
)

// counters are what happened on all streams since the start.
type counters struct {
	framesSent, framesReceived atomic.Uint64
	bytesSent, bytesReceived   atomic.Uint64
	raftSent, raftReceived     atomic.Uint64
	raftDropped                atomic.Uint64
	calls, requests            atomic.Uint64
	requestsRefused            atomic.Uint64
	handling                   atomic.Int64
}

// Stats are totals over all peers since the Transport was made.
type Stats struct {
	FramesSent, FramesReceived uint64
	BytesSent, BytesReceived   uint64 // on streams, frames' headers included
	RaftSent                   uint64 // messages queued for a peer
	RaftDropped                uint64 // messages refused: no connection, or a full queue
	RaftReceived               uint64
	Calls                      uint64 // calls queued for a peer
	Requests                   uint64 // calls of others handled
	RequestsRefused            uint64 // calls of others refused because MaxHandlers ran
	Handling                   int64  // calls of others being handled now
}

// PeerStatus is the state of the stream that this node dials to one peer.
type PeerStatus struct {
	ID          ring.NodeID
	Addr        string
	Connected   bool
	Since       time.Time // when Connected last changed
	LastError   string    // why the last attempt or connection ended; empty if none did
	QueuedBytes int       // waiting to be written
	Calls       int       // in flight
}

// Stats returns the totals.
func (t *Transport) Stats() Stats {
	n := &t.counters
	return Stats{
		FramesSent: n.framesSent.Load(), FramesReceived: n.framesReceived.Load(),
		BytesSent: n.bytesSent.Load(), BytesReceived: n.bytesReceived.Load(),
		RaftSent: n.raftSent.Load(), RaftDropped: n.raftDropped.Load(), RaftReceived: n.raftReceived.Load(),
		Calls: n.calls.Load(), Requests: n.requests.Load(),
		RequestsRefused: n.requestsRefused.Load(), Handling: n.handling.Load(),
	}
}
