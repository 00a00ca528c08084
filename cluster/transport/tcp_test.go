package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// proxy forwards real TCP connections byte by byte to a target, until it is told to cut them.
type proxy struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.wg.Go(func() { pipe(in, out) })
		p.wg.Go(func() { pipe(out, in) })
	}
}

func pipe(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = dst.Close()
	_ = src.Close()
}

// cut breaks all connections that exist now.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// The same over real sockets: calls through a proxy that cuts, and a stream that comes back.
func TestStreamOverTCP(t *testing.T) {
	cfgB := tcpConfig(t, 2)
	entered := make(chan struct{}, 1)
	cfgB.Handler = handlerFunc(func(ctx context.Context, from ring.NodeID, method uint8, body []byte) (uint8, []byte) {
		if method == 9 {
			entered <- struct{}{}
			return waitForEnd(ctx, from, method, body)
		}
		return echo(ctx, from, method, body)
	})
	b := start(t, cfgB)
	p := newProxy(t, b.Addr().String())
	up := make(chan bool, 16)
	cfgA := tcpConfig(t, 1)
	cfgA.OnPeer = func(_ ring.NodeID, connected bool) { up <- connected }
	a := start(t, cfgA)
	a.SetPeers(map[ring.NodeID]string{2: p.ln.Addr().String()})

	big := bytes.Repeat([]byte("x"), 5<<20)
	if got, err := a.Call(t.Context(), 2, 1, big); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("5 MiB: %d bytes, %v", len(got), err)
	}
	if !<-up {
		t.Fatal("OnPeer: not connected first")
	}
	for range 3 {
		lost := make(chan error, 1)
		go func() {
			_, err := a.Call(t.Context(), 2, 9, nil)
			lost <- err
		}()
		<-entered
		p.cut()
		if err := <-lost; !errors.Is(err, transport.ErrConnLost) {
			t.Fatalf("a call cut off: %v", err)
		}
		if <-up || !<-up {
			t.Fatal("OnPeer: not gone, then back")
		}
		if got, err := a.Call(t.Context(), 2, 1, []byte("back")); err != nil || string(got) != "back" {
			t.Fatalf("when it is back: %q, %v", got, err)
		}
	}
}

// BenchmarkCall measures forwarded requests of 256 bytes by 64 callers over loopback TCP.
func BenchmarkCall(b *testing.B) {
	a := benchPair(b)
	body := make([]byte, 256)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Call(b.Context(), 2, 1, body); err != nil {
				b.Error(err)
				return
			}
		}
	})
	s := a.Stats()
	b.ReportMetric(float64(s.Calls)/float64(s.FramesSent), "calls/frame")
}

// BenchmarkRaft measures queued messages, 64 between two flushes.
func BenchmarkRaft(b *testing.B) {
	a := benchPair(b)
	m := appendOf(1, 256)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for !a.QueueRaft(2, 1, m) {
		}
		if i%64 == 0 {
			a.Flush()
		}
	}
}

func benchPair(b *testing.B) *transport.Transport {
	var nodes [2]*transport.Transport
	for i := range nodes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		nodes[i], err = transport.New(transport.Config{
			Identity: func() transport.Identity { return transport.Identity{Cluster: "c1", Node: ring.NodeID(i + 1)} },
			Listener: ln,
			Handler:  handlerFunc(echo),
			OnRaft:   func(ring.NodeID, []wire.RaftMessage) {},
		})
		if err != nil {
			b.Fatal(err)
		}
		nodes[i].Start()
		b.Cleanup(func() { _ = nodes[i].Close() })
	}
	nodes[0].SetPeers(map[ring.NodeID]string{2: nodes[1].Addr().String()})
	return nodes[0]
}

// Flush writes on its caller's goroutine, but never waits: what a full connection does not take follows later, whole and in
// order.
func TestFlushDoesNotWait(t *testing.T) {
	const messages, size = 400, 100_000
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	arrived := make(chan *raftpb.Message, messages)
	cfgB := tcpConfig(t, 2)
	cfgB.OnRaft = func(_ ring.NodeID, batch []wire.RaftMessage) {
		<-gate // until it opens nobody reads, and the connection fills up
		for _, m := range batch {
			arrived <- m.Message
		}
	}
	b := start(t, cfgB)
	t.Cleanup(open)
	cfgA := tcpConfig(t, 1)
	cfgA.ReadTimeout = time.Minute // B will not even say that it lives
	a := start(t, cfgA)
	a.SetPeers(map[ring.NodeID]string{2: b.Addr().String()})
	if _, err := a.Call(t.Context(), 2, 1, nil); err != nil { // so there is a writer
		t.Fatal(err)
	}
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2) }
	for i := range messages {
		m := appendOf(i, 0)
		m.Entries[0].Data = body(i)
		if !a.QueueRaft(2, 7, m) {
			t.Fatalf("message %d was refused", i)
		}
		a.Flush()
	}
	if a.Peers()[0].QueuedBytes == 0 {
		t.Error("the connection took everything: nothing was tested")
	}
	open()
	deadline := time.After(time.Minute)
	for i := range messages {
		select {
		case m := <-arrived:
			if m.GetIndex() != uint64(i) || !bytes.Equal(m.GetEntries()[0].GetData(), body(i)) {
				t.Fatalf("place %d: message %d", i, m.GetIndex())
			}
		case <-deadline:
			t.Fatalf("message %d did not arrive", i)
		}
	}
}
