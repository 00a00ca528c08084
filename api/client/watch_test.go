package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

// watched is a cluster with a client and a watcher of prefix a.
func watched(t *testing.T, nodes int, opts ...client.WatchOption) (*clienttest.Cluster, *client.Client, *client.Watcher) {
	t.Helper()
	cluster := clienttest.New(nodes)
	t.Cleanup(cluster.Close)
	c := newClient(t, client.Config{Nodes: cluster.Addrs()})
	w, err := c.Watch(t.Context(), "a", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return cluster, c, w
}

func nextEvent(t *testing.T, w *client.Watcher) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	e, err := w.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if e.Cursor != w.Cursor() {
		t.Errorf("event's cursor %q, watcher's %q", e.Cursor, w.Cursor())
	}
	return fmt.Sprintf("%s %s=%s v%d %s", e.Kind, e.Key, e.Value, e.Version, e.Txn)
}

func mustPut(t *testing.T, c *client.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	_, c, w := watched(t, 1)
	mustPut(t, c, "a\xff", "x")
	mustPut(t, c, "b", "x")
	if err := c.Delete(t.Context(), "a\xff"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Transact(t.Context(), client.NewTxn().Put("a1", nil).Put("b1", nil)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"put a\xff=x v1 ", "delete a\xff= v3 ", "put a1= v4 fake-1"} {
		if got := nextEvent(t, w); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	again, err := c.Watch(t.Context(), "a", client.WatchFrom("w2"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := nextEvent(t, again); got != "delete a\xff= v3 " {
		t.Errorf("resumed: got %q", got)
	}
}

// TestWatchGoesOnElsewhere: nodes cut streams at every byte, answer 503, or not at all; every change comes once.
func TestWatchGoesOnElsewhere(t *testing.T) {
	cluster, c, w := watched(t, 3)
	var cut atomic.Int64
	for _, n := range cluster.Nodes {
		n.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, api.PathWatch) {
				return false
			}
			k := cut.Add(1)
			switch k % 7 {
			case 0:
				clienttest.WriteProblem(rw, r, api.ErrUnavailable)
			case 1:
				panic(http.ErrAbortHandler)
			default:
				n.Answer(&cutting{ResponseWriter: rw, left: int(40 + 37*k%400)}, r)
			}
			return true
		})
		n.CloseClientConnections()
	}
	for i := range 60 {
		mustPut(t, c, fmt.Sprint("a", i), "x")
	}
	for i := range 60 {
		if got, want := nextEvent(t, w), fmt.Sprintf("put a%d=x v%d ", i, i+1); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if cut.Load() < 10 {
		t.Errorf("only %d streams", cut.Load())
	}
}

// cutting ends an answer in its midst.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(b []byte) (int, error) {
	if len(b) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func (c *cutting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// TestWatchLagged: a watcher that was given up goes on at once, from the cursor that it was given.
func TestWatchLagged(t *testing.T) {
	cluster := clienttest.New(1)
	defer cluster.Close()
	c := newClient(t, client.Config{Nodes: cluster.Addrs()})
	mustPut(t, c, "a1", "x")
	mustPut(t, c, "a2", "x")
	var first atomic.Bool
	cluster.Nodes[0].Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, api.PathWatch) || first.Swap(true) {
			return false
		}
		rw.Header().Set("Content-Type", api.TypeEventStream)
		fmt.Fprint(rw, "event: ready\r\ndata: {\"cursor\":\"w0\"}\r\nid: w0\r\n\r\n: comment\nid: w1\n\nevent: new kind\ndata: ?\n\nevent: lagged\ndata: {}\nid: w1\n\n")
		return true
	})
	w, err := c.Watch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if got := nextEvent(t, w); got != "put a2=x v2 " {
		t.Errorf("got %q", got)
	}
}

func TestWatchErrors(t *testing.T) {
	cluster, c, w := watched(t, 2)
	cluster.ForgetChanges()
	for _, n := range cluster.Nodes {
		n.CloseClientConnections()
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, client.ErrCursorTooOld) {
		t.Errorf("next: %v, want ErrCursorTooOld", err)
	}
	for _, tt := range []struct {
		cursor string
		want   error
	}{{"w0", client.ErrCursorTooOld}, {"x", api.ErrInvalid}} {
		if _, err := c.Watch(t.Context(), "a", client.WatchFrom(tt.cursor)); !errors.Is(err, tt.want) {
			t.Errorf("cursor %q: %v, want %v", tt.cursor, err, tt.want)
		}
	}
	var quota *api.QuotaError
	for _, n := range cluster.Nodes {
		n.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			clienttest.WriteProblem(rw, r, &api.QuotaError{What: "watches", Limit: 3})
			return true
		})
	}
	quick := newClient(t, client.Config{Nodes: cluster.Addrs(), MaxAttempts: 3, Backoff: time.Millisecond})
	if _, err := quick.Watch(t.Context(), "a"); !errors.As(err, &quota) || quota.Limit != 3 {
		t.Errorf("full nodes: %v", err)
	}
}

func TestWatchEnds(t *testing.T) {
	_, c, w := watched(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	mustPut(t, c, "a", "x")
	if got := nextEvent(t, w); got != "put a=x v1 " { // it goes on where it was
		t.Errorf("got %q", got)
	}
	time.AfterFunc(20*time.Millisecond, w.Close)
	if _, err := w.Next(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	other, err := c.Watch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = c.Close() })
	if _, err := other.Next(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("closed client: %v, want ErrClosed", err)
	}
}

// FuzzEventStream: whatever a node sends, Next returns events or errors, and never more than the stream had.
func FuzzEventStream(f *testing.F) {
	f.Add("event: ready\ndata: {\"cursor\":\"w0\"}\nid: w0\n\nevent: put\ndata: {\"key\":\"a\",\"value\":\"1\",\"version\":1}\nid: w1\n\n")
	f.Add("event: ready\nid: x\n\n: \nid: y\n\nevent: delete\ndata: {\"key_b64\":\"/w==\",\ndata: \"version\":1}\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		served := make(chan struct{}, 1)
		tr := roundTripper(func(r *http.Request) (*http.Response, error) {
			select {
			case served <- struct{}{}:
			default:
				return nil, errors.New("no more")
			}
			return &http.Response{
				StatusCode: 200, Header: http.Header{"Content-Type": {api.TypeEventStream}}, Request: r, ContentLength: -1,
				Body: struct {
					*strings.Reader
					noClose
				}{strings.NewReader(stream), noClose{}},
			}, nil
		})
		c := newClient(t, client.Config{Nodes: []string{"n1:1"}, Direct: true, MaxAttempts: 1, HTTPClient: &http.Client{Transport: tr}})
		w, err := c.Watch(t.Context(), "")
		if err != nil {
			return
		}
		defer w.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range strings.Count(stream, "\n") + 2 {
			if _, err := w.Next(ctx); err != nil {
				return
			}
		}
		t.Error("more events than lines")
	})
}

type noClose struct{}

func (noClose) Close() error { return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
