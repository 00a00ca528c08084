package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// maxIdleConns bounds the idle connections kept to one node; further ones are closed after use.
	maxIdleConns = 512
	// maxIdleTime is how long a connection may lie idle; shorter than any node keeps it, so that it seldom is the node
	// that hangs up.
	maxIdleTime = 30 * time.Second
	// inlineBody is up to which size a body is copied behind its header, to leave in the same system call.
	inlineBody = 32 << 10
	// maxInterim bounds the 1xx answers before the real one.
	maxInterim = 4
)

// leanTransport is an HTTP/1.1 client transport for plain TCP in which the caller's goroutine itself writes the request
// and reads the answer: no goroutines per connection, one system call each way.
// Answers that are not of the plainest kind are parsed by net/http.
// It follows no redirects, knows no proxies and no TLS, and never sends a request twice.
//
// A connection that lies idle is watched by nobody; it is checked for an end of stream when it is taken, so that a
// request is not written into a connection that the node is known to have left.
type leanTransport struct {
	dialer net.Dialer

	mu     sync.Mutex                // guards what follows
	idle   map[*endpoint][]*leanConn // those that were used last at the end
	swept  time.Time                 // when it was last looked for old ones
	closed bool
}

func newLeanTransport(dialTimeout time.Duration) *leanTransport {
	return &leanTransport{dialer: net.Dialer{Timeout: dialTimeout}, idle: make(map[*endpoint][]*leanConn)}
}

// leanConn is one connection, owned by one exchange at a time.
type leanConn struct {
	net.Conn
	limited io.LimitedReader // of Conn; N is what the answer being read may still hold
	br      *bufio.Reader    // of limited
	out     []byte           // the request, assembled
	idleAt  time.Time
}

func (t *leanTransport) roundTrip(
	ctx context.Context, e *endpoint, req *request, deadline time.Time,
) (*response, bool, error) {
	c, err := t.take(ctx, e, deadline)
	if err != nil {
		return nil, false, err
	}
	stop := interruptible(ctx, c)
	resp, sent, reusable, err := c.exchange(e, req)
	if !stop() { // interrupted, perhaps this moment: the deadline of c is no longer ours to set
		reusable = false
	}
	if reusable {
		t.put(e, c)
	} else {
		_ = c.Close()
	}
	return resp, sent, err
}

// interruptible makes the end of ctx break off what is under way on c, until stop is called. stop reports false if
// that has happened or is happening.
func interruptible(ctx context.Context, c *leanConn) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// take returns an idle connection to e that is still open, or a new one, with the deadline set.
func (t *leanTransport) take(ctx context.Context, e *endpoint, deadline time.Time) (*leanConn, error) {
	for c := t.pop(e); c != nil; c = t.pop(e) {
		if c.SetDeadline(deadline) == nil && time.Since(c.idleAt) < maxIdleTime && quiet(c.Conn) {
			return c, nil
		}
		_ = c.Close()
	}
	return t.dial(ctx, e, deadline)
}

func (t *leanTransport) dial(ctx context.Context, e *endpoint, deadline time.Time) (*leanConn, error) {
	d := t.dialer
	d.Deadline = deadline
	conn, err := d.DialContext(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	c := &leanConn{Conn: conn, limited: io.LimitedReader{R: conn}}
	c.br = bufio.NewReader(&c.limited)
	return c, c.SetDeadline(deadline)
}

// pop takes the connection to e that was used last, nil if there is none.
func (t *leanTransport) pop(e *endpoint) *leanConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	stack := t.idle[e]
	if len(stack) == 0 {
		return nil
	}
	c := stack[len(stack)-1]
	stack[len(stack)-1] = nil
	t.idle[e] = stack[:len(stack)-1]
	return c
}

// put keeps c for the next exchange with e, and closes what has been idle for too long.
func (t *leanTransport) put(e *endpoint, c *leanConn) {
	c.idleAt = time.Now()
	for _, old := range t.push(e, c) {
		_ = old.Close()
	}
}

// push stores c and returns the connections that are to be closed.
func (t *leanTransport) push(e *endpoint, c *leanConn) (surplus []*leanConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.idle[e]) >= maxIdleConns {
		return []*leanConn{c}
	}
	t.idle[e] = append(t.idle[e], c)
	if c.idleAt.Sub(t.swept) <= maxIdleTime {
		return nil
	}
	return t.sweep(c.idleAt)
}

// sweep takes out what has been idle for too long, whatever node it leads to: one that has left is never asked again.
func (t *leanTransport) sweep(now time.Time) (old []*leanConn) {
	t.swept = now
	for e, stack := range t.idle {
		n := 0
		for n < len(stack) && now.Sub(stack[n].idleAt) > maxIdleTime {
			n++
		}
		old = append(old, stack[:n]...)
		if t.idle[e] = slices.Delete(stack, 0, n); len(t.idle[e]) == 0 {
			delete(t.idle, e)
		}
	}
	return old
}

// closeIdle closes all idle connections; from now on none is kept.
func (t *leanTransport) closeIdle() {
	t.mu.Lock()
	idle := t.idle
	t.idle, t.closed = make(map[*endpoint][]*leanConn), true
	t.mu.Unlock()
	for _, stack := range idle {
		for _, c := range stack {
			_ = c.Close()
		}
	}
}

// exchange writes req and reads the answer. sent is false only if nothing was written; reusable is true if c stands at
// the end of a complete answer and may carry another.
func (c *leanConn) exchange(e *endpoint, req *request) (resp *response, sent, reusable bool, err error) {
	n, werr := c.write(e, req)
	if n == 0 && werr != nil {
		return nil, false, false, werr
	}
	// A node may answer, and hang up, before it has read all of a body that it refuses.
	resp, reusable, err = c.read(req.method)
	if err != nil && werr != nil {
		err = werr
	}
	return resp, true, reusable && werr == nil, err
}

// write sends req and returns how many bytes of it the kernel took.
func (c *leanConn) write(e *endpoint, req *request) (int64, error) {
	c.out = appendRequestHead(c.out[:0], e, req)
	if len(req.body) <= inlineBody {
		c.out = append(c.out, req.body...)
		n, err := c.Write(c.out)
		return int64(n), err
	}
	buffers := net.Buffers{c.out, req.body}
	return buffers.WriteTo(c.Conn)
}

// appendRequestHead appends req's request line and headers, the empty line included.
func appendRequestHead(dst []byte, e *endpoint, req *request) []byte {
	dst = append(dst, req.method...)
	dst = append(dst, ' ')
	dst = append(dst, req.target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, e.addr...)
	dst = append(dst, "\r\n"...)
	for name, values := range req.header {
		for _, value := range values {
			dst = append(dst, name...)
			dst = append(dst, ": "...)
			dst = append(dst, value...)
			dst = append(dst, "\r\n"...)
		}
	}
	if req.method == http.MethodPut || len(req.body) > 0 {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(req.body)), 10)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// read reads one whole answer to a request with method.
func (c *leanConn) read(method string) (resp *response, reusable bool, err error) {
	c.limited.N = maxHeaderBytes
	if _, err := c.br.Peek(1); err != nil {
		return nil, false, headError(err)
	}
	buffered, _ := c.br.Peek(c.br.Buffered())
	if h, ok := parseHead(buffered); ok && h.length <= maxBodyBytes {
		return c.readPlain(h)
	}
	return c.readAny(method)
}

// readPlain reads the answer whose head h still stands in the buffer.
func (c *leanConn) readPlain(h head) (*response, bool, error) {
	_, _ = c.br.Discard(h.bytes) // buffered
	c.limited.N = int64(h.length)
	resp := h.resp
	resp.body = make([]byte, h.length)
	if _, err := io.ReadFull(c.br, resp.body); err != nil {
		return nil, false, fmt.Errorf("body: %w", unexpectedEOF(err))
	}
	return &resp, !h.closes && c.br.Buffered() == 0, nil
}

// readAny reads an answer of any kind with net/http.
func (c *leanConn) readAny(method string) (*response, bool, error) {
	hresp, err := c.readHead(method)
	if err != nil {
		return nil, false, err
	}
	c.limited.N = maxBodyBytes + maxHeaderBytes
	resp := responseFrom(hresp)
	resp.body, err = readBody(hresp)
	_ = hresp.Body.Close()
	if err != nil {
		return nil, false, fmt.Errorf("body: %w", unexpectedEOF(err))
	}
	return resp, !hresp.Close && c.br.Buffered() == 0, nil
}

// readHead reads the status line and headers of the final answer.
func (c *leanConn) readHead(method string) (*http.Response, error) {
	c.limited.N = maxHeaderBytes
	for range maxInterim {
		hresp, err := http.ReadResponse(c.br, &http.Request{Method: method})
		switch {
		case err != nil && c.limited.N <= 0:
			return nil, fmt.Errorf("%w: headers of more than %d bytes", errMalformed, maxHeaderBytes)
		case err != nil:
			return nil, headError(err)
		case hresp.StatusCode == http.StatusSwitchingProtocols:
			return nil, fmt.Errorf("%w: status %d", errMalformed, hresp.StatusCode)
		case hresp.StatusCode >= http.StatusOK:
			return hresp, nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d interim answers", errMalformed, maxInterim)
}

// headError tells a connection that failed from an answer that is no HTTP.
func headError(err error) error {
	var netErr net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("connection ended before the answer: %w", io.ErrUnexpectedEOF)
	}
	if errors.As(err, &netErr) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", errMalformed, err)
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
