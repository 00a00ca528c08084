package client

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// idleConn leaves a connection to e idle, and returns its other end.
func idleConn(t *leanTransport, e *endpoint) net.Conn {
	conn, other := net.Pipe()
	t.put(e, &leanConn{Conn: conn})
	return other
}

// closed reports whether the client has closed the connection that ends here.
func closed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now())
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// TestIdleConnectionsAreClosed: connections that lie idle for long are closed while others are in use, also those to a node
// that nobody asks any more.
func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trans := newLeanTransport(time.Second)
		defer trans.closeIdle()
		left, stays := &endpoint{}, &endpoint{}
		var old []net.Conn
		for range 3 {
			old = append(old, idleConn(trans, left), idleConn(trans, stays))
		}
		time.Sleep(maxIdleTime / 2)
		young := idleConn(trans, stays)
		time.Sleep(maxIdleTime/2 + time.Second)
		last := idleConn(trans, stays)
		for i, conn := range old {
			if !closed(conn) {
				t.Errorf("idle connection %d is open after %v", i, maxIdleTime+time.Second)
			}
		}
		if closed(young) || closed(last) {
			t.Error("a connection was closed before its time")
		}
	})
}
