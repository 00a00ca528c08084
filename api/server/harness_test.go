package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

// newServer returns a Server on store with defaults for what cfg leaves open.
func newServer(t testing.TB, cfg server.Config, store server.Store, options ...server.Option) *server.Server {
	t.Helper()
	s, err := server.New(cfg, store, options...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call is one request. header holds "Name: value" lines.
type call struct {
	method, target string
	header         []string
	body           string
}

// do sends c straight to s.
func do(t testing.TB, s http.Handler, c call) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
	if c.body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for _, line := range c.header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// put stores a value and returns its tag.
func put(t testing.TB, s http.Handler, target, body string, header ...string) string {
	t.Helper()
	w := do(t, s, call{method: "PUT", target: target, body: body, header: header})
	if w.Code != http.StatusCreated && w.Code != http.StatusOK {
		t.Fatalf("PUT %s: %d %s", target, w.Code, w.Body)
	}
	return w.Header().Get("ETag")
}

// problem decodes a problem document and checks what holds for all of them.
func problem(t testing.TB, method string, w *httptest.ResponseRecorder) *api.Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != api.TypeProblem {
		t.Fatalf("status %d with Content-Type %q, body %q: want a problem", w.Code, got, w.Body)
	}
	var p api.Problem
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("decode problem: %v", err)
	}
	if p.Status != w.Code || p.Title == "" || p.Detail == "" || !strings.HasSuffix(p.Type, "#"+string(p.Code)) {
		t.Errorf("incomplete problem for status %d: %+v", w.Code, p)
	}
	wantOutcome := (method == "PUT" || method == "DELETE" || method == "POST") && w.Code != http.StatusMethodNotAllowed
	if (p.Outcome != "") != wantOutcome {
		t.Errorf("%s %d: outcome %q", method, w.Code, p.Outcome)
	}
	if (w.Code == http.StatusServiceUnavailable || w.Code == http.StatusTooManyRequests || p.Code == api.CodeIdempotencyInFlight) != (w.Header().Get("Retry-After") != "") {
		t.Errorf("%d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	return &p
}

// listen runs s on a loopback port until the test ends, and returns its address.
func listen(t testing.TB, s *server.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}
