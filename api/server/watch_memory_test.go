package server_test

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/cluster"
)

// maxWatcherBytes is what an idle watcher may cost.
const maxWatcherBytes = 30 << 10

// BenchmarkIdleWatchers opens watches over TCP to a node in this process. It reports what each one costs while nothing
// happens, heap and stacks, and what was allocated to begin it; the clients' connections are counted as well.
func BenchmarkIdleWatchers(b *testing.B) {
	n, err := cluster.Start(cluster.Config{
		Name: "n1", DataDir: filepath.Join(b.TempDir(), "n1"), HTTP: "127.0.0.1:1", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0",
	})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for n.Ready(b.Context()) != nil {
		time.Sleep(time.Millisecond)
	}
	addr := listen(b, newServer(b, server.Config{}, server.ForNode(n), server.WithWatches(server.WatchesOf(n))))
	const watchers = 1000
	for b.Loop() {
		before, total := memory()
		conns := make([]net.Conn, watchers)
		for i := range conns {
			conns[i] = openWatch(b, addr, i)
		}
		_, after := memory()
		b.ReportMetric(float64(after-total)/watchers, "begin-B/watcher")
		used, _ := memory()
		each := float64(used-before) / watchers
		b.ReportMetric(each, "B/watcher")
		if each > maxWatcherBytes {
			b.Errorf("an idle watcher costs %.0f bytes", each)
		}
		for _, c := range conns {
			c.Close()
		}
	}
}

func memory() (used, total uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse, m.TotalAlloc
}

func openWatch(b *testing.B, addr string, i int) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/watch?prefix=%d/ HTTP/1.1\r\nHost: x\r\n\r\n", i)
	r := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "id: "); {
		if line, err = r.ReadString('\n'); err != nil || strings.HasPrefix(line, "HTTP/1.1 4") {
			b.Fatalf("watcher %d: %q, %v", i, line, err)
		}
	}
	return conn
}
