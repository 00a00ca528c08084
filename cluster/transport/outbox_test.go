package transport

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
)

// fullConn takes only room bytes from a writer that does not wait.
type fullConn struct {
	net.Conn
	room int
	got  []byte
}

func (c *fullConn) writeHastily(b []byte) int {
	n := min(c.room, len(b))
	c.room -= n
	c.got = append(c.got, b[:n]...)
	return n
}

func (c *fullConn) Write(b []byte) (int, error) {
	c.got = append(c.got, b...)
	return len(b), nil
}

// A socket takes what it has room for, at once, and no more.
func TestHastyWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	out, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	conn := hastyOf(newLiveConn(out, time.Second, &counters{}))
	if (conn != nil) != canTryWrite {
		t.Fatalf("hasty %v, on this system it can be: %v", conn, canTryWrite)
	}
	if conn == nil {
		return
	}
	chunk := make([]byte, 1<<20)
	sent := conn.writeHastily(chunk[:100])
	if sent != 100 {
		t.Fatalf("%d of 100 bytes taken by an empty connection", sent)
	}
	for range 1000 { // until the buffers of both ends are full
		n := conn.writeHastily(chunk)
		sent += n
		if n == 0 {
			break
		}
	}
	_ = out.Close()
	if n := conn.writeHastily(chunk); n != 0 {
		t.Errorf("%d bytes taken by a closed connection", n)
	}
	if got, err := io.Copy(io.Discard, in); err != nil || got != int64(sent) {
		t.Errorf("%d bytes arrived of %d, %v", got, sent, err)
	}
}

func TestNoHastyWriteWithTLS(t *testing.T) {
	one, two := net.Pipe()
	defer one.Close()
	defer two.Close()
	if hastyOf(newLiveConn(tls.Client(one, &tls.Config{}), time.Second, &counters{})) != nil {
		t.Error("a TLS connection could be written to past its encryption")
	}
}

// Nothing gets between the parts of a frame, also where the connection has room again before the writer has come.
func TestFlushKeepsFramesWhole(t *testing.T) {
	cfg := Config{MaxQueueBytes: 1 << 20, FrameBytes: 1 << 10}
	for room := range 40 {
		o, conn := newOutbox(&cfg, &counters{}), &fullConn{room: room}
		o.hasty = conn
		for _, kind := range []wire.Kind{wire.KindPing, wire.KindPong} {
			if _, err := o.add(item{size: wire.EnvelopeOverhead, lazy: true}, func(b []byte) []byte {
				return wire.AppendEmpty(b, kind)
			}); err != nil {
				t.Fatal(err)
			}
			o.flush()
			conn.room = 1000
		}
		if err := o.drain(conn); err != nil {
			t.Fatal(err)
		}
		var want []byte
		for _, kind := range []wire.Kind{wire.KindPing, wire.KindPong} {
			frame := wire.AppendEmpty(wire.BeginFrame(nil), kind)
			wire.SealFrame(frame)
			want = append(want, frame...)
		}
		if string(conn.got) != string(want) {
			t.Fatalf("room for %d bytes: written %x, want %x", room, conn.got, want)
		}
		if sent := o.counters.bytesSent.Load(); sent != uint64(len(want)) {
			t.Errorf("room for %d bytes: %d counted, want %d", room, sent, len(want))
		}
	}
}
