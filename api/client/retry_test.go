package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

// failFirst makes a node answer its first n requests for keys with fail, and returns how to count those seen.
func failFirst(node *clienttest.Node, n int, fail http.HandlerFunc) (seen func() int) {
	var asked atomic.Int64 // requests come on several connections
	node.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, api.PathKV) || asked.Add(1) > int64(n) && n >= 0 {
			return false
		}
		fail(w, r)
		return true
	})
	return func() int { return len(node.Requests()) }
}

func problem(err error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { clienttest.WriteProblem(w, r, err) }
}

func plain(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no problem document", status) }
}

func document(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(text))
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// cutBody promises more than it sends.
func cutBody(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	w.Header().Set("ETag", `"1"`)
	_, _ = w.Write([]byte("only this"))
	panic(http.ErrAbortHandler)
}

// TestWhatIsRepeated has one node fail once in every way there is.
func TestWhatIsRepeated(t *testing.T) {
	for _, test := range []struct {
		name  string
		fail  http.HandlerFunc
		read  error // that a read ends with; nil: it is repeated
		write error // that a write ends with; nil: it is repeated
	}{
		{"unavailable", problem(api.ErrUnavailable), nil, nil},
		{"overloaded", problem(api.ErrOverloaded), nil, nil},
		{"not ready", problem(api.ErrNotReady), nil, nil},
		{"conflict", problem(api.ErrConflict), nil, nil},
		{"unknown outcome", problem(api.ErrUnknownOutcome), nil, client.ErrUnknownOutcome},
		{"internal", problem(api.ErrInternal), nil, client.ErrUnknownOutcome},
		{"corrupt", problem(api.ErrCorrupt), nil, client.ErrUnknownOutcome},
		{"disk full", problem(api.ErrDiskFull), nil, api.ErrDiskFull},
		{"condition", problem(&api.ConditionError{Version: 3}), client.ErrConditionFailed, client.ErrConditionFailed},
		{"invalid", problem(api.ErrInvalid), api.ErrInvalid, api.ErrInvalid},
		{"plain 400", plain(400), api.ErrInvalid, api.ErrInvalid},
		{"plain 431", plain(431), api.ErrInvalid, api.ErrInvalid},
		{"plain 500", plain(500), nil, client.ErrUnknownOutcome},
		{"plain 503", plain(503), nil, client.ErrUnknownOutcome},
		{"retryable, outcome unknown", document(`{"status":503,"code":"x","retryable":true,"outcome":"unknown"}`), nil, client.ErrUnknownOutcome},
		{"retryable, outcome missing", document(`{"status":503,"code":"x","retryable":true}`), nil, client.ErrUnknownOutcome},
		{"connection cut", hangUp, nil, client.ErrUnknownOutcome},
		{"body cut", cutBody, nil, client.ErrUnknownOutcome},
	} {
		t.Run(test.name, func(t *testing.T) {
			transports(t, func(t *testing.T, hc *http.Client) {
				cluster := newCluster(t, 1)
				c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true, HTTPClient: hc})
				if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
					t.Fatal(err)
				}
				cluster.Nodes[0].Requests()

				seen := failFirst(cluster.Nodes[0], 1, test.fail)
				_, err := c.Get(t.Context(), "k")
				checkRepeat(t, "get", err, test.read, seen())

				seen = failFirst(cluster.Nodes[0], 1, test.fail)
				_, err = c.Put(t.Context(), "k", []byte("w"))
				checkRepeat(t, "put", err, test.write, seen())

				seen = failFirst(cluster.Nodes[0], 1, test.fail)
				checkRepeat(t, "delete", c.Delete(t.Context(), "k"), test.write, seen())
			})
		})
	}
}

func checkRepeat(t *testing.T, op string, err, want error, requests int) {
	t.Helper()
	wantRequests := 2
	if want != nil {
		wantRequests = 1
	}
	if requests != wantRequests {
		t.Errorf("%s: %d requests, want %d", op, requests, wantRequests)
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", op, err, want)
	}
	if errors.Is(err, client.ErrUnknownOutcome) != (want == client.ErrUnknownOutcome) {
		t.Errorf("%s: unknown or not? %v", op, err)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	cluster := newCluster(t, 1)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true, MaxAttempts: 3})
	seen := failFirst(cluster.Nodes[0], -1, problem(api.ErrUnavailable))
	_, err := c.Put(t.Context(), "k", nil)
	var failed *client.Error
	if !errors.Is(err, client.ErrUnavailable) || !errors.As(err, &failed) || failed.Attempts != 3 ||
		failed.Outcome != api.Aborted {
		t.Errorf("put: %+v", err)
	}
	if n := seen(); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestDeadNodesAreSkippedEvenByWrites(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	transports(t, func(t *testing.T, hc *http.Client) {
		alive := newCluster(t, 1)
		nodes := []string{dead.URL, alive.Addrs()[0]}
		c := newClient(t, client.Config{Nodes: nodes, Direct: true, HTTPClient: hc, Backoff: time.Hour})
		for range 3 {
			if _, err := c.Put(t.Context(), "k", nil); err != nil { // an hour's pause would never end
				t.Fatal(err)
			}
		}
		c = newClient(t, client.Config{Nodes: nodes[:1], Direct: true, HTTPClient: hc, MaxAttempts: 2})
		_, err := c.Put(t.Context(), "k", nil)
		if !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("no node at all: %v", err)
		}
	})
}

// TestRetryAfterBeyondTheDeadline holds that a call does not wait for what it cannot live to see.
func TestRetryAfterBeyondTheDeadline(t *testing.T) {
	cluster := newCluster(t, 1)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true})
	seen := failFirst(cluster.Nodes[0], -1, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "9")
		clienttest.WriteProblem(w, r, api.ErrOverloaded)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if _, err := c.Put(ctx, "k", nil); !errors.Is(err, api.ErrOverloaded) || ctx.Err() != nil {
		t.Errorf("put: %v, context: %v", err, ctx.Err())
	}
	if n := seen(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestCancelled(t *testing.T) {
	transports(t, func(t *testing.T, hc *http.Client) {
		cluster := newCluster(t, 1)
		c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true, HTTPClient: hc})
		ctx, cancel := context.WithCancel(t.Context())
		arrived := make(chan struct{})
		go func() {
			<-arrived
			cancel()
		}()
		cluster.Nodes[0].Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Context().Err() == nil && ctx.Err() == nil {
				close(arrived)
				<-r.Context().Done() // not ctx: an answer could then be faster than the client
			}
			return true
		})
		_, err := c.Put(ctx, "k", nil)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("cancelled under way: %v", err)
		}
		_, err = c.Put(ctx, "k", nil)
		if !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("cancelled before: %v", err)
		}
		cluster.Nodes[0].Intercept(nil)
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Errorf("the client is of no use afterwards: %v", err)
		}
	})
}

// TestFrozenNode holds that a read leaves a node that says nothing, and a write there is unknown.
func TestFrozenNode(t *testing.T) {
	cluster := newCluster(t, 2)
	thaw := make(chan struct{})
	defer close(thaw)
	cluster.Nodes[0].Intercept(func(http.ResponseWriter, *http.Request) bool {
		<-thaw
		return true
	})
	cfg := client.Config{
		Nodes: cluster.Addrs(), Direct: true, ReadTimeout: 50 * time.Millisecond, WriteTimeout: 50 * time.Millisecond,
	}
	if _, err := newClient(t, cfg).Put(t.Context(), "k", nil); !errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("put: %v", err)
	}
	if _, err := newClient(t, cfg).Get(t.Context(), "k"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
}
