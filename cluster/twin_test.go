package cluster_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster"
)

// freeAddr is a loopback address that nobody uses.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// copyOf is the configuration of a node with a copy of another's data directory and ports of its own.
func copyOf(t *testing.T, c cluster.Config) cluster.Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(c.DataDir)); err != nil {
		t.Fatal(err)
	}
	c.DataDir, c.Peer, c.Gossip = dir, "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// stopsAsTwin waits until a node stops because another process runs with its identity.
func stopsAsTwin(t *testing.T, n *cluster.Node) {
	t.Helper()
	select {
	case <-n.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("goes on beside its twin")
	}
	if err := n.Err(); !errors.Is(err, cluster.ErrTwin) {
		t.Fatalf("stopped with %v", err)
	}
	t.Log(n.Err())
}

// A copy of a data directory does not start while the original runs where it was when it was copied. Nobody else has to
// be there to see it.
func TestCopyOfALoneNode(t *testing.T) {
	t.Parallel()
	c := config(t, "n1")
	c.Peer = freeAddr(t)
	n, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	incarnation(t, n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	twin := copyOf(t, c)
	n = start(t, c)
	ready(t, n)
	if n, err := cluster.Start(twin); !errors.Is(err, cluster.ErrTwin) {
		if n != nil {
			_ = n.Close()
		}
		t.Fatalf("the copy started: %v", err)
	}
	put(t, n, "k", "v")
	if n.Err() != nil {
		t.Errorf("the original: %v", n.Err())
	}
}

// Whichever of a directory and its copy is there first goes on, the other is refused by the rest of the cluster, however
// often both have moved.
func TestCopyOfAMember(t *testing.T) {
	t.Parallel()
	nodes := []*cluster.Node{start(t, config(t, "n1"))}
	ready(t, nodes[0])
	var c cluster.Config
	for _, name := range []string{"n2", "n3"} {
		c = config(t, name)
		c.Join = []string{gossipAddr(t, nodes[0])}
		n, err := cluster.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
		if name == "n2" {
			t.Cleanup(func() { _ = n.Close() })
		}
	}
	for _, n := range nodes {
		ready(t, n)
	}
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	for _, order := range []string{"original first", "copy first"} {
		firstConfig, secondConfig := c, copyOf(t, c)
		if order == "copy first" {
			firstConfig, secondConfig = secondConfig, firstConfig
		}
		first, err := cluster.Start(firstConfig)
		if err != nil {
			t.Fatalf("%s: %v", order, err)
		}
		ready(t, first)
		incarnation(t, first)
		second, err := cluster.Start(secondConfig)
		if err != nil && !errors.Is(err, cluster.ErrTwin) {
			t.Fatalf("%s: %v", order, err)
		}
		if err == nil {
			stopsAsTwin(t, second)
			_ = second.Close()
		}
		put(t, first, "k", order)
		if first.Err() != nil {
			t.Errorf("%s: %v", order, first.Err())
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A node that starts again at once is not taken for its twin.
func TestRestartIsNoTwin(t *testing.T) {
	t.Parallel()
	first := start(t, config(t, "n1"))
	ready(t, first)
	c := config(t, "n2")
	c.Peer, c.Join = freeAddr(t), []string{gossipAddr(t, first)}
	for range 3 {
		n, err := cluster.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		ready(t, n)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
