package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/storage"
)

// memberlist does not wait for the end of a probe, which takes up to a second.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"))
}

func config(t *testing.T, name string) cluster.Config {
	t.Helper()
	return cluster.Config{
		Name: name, DataDir: filepath.Join(t.TempDir(), name), HTTP: "127.0.0.1:1", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0",
		Partitions: 8, Tick: 20 * time.Millisecond,
	}
}

func start(t *testing.T, c cluster.Config) *cluster.Node {
	t.Helper()
	n, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close %s: %v", c.Name, err)
		}
	})
	return n
}

func ready(t *testing.T, n *cluster.Node) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		err := n.Ready(t.Context())
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not ready: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func put(t *testing.T, n *cluster.Node, key, value string) storage.Result {
	t.Helper()
	res, _, err := n.Write(t.Context(), cluster.Write{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return res
}

func TestOneNode(t *testing.T) {
	c := config(t, "n1")
	n := start(t, c)
	ready(t, n)
	if res := put(t, n, "k", "v"); res.Status != storage.StatusCreated {
		t.Errorf("first put: %v", res.Status)
	}
	it, err := n.Get(t.Context(), []byte("k"), false)
	if err != nil || string(it.Value) != "v" {
		t.Errorf("get: %q, %v", it.Value, err)
	}
	if _, err := n.Get(t.Context(), []byte("other"), false); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("get of an absent key: %v", err)
	}
	_, _, err = n.Write(t.Context(), cluster.Write{Key: []byte("k"), Cond: storage.Condition{IfNoneMatchAny: true}})
	if cond := new(cluster.ConditionError); !errors.As(err, &cond) || cond.Version != it.Version {
		t.Errorf("put if absent: %v", err)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	c := config(t, "n1")
	n, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	ready(t, n)
	for i := range 50 {
		put(t, n, fmt.Sprintf("k%d", i), "v")
	}
	before, err := n.Describe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = start(t, c)
	ready(t, n)
	after, err := n.Describe()
	if err != nil || after.ClusterID != before.ClusterID {
		t.Errorf("cluster %s became %s, %v", before.ClusterID, after.ClusterID, err)
	}
	page, err := n.List(t.Context(), cluster.List{Limit: 1000, MaxBytes: 1 << 20})
	if err != nil || len(page.Items) != 50 || page.Next != nil {
		t.Errorf("%d items, next %q, %v", len(page.Items), page.Next, err)
	}
}

// Three nodes in one process: any of them answers, and lists, whoever leads.
func TestThreeNodes(t *testing.T) {
	nodes := []*cluster.Node{start(t, config(t, "n1"))}
	ready(t, nodes[0])
	for _, name := range []string{"n2", "n3"} {
		c := config(t, name)
		c.Join = []string{gossipAddr(t, nodes[0])}
		nodes = append(nodes, start(t, c))
	}
	for _, n := range nodes {
		ready(t, n)
	}
	for i := range 30 {
		put(t, nodes[i%3], fmt.Sprintf("k%02d", i), "v")
	}
	for _, n := range nodes {
		var keys []string
		l := cluster.List{Limit: 7, MaxBytes: 1 << 20}
		for {
			page, err := n.List(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				keys = append(keys, string(it.Key))
			}
			if page.Next == nil {
				break
			}
			l.Start = page.Next
		}
		if len(keys) != 30 || keys[0] != "k00" || keys[29] != "k29" {
			t.Errorf("listed %v", keys)
		}
	}
}

// gossipAddr is where a node that chose its port itself listens for gossip. It says so soon after its start.
func gossipAddr(t *testing.T, n *cluster.Node) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		d, err := n.Describe()
		if err == nil && !strings.HasSuffix(d.Members[0].Gossip, ":0") {
			return d.Members[0].Gossip
		}
		select {
		case <-deadline:
			t.Fatalf("no address: %+v, %v", d.Members, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A node that nobody admits says so, and does nothing else.
func TestNotMember(t *testing.T) {
	c := config(t, "n2")
	c.Join = []string{"127.0.0.1:1"}
	n := start(t, c)
	if err := n.Ready(t.Context()); !errors.Is(err, cluster.ErrNotMember) {
		t.Errorf("ready: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := n.Write(ctx, cluster.Write{Key: []byte("k")}); !errors.Is(err, cluster.ErrNotMember) {
		t.Errorf("write: %v", err)
	}
	if _, err := n.Get(ctx, []byte("k"), false); !errors.Is(err, cluster.ErrNotMember) {
		t.Errorf("get: %v", err)
	}
}

func TestDataDirectory(t *testing.T) {
	c := config(t, "n1")
	n, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	refuses := func(t *testing.T, c cluster.Config, words string) {
		t.Helper()
		n, err := cluster.Start(c)
		if err == nil {
			_ = n.Close()
			t.Fatal("started")
		}
		if !strings.Contains(err.Error(), words) {
			t.Errorf("refused with %q, want a word of %q", err, words)
		}
	}
	t.Run("another name", func(t *testing.T) {
		other := c
		other.Name = "n9"
		refuses(t, other, `belongs to node "n1"`)
	})
	t.Run("in use", func(t *testing.T) {
		start(t, c)
		refuses(t, c, "use")
	})
	identity := filepath.Join(c.DataDir, "node.json")
	t.Run("damaged identity", func(t *testing.T) {
		whole, err := os.ReadFile(identity)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(identity, whole[:10], 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, c, "is damaged")
	})
	t.Run("no identity", func(t *testing.T) {
		if err := os.Remove(identity); err != nil {
			t.Fatal(err)
		}
		refuses(t, c, "has no node.json")
	})
}

// A raft log whose end was cut off has forgotten votes: the node does not start, however often it is tried.
func TestRefusesACutLog(t *testing.T) {
	c := config(t, "n1")
	n, err := cluster.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	ready(t, n)
	segment := filepath.Join(c.DataDir, "log", "0000000001.seg")
	old, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	put(t, n, "k", "v")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segment, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		n, err := cluster.Start(c)
		if err == nil {
			_ = n.Close()
			t.Fatal("started")
		}
		if !strings.Contains(err.Error(), segment) || !strings.Contains(err.Error(), "move its data directory away") {
			t.Errorf("refused with %q", err)
		}
	}
}

func incarnation(t *testing.T, n *cluster.Node) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	number, err := n.AwaitIncarnation(ctx)
	if err != nil || number == 0 || number != n.Incarnation() {
		t.Fatalf("incarnation %d, awaited %d, %v", n.Incarnation(), number, err)
	}
	return number
}

// Every start of a node has a number of its own, higher than those before.
func TestIncarnationGrows(t *testing.T) {
	c := config(t, "n1")
	last := uint64(0)
	for range 3 {
		n, err := cluster.Start(c)
		if err != nil {
			t.Fatal(err)
		}
		if number := incarnation(t, n); number <= last {
			t.Errorf("incarnation %d after %d", number, last)
		} else {
			last = number
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoIncarnationBeforeAdmission(t *testing.T) {
	c := config(t, "n2")
	c.Join = []string{"127.0.0.1:1"}
	n := start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if number, err := n.AwaitIncarnation(ctx); !errors.Is(err, context.DeadlineExceeded) || number != 0 || n.Incarnation() != 0 {
		t.Errorf("incarnation %d, %v", number, err)
	}
}
