package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

func TestStoreErrors(t *testing.T) {
	cases := []struct {
		name      string
		err       error
		code      api.Code // of a read
		outcome   api.Outcome
		retryable bool
		writeCode api.Code // where it differs
	}{
		{"unavailable", fmt.Errorf("partition 7: %w", api.ErrUnavailable), api.CodeUnavailable, api.Aborted, true, ""},
		{"overloaded", api.ErrOverloaded, api.CodeOverloaded, api.Aborted, true, ""},
		{"not ready", api.ErrNotReady, api.CodeNotReady, api.Aborted, true, ""},
		{"conflict", api.ErrConflict, api.CodeConflict, api.Aborted, true, ""},
		{"disk full", api.ErrDiskFull, api.CodeDiskFull, api.Aborted, false, ""},
		{"too large", &api.LimitError{What: "entry", Limit: 10, Actual: 11}, api.CodeTooLarge, api.Aborted, false, ""},
		{"corrupt", api.ErrCorrupt, api.CodeCorrupt, api.Unknown, false, ""},
		{"unknown outcome", api.ErrUnknownOutcome, api.CodeUnknownOutcome, api.Unknown, false, ""},
		{"unknown beats known", errors.Join(api.ErrUnavailable, api.ErrUnknownOutcome), api.CodeUnknownOutcome, api.Unknown, false, ""},
		{"deadline", context.DeadlineExceeded, api.CodeUnavailable, api.Unknown, false, api.CodeUnknownOutcome},
		{"deadline with a verdict", fmt.Errorf("%w: %w", api.ErrUnavailable, context.DeadlineExceeded), api.CodeUnavailable, api.Aborted, true, ""},
		{"cancelled", context.Canceled, api.CodeUnavailable, api.Unknown, false, api.CodeUnknownOutcome},
		{"anything else", errors.New("secret path"), api.CodeInternal, api.Unknown, false, ""},
	}
	calls := []call{
		{method: "GET", target: "/v1/kv/k"}, {method: "GET", target: "/v1/kv"},
		{method: "GET", target: "/v1/kv", header: []string{"Accept: application/x-ndjson"}},
		{method: "GET", target: "/v1/cluster"}, {method: "GET", target: "/v1/ring"},
		{method: "PUT", target: "/v1/kv/k", body: "v"}, {method: "DELETE", target: "/v1/kv/k"},
	}
	for _, c := range cases {
		for _, call := range calls {
			t.Run(c.name+" "+call.method+" "+call.target, func(t *testing.T) {
				store := newFakeStore()
				store.before = func(context.Context, string) error { return c.err }
				w := do(t, newServer(t, server.Config{}, store), call)
				p := problem(t, call.method, w)
				code, retryable := c.code, c.retryable
				if call.method != "GET" {
					if c.writeCode != "" {
						code = c.writeCode
					}
					if p.Outcome != c.outcome {
						t.Errorf("outcome %q, want %q", p.Outcome, c.outcome)
					}
				} else if c.writeCode != "" {
					retryable = true
				}
				if p.Code != code || p.Retryable != retryable || p.Status != code.Status() {
					t.Errorf("got %+v", p)
				}
				if strings.Contains(p.Detail, "secret") {
					t.Errorf("detail shows an inner error: %q", p.Detail)
				}
			})
		}
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			var log bytes.Buffer
			store := newFakeStore()
			store.before = func(context.Context, string) error { panic("broken invariant") }
			s := newServer(t, server.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, store)
			w := do(t, s, call{method: method, target: "/v1/kv/k", body: "v"})
			p := problem(t, method, w)
			if p.Code != api.CodeInternal || (method != "GET" && p.Outcome != api.Unknown) {
				t.Errorf("got %+v", p)
			}
			if strings.Contains(p.Detail, "invariant") || !strings.Contains(log.String(), "broken invariant") {
				t.Errorf("detail %q, log %q", p.Detail, log.String())
			}
			metrics := do(t, s, call{method: "GET", target: "/metrics"}).Body.String()
			if !strings.Contains(metrics, "ringkv_http_panics_total 1") || !strings.Contains(metrics, "ringkv_http_in_flight 1") {
				t.Error("the panic is not counted, or its request still counts as running") // the scrape itself is in flight
			}
		})
	}
}

func TestRequestTimeoutReachesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		store.before = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s := newServer(t, server.Config{RequestTimeout: 3 * time.Second}, store)
		for method, want := range map[string]int{"GET": 503, "PUT": 504, "DELETE": 504} {
			started := time.Now()
			w := do(t, s, call{method: method, target: "/v1/kv/k"})
			if took := time.Since(started); w.Code != want || took != 3*time.Second {
				t.Errorf("%s: %d after %s", method, w.Code, took)
			}
		}
	})
}

// TestLeavingReachesTheStore: whoever hangs up is not waited for, and others are.
func TestLeavingReachesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		ends := make(chan error, 2)
		store.before = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			ends <- context.Cause(ctx)
			return ctx.Err()
		}
		s := newServer(t, server.Config{}, store)
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			begun := time.Now()
			leaver, leave := context.WithCancelCause(t.Context())
			var requests sync.WaitGroup
			for _, ctx := range []context.Context{leaver, t.Context()} {
				r := httptest.NewRequestWithContext(ctx, method, "/v1/kv/k", nil)
				requests.Go(func() { s.ServeHTTP(httptest.NewRecorder(), r) })
			}
			time.Sleep(time.Second)
			left := errors.New("left")
			leave(left)
			if err := <-ends; !errors.Is(err, left) || time.Since(begun) > time.Second+100*time.Millisecond {
				t.Errorf("%s: ended with %v after %s", method, err, time.Since(begun))
			}
			if err := <-ends; !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 10*time.Second+100*time.Millisecond {
				t.Errorf("%s that stays: ended with %v after %s", method, err, time.Since(begun))
			}
			requests.Wait()
		}
	})
}

func TestReady(t *testing.T) {
	store := newFakeStore()
	s := newServer(t, server.Config{}, store)
	if w := do(t, s, call{method: "GET", target: "/readyz"}); w.Code != 200 || w.Body.String() != "{\"status\":\"ready\"}\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	store.before = func(context.Context, string) error { return errors.New("partition 9 has no leader") }
	w := do(t, s, call{method: "GET", target: "/readyz"})
	if p := problem(t, "GET", w); w.Code != 503 || p.Code != api.CodeNotReady || p.Detail != "partition 9 has no leader" {
		t.Errorf("%d %+v", w.Code, p)
	}
	if w := do(t, s, call{method: "GET", target: "/healthz"}); w.Code != 200 {
		t.Errorf("healthz while not ready: %d", w.Code)
	}
}

func TestConfigIsChecked(t *testing.T) {
	bad := []server.Config{
		{MaxValueBytes: -1}, {MaxValueBytes: 1<<30 + 1}, {PageBytes: -1}, {MaxHeaderBytes: -1}, {RequestTimeout: -1},
		{IdleTimeout: -1}, {ReadTimeout: -1}, {RequestTimeout: time.Minute, WriteTimeout: time.Minute},
	}
	for _, cfg := range bad {
		if _, err := server.New(cfg, newFakeStore()); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

func TestOversizedBodyOfUnknownLength(t *testing.T) {
	store := newFakeStore()
	s := newServer(t, server.Config{MaxValueBytes: 10000}, store)
	for size, want := range map[int]int{0: 201, 4096: 201, 4097: 201, 9999: 201, 10000: 201, 10001: 413, 50000: 413} {
		body := strings.Repeat("x", size)
		// In two pieces, so that a read can end exactly at the limit.
		first := min(size, 10000)
		r, err := http.NewRequest("PUT", "/v1/kv/k", io.MultiReader(strings.NewReader(body[:first]), strings.NewReader(body[first:])))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = -1
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%d bytes: status %d, want %d", size, w.Code, want)
		}
		if want == 413 {
			if p := problem(t, "PUT", w); p.Limit != 10000 || p.Actual != 0 {
				t.Errorf("%d bytes: %+v", size, p)
			}
		} else if got := string(store.items["k"].Value); got != body {
			t.Errorf("%d bytes: stored %d", size, len(got))
		}
		delete(store.items, "k")
	}
}
