package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/storage"
)

// fakeWatches gives out watches of which a test sends the events.
type fakeWatches struct {
	refuse error

	mu      sync.Mutex
	prefix  string
	cursor  string
	watches []*fakeWatch
	closed  int
}

type fakeWatch struct {
	all    *fakeWatches
	events chan *watch.Event
	end    chan error
	at     int
}

func (f *fakeWatches) Watch(_ context.Context, prefix []byte, cursor string) (server.Watch, error) {
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefix, f.cursor = string(prefix), cursor
	w := &fakeWatch{all: f, events: make(chan *watch.Event, 100), end: make(chan error, 1)}
	f.watches = append(f.watches, w)
	return w, nil
}

func (f *fakeWatches) TxnID(e *watch.Event) string { return "t" + e.Txn.String() }
func (f *fakeWatches) WatchStats() watch.Stats {
	return watch.Stats{Watchers: 3, HeldBytes: 4, Events: 5, Lagged: 6, Resumed: 7}
}

func (w *fakeWatch) Next(ctx context.Context, wait time.Duration) (*watch.Event, error) {
	select {
	case e := <-w.events:
		w.at++
		return e, nil
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case e := <-w.events:
		w.at++
		return e, nil
	case err := <-w.end:
		return nil, err
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (w *fakeWatch) Cursor() string { return fmt.Sprint("c", w.at) }

func (w *fakeWatch) Close() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.all.closed++
}

func change(kind storage.ChangeKind, key, value string) *watch.Event {
	e := &watch.Event{Change: storage.Change{Kind: kind, Key: []byte(key), Version: 17}}
	if kind == storage.ChangePut {
		e.Value = []byte(value)
	}
	return e
}

// lines reads the lines of n events from a stream.
func lines(t *testing.T, r *bufio.Reader, n int) string {
	t.Helper()
	var got strings.Builder
	for n > 0 {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", got.String(), err)
		}
		got.WriteString(line)
		if line == "\n" {
			n--
		}
	}
	return got.String()
}

// watching opens a watch over HTTP in a bubble.
func watching(t *testing.T, l *pipeListener, target string, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	conn := l.dial()
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n", target)
	for _, h := range header {
		fmt.Fprintf(conn, "%s\r\n", h)
	}
	fmt.Fprint(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, bufio.NewReader(resp.Body)
}

func TestWatchStream(t *testing.T) {
	f := &fakeWatches{}
	bubble(t, server.Config{}, newFakeStore(), func(t *testing.T, _ *server.Server, l *pipeListener) {
		resp, r := watching(t, l, "/v1/watch?prefix=acct%2F", "Last-Event-ID: c9")
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", resp.StatusCode, h)
		}
		if f.prefix != "acct/" || f.cursor != "c9" {
			t.Errorf("prefix %q cursor %q", f.prefix, f.cursor)
		}
		w := f.watches[0]
		got := lines(t, r, 1)
		w.events <- change(storage.ChangePut, "a\n\"", "v")
		got += lines(t, r, 1)
		big := change(storage.ChangePut, "b", "")
		big.Value = nil
		byTxn := change(storage.ChangeDelete, "\xff", "")
		byTxn.Txn = storage.TxnID{Node: 1, Incarnation: 2, Seq: 3}
		for _, e := range []*watch.Event{big, byTxn, change(storage.ChangeExpire, "c", "")} {
			w.events <- e
		}
		got += lines(t, r, 3)
		w.end <- watch.ErrLagged
		got += lines(t, r, 1)
		want := `event: ready
data: {"cursor":"c0"}
id: c0

event: put
data: {"key":"a\n\"","value":"v","version":17}
id: c1

event: put
data: {"key":"b","version":17}
id: c2

event: delete
data: {"key_b64":"/w==","version":17,"txn":"t1.2.3"}
id: c3

event: expire
data: {"key":"c","version":17}
id: c4

event: lagged
data: {"cursor":"c4"}
id: c4

`
		if got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
		if rest, err := r.ReadString(0); rest != "" || err.Error() != "EOF" {
			t.Errorf("after lagged: %q, %v", rest, err)
		}
		synctest.Wait()
		if f.closed != 1 {
			t.Errorf("%d watches were closed", f.closed)
		}
	}, server.WithWatches(f))
}

// TestWatchLives: a quiet watch outlives all timeouts of requests, and shows every 10 s that it lives and where it is.
func TestWatchLives(t *testing.T) {
	f := &fakeWatches{}
	cfg := server.Config{ReadTimeout: 12 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: 15 * time.Second}
	bubble(t, cfg, newFakeStore(), func(t *testing.T, _ *server.Server, l *pipeListener) {
		_, r := watching(t, l, "/v1/watch")
		lines(t, r, 1)
		begun := time.Now()
		for i := range 12 {
			if got := lines(t, r, 1); got != ": \nid: c0\n\n" {
				t.Fatalf("got %q", got)
			}
			if since := time.Since(begun); since != time.Duration(i+1)*10*time.Second {
				t.Fatalf("comment %d after %v", i, since)
			}
		}
	}, server.WithWatches(f))
}

// TestWatchClientLeaves: the watch ends when its client does, or takes nothing for too long.
func TestWatchClientLeaves(t *testing.T) {
	f := &fakeWatches{}
	bubble(t, server.Config{}, newFakeStore(), func(t *testing.T, _ *server.Server, l *pipeListener) {
		for _, leave := range []bool{true, false} {
			f.closed = 0
			conn := l.dial()
			fmt.Fprint(conn, "GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
			if leave {
				conn.Close()
			} else {
				time.Sleep(2 * time.Minute) // a pipe holds nothing: the first write blocks
			}
			synctest.Wait()
			if f.closed != 1 {
				t.Errorf("leave %v: %d watches were closed", leave, f.closed)
			}
			conn.Close()
		}
	}, server.WithWatches(f))
}

// TestWatchHTTP10: a client that knows no chunks gets the stream as it is, and its end is that of the connection.
func TestWatchHTTP10(t *testing.T) {
	f := &fakeWatches{}
	bubble(t, server.Config{}, newFakeStore(), func(t *testing.T, _ *server.Server, l *pipeListener) {
		conn := l.dial()
		defer conn.Close()
		fmt.Fprint(conn, "GET /v1/watch HTTP/1.0\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.ProtoMinor != 0 || len(resp.TransferEncoding) > 0 {
			t.Fatalf("%+v, %v", resp, err)
		}
		r := bufio.NewReader(resp.Body)
		lines(t, r, 1)
		f.watches[0].end <- watch.ErrLagged
		if got := lines(t, r, 1); !strings.HasPrefix(got, "event: lagged\n") {
			t.Errorf("got %q", got)
		}
		if rest, err := r.ReadString(0); rest != "" || err.Error() != "EOF" {
			t.Errorf("after lagged: %q, %v", rest, err)
		}
	}, server.WithWatches(f))
}

// TestWatchCut: a stream that breaks has no orderly end.
func TestWatchCut(t *testing.T) {
	f := &fakeWatches{}
	bubble(t, server.Config{}, newFakeStore(), func(t *testing.T, _ *server.Server, l *pipeListener) {
		_, r := watching(t, l, "/v1/watch")
		lines(t, r, 1)
		f.watches[0].end <- errors.New("broken")
		if rest, err := r.ReadString(0); rest != "" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after a fault: %q, %v", rest, err)
		}
	}, server.WithWatches(f))
}

// TestWatchShutdown: streams end at once, in order, and say where to go on.
func TestWatchShutdown(t *testing.T) {
	f := &fakeWatches{}
	bubble(t, server.Config{}, newFakeStore(), func(t *testing.T, s *server.Server, l *pipeListener) {
		_, r := watching(t, l, "/v1/watch")
		lines(t, r, 1)
		done := make(chan error, 1)
		begun := time.Now()
		go func() { done <- s.Shutdown(t.Context()) }()
		if got := lines(t, r, 1); got != ": \nid: c0\n\n" {
			t.Errorf("got %q", got)
		}
		if rest, err := r.ReadString(0); rest != "" || err.Error() != "EOF" {
			t.Errorf("got %q, %v", rest, err)
		}
		if err := <-done; err != nil || time.Since(begun) > time.Second {
			t.Errorf("shutdown: %v after %v", err, time.Since(begun))
		}
	}, server.WithWatches(f))
}

func TestWatchRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		call   call
		refuse error
		status int
		code   api.Code
	}{
		{"unknown parameter", call{target: "/v1/watch?key=a"}, nil, 400, api.CodeInvalid},
		{"prefix twice", call{target: "/v1/watch?prefix=a&prefix=b"}, nil, 400, api.CodeInvalid},
		{"prefix too long", call{target: "/v1/watch?prefix=" + strings.Repeat("a", 1025)}, nil, 413, api.CodeTooLarge},
		{"two cursors", call{target: "/v1/watch", header: []string{"Last-Event-ID: a", "Last-Event-ID: b"}}, nil, 400, api.CodeInvalid},
		{"another verb", call{method: "POST", target: "/v1/watch"}, nil, 405, api.CodeMethod},
		{"HEAD", call{method: "HEAD", target: "/v1/watch"}, nil, 405, api.CodeMethod},
		{"too old", call{target: "/v1/watch"}, api.ErrCursorTooOld, 410, api.CodeCursorTooOld},
		{"too many", call{target: "/v1/watch"}, &api.QuotaError{What: "watches", Limit: 9}, 429, api.CodeTooManyRequests},
		{"no leader", call{target: "/v1/watch"}, api.ErrUnavailable, 503, api.CodeUnavailable},
		{"in vain", call{target: "/v1/watch"}, context.DeadlineExceeded, 503, api.CodeUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.call
			if c.method == "" {
				c.method = "GET"
			}
			w := do(t, newServer(t, server.Config{}, newFakeStore(), server.WithWatches(&fakeWatches{refuse: tt.refuse})), c)
			if c.method == "HEAD" {
				if w.Code != tt.status || w.Header().Get("Allow") != "GET" {
					t.Errorf("%d %v", w.Code, w.Header())
				}
				return
			}
			p := problem(t, c.method, w)
			if w.Code != tt.status || p.Code != tt.code {
				t.Errorf("%d %s, want %d %s", w.Code, p.Code, tt.status, tt.code)
			}
			var quota *api.QuotaError
			if tt.status == 429 && (!errors.As(p, &quota) || quota.Limit != 9) {
				t.Errorf("problem %+v does not name the limit", p)
			}
		})
	}
}

func TestWatchMetrics(t *testing.T) {
	w := do(t, newServer(t, server.Config{}, newFakeStore(), server.WithWatches(&fakeWatches{})), call{method: "GET", target: "/metrics"})
	for _, want := range []string{"ringkv_watchers 3", "ringkv_watch_queue_bytes 4", "ringkv_watch_events_total 5", "ringkv_watch_lagged_total 6", "ringkv_watch_resumed_total 7"} {
		if !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("no %q", want)
		}
	}
}
