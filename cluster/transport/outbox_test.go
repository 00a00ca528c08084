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
	room   int
	got    []byte
	writes int   // that did not wait
	err    error // of a write that waits
}

func (c *fullConn) writeHastily(b []byte) int {
	c.writes++
	n := min(c.room, len(b))
	c.room -= n
	c.got = append(c.got, b[:n]...)
	return n
}

func (c *fullConn) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
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
	full := false
	for range 1000 { // until the buffers of both ends are full
		n := conn.writeHastily(chunk)
		sent += n
		if full = n == 0; full {
			break
		}
	}
	if !full {
		t.Errorf("%d bytes taken by a connection that nobody reads", sent)
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
			addLazily(t, o, kind)
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

func addLazily(t *testing.T, o *outbox, kind wire.Kind) {
	t.Helper()
	_, err := o.add(item{size: wire.EnvelopeOverhead, lazy: true}, func(b []byte) []byte { return wire.AppendEmpty(b, kind) })
	if err != nil {
		t.Fatal(err)
	}
}

// The writer is woken for what a flush leaves to it, and only then.
func TestFlushWakesTheWriterForTheRest(t *testing.T) {
	cfg := Config{MaxQueueBytes: 1 << 20, FrameBytes: wire.FrameHeader + wire.EnvelopeOverhead} // one item each
	for name, c := range map[string]struct {
		room   int
		frames int
		woken  bool
	}{
		"all is written":      {room: 1000, frames: 1},
		"a part is written":   {room: 5, frames: 1, woken: true},
		"nothing is written":  {frames: 1, woken: true},
		"several frames wait": {room: 1000, frames: 2, woken: true},
		"nothing waits":       {room: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			o, conn := newOutbox(&cfg, &counters{}), &fullConn{room: c.room}
			o.hasty = conn
			for range 2 {
				addLazily(t, o, wire.KindPing)
			}
			for range 2 - c.frames { // the writer was quicker
				o.take()
			}
			o.flush()
			if woken := len(o.wake) > 0; woken != c.woken {
				t.Errorf("woken: %v", woken)
			}
		})
	}
}

// After a failed write a frame may be cut off, and nothing may follow it.
func TestNothingFollowsAFailedWrite(t *testing.T) {
	cfg := Config{MaxQueueBytes: 1 << 20, FrameBytes: 1 << 10}
	o, conn := newOutbox(&cfg, &counters{}), &fullConn{room: 1000, err: io.ErrClosedPipe}
	o.hasty = conn
	addLazily(t, o, wire.KindPing)
	if err := o.drain(conn); err == nil {
		t.Fatal("the failure is not told")
	}
	addLazily(t, o, wire.KindPong)
	o.flush()
	if len(conn.got) > 0 {
		t.Errorf("%x was written", conn.got)
	}
}
