package transport

import (
	"net"
	"testing"

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
