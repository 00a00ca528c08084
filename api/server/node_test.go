package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/cluster"
)

// serveNode runs a node that is alone, with what c says beside the necessary, and serves it over TCP.
func serveNode(t *testing.T, c cluster.Config) (s *server.Server, addr string) {
	t.Helper()
	c.Name, c.DataDir, c.HTTP, c.Peer, c.Gossip = "n1", t.TempDir(), "127.0.0.1:1", "127.0.0.1:0", "127.0.0.1:0"
	n, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "ready", func() bool { return n.Ready(t.Context()) == nil })
	s = newServer(t, server.Config{}, server.ForNode(n), server.WithWatches(server.WatchesOf(n)))
	return s, listen(t, s)
}

// TestIdleWatchersAreCheap: a thousand watches over TCP cost under 30 KB each while nothing happens, heap and stacks of
// this process; the clients' ends of the connections are counted as well.
func TestIdleWatchersAreCheap(t *testing.T) {
	const watchers, most = 1000, 30_000
	_, addr := serveNode(t, cluster.Config{})
	open := func(i int) {
		conn, resp := openWatch(t, addr, fmt.Sprint(i))
		t.Cleanup(func() { conn.Close() })
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("watcher %d: %s", i, resp.Status)
		}
	}
	open(0) // begins what all share
	before := memory()
	for i := range watchers {
		open(i + 1)
	}
	each := (memory() - before) / watchers
	t.Logf("an idle watcher costs %d bytes", each)
	if each > most {
		t.Errorf("an idle watcher costs %d bytes, want at most %d", each, most)
	}
}

// TestTooManyWatchers: the watch beyond the limit is refused, in words that name the limit, until another one ends.
func TestTooManyWatchers(t *testing.T) {
	const most = 20
	s, addr := serveNode(t, cluster.Config{MaxWatchers: most})
	var conns []net.Conn
	for i := range most {
		conn, resp := openWatch(t, addr, fmt.Sprint(i))
		defer conn.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("watcher %d: %s", i, resp.Status)
		}
		conns = append(conns, conn)
	}
	p := problem(t, "GET", do(t, s, call{method: "GET", target: "/v1/watch"}))
	if p.Code != api.CodeTooManyRequests || p.Limit != most || p.Unit != "watches on this node" || !p.Retryable {
		t.Errorf("beyond the limit: %+v", p)
	}
	conn, resp := openWatch(t, addr, "x")
	conn.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the limit, over TCP: %s %v", resp.Status, resp.Header)
	}
	if got := metric(t, s, "ringkv_watchers"); got != fmt.Sprint(most) {
		t.Errorf("ringkv_watchers %s", got)
	}
	conns[0].Close()
	eventually(t, "a place that is free again", func() bool {
		conn, resp := openWatch(t, addr, "y")
		conn.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// TestLockMetrics: a node tells how many locks are held, and how many requests wait for one.
func TestLockMetrics(t *testing.T) {
	s, addr := serveNode(t, cluster.Config{Partitions: 4})
	acquire := func(name, wait string) *http.Response {
		resp, err := http.Post("http://"+addr+"/v1/locks/"+name, api.TypeJSON, strings.NewReader(`{"owner":"o","wait":"`+wait+`"}`))
		if err != nil {
			t.Error(err)
			return nil
		}
		resp.Body.Close()
		return resp
	}
	for _, name := range []string{"a", "b", "c"} {
		acquire(name, "0s")
	}
	await := func(held, waiting string) {
		t.Helper()
		eventually(t, held+" locks and "+waiting+" waiters", func() bool {
			return metric(t, s, "ringkv_locks_held") == held && metric(t, s, "ringkv_lock_waiters") == waiting
		})
	}
	await("3", "0")
	had := make(chan *http.Response)
	go func() { had <- acquire("b", "10m") }()
	await("3", "1")
	token := do(t, s, call{method: "GET", target: "/v1/locks/b"}).Body.String()
	_, token, _ = strings.Cut(token, `"token":`)
	token, _, _ = strings.Cut(token, ",")
	if w := do(t, s, call{method: "DELETE", target: "/v1/locks/b?token=" + token}); w.Code != http.StatusNoContent {
		t.Fatalf("release: %d %s", w.Code, w.Body)
	}
	if resp := <-had; resp == nil || resp.StatusCode != http.StatusCreated {
		t.Errorf("the waiter: %+v", resp)
	}
	await("3", "0")
}

// eventually waits for what comes by itself, in however long.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func memory() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// openWatch asks for a watch and, if it begins, reads its first event.
func openWatch(t *testing.T, addr, prefix string) (net.Conn, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/watch?prefix=%s/ HTTP/1.1\r\nHost: x\r\n\r\n", prefix)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		lines(t, bufio.NewReader(resp.Body), 1)
	}
	return conn, resp
}
