package transport

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// liveConn gives every read a deadline, so that a stream on which nothing arrives for timeout ends. It has one reader.
type liveConn struct {
	net.Conn
	timeout  time.Duration
	set      time.Time   // when the deadline was set; used by the reader only
	heard    atomic.Bool // something arrived since it was last cleared
	counters *counters
	raw      syscall.RawConn // nil for a connection that is none of the system's own: with TLS every write may have to wait
}

func newLiveConn(conn net.Conn, timeout time.Duration, n *counters) *liveConn {
	c := &liveConn{Conn: conn, timeout: timeout, counters: n}
	if sc, ok := conn.(syscall.Conn); ok {
		c.raw, _ = sc.SyscallConn() // it fails where conn is closed, as the first read will
	}
	return c
}

// hastyConn can be written to without waiting.
type hastyConn interface {
	// writeHastily writes as much of b as the connection takes at once, and returns how much that was. Why it took less
	// is for a real write to find out.
	writeHastily(b []byte) int
}

func (c *liveConn) writeHastily(b []byte) (n int) {
	if c.raw == nil {
		return 0
	}
	_ = c.raw.Write(func(fd uintptr) bool {
		n = tryWrite(fd, b)
		return true // never wait for it to become writable
	})
	return n
}

// Read moves the deadline at most sixteen times per timeout: setting it costs as much as reading a small frame.
func (c *liveConn) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(c.set) > c.timeout/16 {
		if err := c.SetReadDeadline(now.Add(c.timeout)); err != nil {
			return 0, err
		}
		c.set = now
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.counters.bytesReceived.Add(uint64(n))
		c.heard.Store(true)
	}
	return n, err
}

// stallConn gives every single read and write a deadline: for plain HTTP bodies, which may last long in total.
type stallConn struct {
	net.Conn
	timeout time.Duration
}

func (c stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
