package server

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

// watchLine is the connection of a watch, taken out of net/http's hands: a request that it answers holds 10 KiB of buffers,
// the header, and a stack as deep as the handlers', all of which an idle watch can do without. It costs a third so
// (TestIdleWatchersAreCheap).
type watchLine struct {
	s       *Server
	conn    net.Conn
	chunked bool // the client knows HTTP/1.1; else the end of the connection is the end of the answer
}

// takeOver makes a request's connection a line. Whoever gets it calls connEnded after closing it.
func (s *Server) takeOver(c echo.Context) (*watchLine, error) {
	s.conns.Add(1) // beside net/http's own, which ends with Hijack
	s.metrics.conns.Inc()
	conn, _, err := c.Response().Hijack()
	if err != nil {
		s.connEnded()
		return nil, err
	}
	c.Response().Committed = true
	return &watchLine{s: s, conn: conn, chunked: c.Request().ProtoAtLeast(1, 1)}, nil
}

// connEnded counts the end of a connection's last goroutine.
func (s *Server) connEnded() {
	s.metrics.conns.Dec()
	s.conns.Done()
}

// listen calls left when the client closes the connection, and closes it when life ends. stop closes it and waits.
func (l *watchLine) listen(life context.Context, left func()) (stop func()) {
	var reading sync.WaitGroup
	reading.Go(func() {
		var b [16]byte // what a client sends after its request is of no interest
		for {
			if _, err := l.conn.Read(b[:]); err != nil {
				left()
				return
			}
		}
	})
	stopWaiting := context.AfterFunc(life, func() { _ = l.conn.Close() })
	return func() {
		stopWaiting()
		_ = l.conn.Close()
		reading.Wait()
	}
}

// begin sends the header of the answer.
func (l *watchLine) begin() error {
	head := "HTTP/1.0 200 OK\r\n"
	if l.chunked {
		head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	}
	head += api.HeaderContentType + ": " + api.TypeEventStream + "\r\n" +
		headerCacheControl + ": no-store\r\n" + headerNoSniff + ": nosniff\r\n" +
		"Date: " + time.Now().UTC().Format(http.TimeFormat) + "\r\nConnection: close\r\n\r\n"
	return l.write([]byte(head))
}

// send sends a part of the answer.
func (l *watchLine) send(b []byte) error {
	if !l.chunked {
		return l.write(b)
	}
	buf := l.s.buffer()
	defer l.s.release(buf)
	*buf = strconv.AppendInt((*buf)[:0], int64(len(b)), 16)
	*buf = append(append(append(*buf, "\r\n"...), b...), "\r\n"...)
	return l.write(*buf)
}

// end sends the answer's end.
func (l *watchLine) end() error {
	if !l.chunked {
		return nil
	}
	return l.write([]byte("0\r\n\r\n"))
}

// write gives up a client that takes nothing for as long as WriteTimeout.
func (l *watchLine) write(b []byte) error {
	_ = l.conn.SetWriteDeadline(time.Now().Add(l.s.cfg.WriteTimeout))
	_, err := l.conn.Write(b)
	return err
}

// survive keeps a panic from ending more than its own goroutine, as net/http does.
func (s *Server) survive() {
	if reason := recover(); reason != nil {
		s.metrics.panics.Inc()
		s.cfg.Logger.Error("handler panicked", "reason", reason, "stack", string(debug.Stack()))
	}
}
