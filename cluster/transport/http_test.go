package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/ring"
)

// get fetches a path of node b's peer port.
func get(t *testing.T, n *node, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := n.Client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestPlainHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, nil)
		b.Handle("GET /peer/v1/hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "hello")
		}))
		if code, body, err := get(t, a, "http://b/peer/v1/hello"); code != http.StatusOK || body != "hello" || err != nil {
			t.Errorf("got %d %q %v", code, body, err)
		}
		if code, _, err := get(t, a, "http://b/nothing"); code != http.StatusNotFound || err != nil {
			t.Errorf("an unknown path: %d %v", code, err)
		}
	})
}

// A body may take long, but not stand still for long.
func TestPlainHTTPStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, nil)
		b.Handle("GET /slow", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Second)
			}
		}))
		b.Handle("GET /stuck", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		if _, body, err := get(t, a, "http://b/slow"); body != strings.Repeat("x", 100) || err != nil {
			t.Errorf("slow: got %d bytes, %v", len(body), err)
		}
		before := time.Now()
		_, _, err := get(t, a, "http://b/stuck")
		if took := time.Since(before); err == nil || took > 31*time.Second {
			t.Errorf("stuck: %v after %v", err, took)
		}
	})
}

// Neither does a client that stops sending or reading hold a handler for long; one that is merely slow is served, and
// so is one that waits for a slow handler.
func TestStalledClientsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		b := start(t, net.config(2, "b"))
		got := make(chan string, 1)
		b.Handle("POST /in", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				select {
				case <-time.After(5 * time.Minute): // the answer takes its time
				case <-r.Context().Done():
					err = r.Context().Err()
				}
			}
			got <- fmt.Sprintf("%s %v", body, err != nil)
		}))
		b.Handle("GET /out", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n, err := w.Write(make([]byte, 1<<20))
			got <- fmt.Sprintf("%v %v", n < 1<<20, err != nil)
		}))
		for name, tc := range map[string]struct {
			head  string
			parts int // of four
			want  string
		}{
			"slow upload":      {"POST /in HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n", 4, "xxxx false"},
			"stalled upload":   {"POST /in HTTP/1.1\r\nHost: b\r\nContent-Length: 4\r\n\r\n", 2, "xx true"},
			"stalled download": {"GET /out HTTP/1.1\r\nHost: b\r\n\r\n", 0, "true true"},
		} {
			conn, err := net.dial(t.Context(), "", "b")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, tc.head)
			for range tc.parts {
				time.Sleep(20 * time.Second)
				_, _ = io.WriteString(conn, "x")
			}
			if s := <-got; s != tc.want {
				t.Errorf("%s: the handler got %q, want %q", name, s, tc.want)
			}
			_ = conn.Close()
		}
	})
}

// Close ends a plain request's context and waits for its handler.
func TestCloseWaitsForPlainHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, nil)
		ended := false
		b.Handle("GET /wait", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			time.Sleep(time.Second)
			ended = true
		}))
		failed := make(chan error)
		go func() {
			_, _, err := get(t, a, "http://b/wait")
			failed <- err
		}()
		synctest.Wait()
		if err := b.Close(); err != nil || !ended {
			t.Errorf("Close returned %v, handler ended: %v", err, ended)
		}
		if err := <-failed; err == nil {
			t.Error("the request did not fail")
		}
	})
}

// tcpConfig is a node's Config on a real loopback port.
func tcpConfig(t *testing.T, id ring.NodeID) transport.Config {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return transport.Config{
		Identity: func() transport.Identity { return transport.Identity{Cluster: "c1", Node: id} },
		Listener: ln,
		Handler:  handlerFunc(echo),
	}
}

func TestTLS(t *testing.T) {
	// httptest carries a certificate for 127.0.0.1.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	conf := &tls.Config{Certificates: server.TLS.Certificates, RootCAs: roots, MinVersion: tls.VersionTLS13}
	server.Close()
	cfgA, cfgB, plain := tcpConfig(t, 1), tcpConfig(t, 2), tcpConfig(t, 3)
	cfgA.TLS, cfgB.TLS = conf, conf
	a, b, c := start(t, cfgA), start(t, cfgB), start(t, plain)
	peers := map[ring.NodeID]string{2: b.Addr().String()}
	a.SetPeers(peers)
	c.SetPeers(peers)
	if got, err := a.Call(t.Context(), 2, 1, []byte("secret")); err != nil || string(got) != "secret" {
		t.Errorf("call: %q, %v", got, err)
	}
	b.Handle("GET /x", http.NotFoundHandler())
	if code, _, err := get(t, a, "http://"+b.Addr().String()+"/x"); code != http.StatusNotFound || err != nil {
		t.Errorf("plain request: %d %v", code, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Call(ctx, 2, 1, nil); err == nil {
		t.Error("a node without TLS got an answer")
	}
}
