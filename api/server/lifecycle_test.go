package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

// pipeListener is a net.Listener whose connections never leave memory, so that synctest can move their clocks.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// bubble runs fn beside a served Server whose time is synctest's.
func bubble(t *testing.T, cfg server.Config, store server.Store, fn func(t *testing.T, s *server.Server, l *pipeListener), options ...server.Option) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, cfg, store, options...)
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		fn(t, s, l)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// readUntilClosed returns everything that arrives until the server hangs up, and how long that took.
func readUntilClosed(t *testing.T, conn net.Conn) (string, time.Duration) {
	t.Helper()
	started := time.Now()
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("read until closed: %v", err)
	}
	return string(all), time.Since(started)
}

func TestSlowClientsAreCutOff(t *testing.T) {
	cases := []struct {
		name, text string
		after      time.Duration
		answer     string // how it starts
	}{
		{"says nothing", "", 5 * time.Second, ""},
		{"half a request line", "GET /v1/k", 5 * time.Second, "HTTP/1.1 400 "},
		{"half a header", "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX", 5 * time.Second, "HTTP/1.1 400 "},
		{"half a body", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", 30 * time.Second, "HTTP/1.1 408 "},
		{"half a chunk", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf", 30 * time.Second, "HTTP/1.1 408 "},
		{"idle after an answer", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 2 * time.Minute, "HTTP/1.1 200 "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			store := newFakeStore()
			bubble(t, server.Config{}, store, func(t *testing.T, _ *server.Server, l *pipeListener) {
				conn := l.dial()
				defer conn.Close()
				if _, err := io.WriteString(conn, c.text); err != nil {
					t.Fatal(err)
				}
				answer, took := readUntilClosed(t, conn)
				if !strings.HasPrefix(answer, c.answer) || (c.answer == "") != (answer == "") {
					t.Errorf("answer %q", answer)
				}
				if took < c.after || took > c.after+2*time.Second {
					t.Errorf("cut off after %s, want %s", took, c.after)
				}
				if len(store.keys()) != 0 {
					t.Error("half a write was stored")
				}
			})
		})
	}
}

func TestReaderThatStallsIsCutOff(t *testing.T) {
	store := newFakeStore()
	store.items["a"] = server.Item{Key: []byte("a"), Value: make([]byte, 1<<20), Version: 1}
	bubble(t, server.Config{}, store, func(t *testing.T, _ *server.Server, l *pipeListener) {
		conn := l.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Second) // on synctest's clock: the write timeout passes
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStreamOutlivesTheWriteTimeout(t *testing.T) {
	store := newFakeStore()
	store.pageSize = 1
	for _, key := range []string{"a", "b", "c", "d"} {
		store.items[key] = server.Item{Key: []byte(key), Value: []byte{}, Version: 1}
	}
	store.before = func(ctx context.Context, _ string) error {
		select {
		case <-time.After(9 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	bubble(t, server.Config{WriteTimeout: 11 * time.Second}, store, func(t *testing.T, _ *server.Server, l *pipeListener) {
		conn := l.dial()
		defer conn.Close()
		_, body := exchange(t, conn, bufio.NewReader(conn), "GET", "GET /v1/kv HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n")
		if !strings.HasSuffix(body, "{\"end\":true,\"count\":4}\n") {
			t.Errorf("stream was cut: %q", body)
		}
	})
}

func TestStreamErrorCutsTheConnection(t *testing.T) {
	store := newFakeStore()
	store.pageSize = 1
	for _, key := range []string{"a", "b", "c"} {
		store.items[key] = server.Item{Key: []byte(key), Value: []byte{}, Version: 1}
	}
	calls := 0
	store.before = func(context.Context, string) error {
		if calls++; calls == 3 {
			return api.ErrUnavailable
		}
		return nil
	}
	s := newServer(t, server.Config{}, store)
	conn := dial(t, listen(t, s))
	if _, err := io.WriteString(conn, "GET /v1/kv HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the client cannot see that the stream was cut: %v", err)
	}
	if strings.Count(string(body), "\n") != 2 || strings.Contains(string(body), "end") {
		t.Errorf("got %q", body)
	}
	if got := metric(t, s, "ringkv_http_panics_total"); got != "0" {
		t.Errorf("the cut counts as %s panics", got)
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, release := make(chan struct{}), make(chan struct{})
		store := newFakeStore()
		store.before = func(context.Context, string) error {
			close(entered)
			<-release
			return nil
		}
		s := newServer(t, server.Config{}, store)
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		idle, busy := l.dial(), l.dial()
		defer idle.Close()
		defer busy.Close()
		if _, err := io.WriteString(busy, "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(context.Background()) }()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("Shutdown returned while a request was running")
		default:
		}
		close(release)
		answer, _ := readUntilClosed(t, busy)
		if !strings.HasPrefix(answer, "HTTP/1.1 201 ") {
			t.Errorf("answer %q", answer)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestShutdownOutOfPatienceCancelsRequests(t *testing.T) {
	entered := make(chan struct{})
	store := newFakeStore()
	var cause error
	store.before = func(ctx context.Context, _ string) error {
		close(entered)
		<-ctx.Done()
		cause = ctx.Err()
		return cause
	}
	s := newServer(t, server.Config{RequestTimeout: time.Hour, WriteTimeout: 2 * time.Hour}, store)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn := dial(t, l.Addr().String())
	if _, err := io.WriteString(conn, "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("out of patience"))
	if err := s.Shutdown(ctx); err == nil || err.Error() != "out of patience" {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if got := metric(t, s, "ringkv_http_connections"); got != "0" {
		t.Errorf("Shutdown returned with %s connections left", got)
	}
	if !errors.Is(cause, context.Canceled) {
		t.Errorf("the store saw %v", cause)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
}

// TestManyIdleConnections keeps 2,000 of them, half of which have asked something, serves beside them, and stops.
// TestMain's leak check sees any goroutine that stays.
func TestManyIdleConnections(t *testing.T) {
	const count = 2000
	bubble(t, server.Config{}, newFakeStore(), func(t *testing.T, s *server.Server, l *pipeListener) {
		conns := make([]net.Conn, count)
		for i := range conns {
			conns[i] = l.dial()
			if i%2 == 0 {
				get(t, conns[i])
			}
		}
		get(t, conns[0])
		get(t, conns[count-1])
		if got := metric(t, s, "ringkv_http_connections"); got != "2000" {
			t.Errorf("%s connections are counted", got)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if got := metric(t, s, "ringkv_http_connections"); got != "0" {
			t.Errorf("Shutdown returned with %s connections left", got)
		}
		for i, conn := range conns {
			if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("connection %d after Shutdown: %v", i, err)
			}
			conn.Close()
		}
	})
}

// get asks for the node's health.
func get(t *testing.T, conn net.Conn) {
	t.Helper()
	resp, _ := exchange(t, conn, bufio.NewReader(conn), "GET", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
