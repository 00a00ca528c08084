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
}

func newLiveConn(conn net.Conn, timeout time.Duration, n *counters) *liveConn {
	return &liveConn{Conn: conn, timeout: timeout, counters: n}
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

// hastyConn is a connection's side for writing without waiting.
type hastyConn interface {
	// writeHastily writes as much of b as the connection takes at once, and returns how much that was. Why it took less
	// is for a real write to find out.
	writeHastily(b []byte) int
}

// hastyOf returns conn's, nil if it has none: with TLS any write may have to wait.
func hastyOf(conn net.Conn) hastyConn {
	if live, ok := conn.(*liveConn); ok {
		conn = live.Conn
	}
	sc, ok := conn.(syscall.Conn)
	if !ok || !canTryWrite {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil // it is closed, as the next write will find
	}
	s := &socket{raw: raw}
	s.try = s.tryOnce
	return s
}

// socket is the hastyConn of a connection of the operating system's. It has one writer at a time.
type socket struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // tryOnce, made once
	b   []byte                // to write
	n   int                   // written
}

func (s *socket) writeHastily(b []byte) int {
	s.b, s.n = b, 0
	_ = s.raw.Write(s.try)
	s.b = nil
	return s.n
}

// tryOnce never asks to be called again when the socket is writable.
func (s *socket) tryOnce(fd uintptr) bool {
	s.n = tryWrite(fd, s.b)
	return true
}
