package client_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

// learned sends requests until the client has looked at the ring and uses it.
func learned(t *testing.T, c *client.Client, cluster *clienttest.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for direct := 0; direct < 20; direct++ {
		if ctx.Err() != nil {
			t.Fatal("requests never went to leaders")
		}
		key := fmt.Sprintf("probe-%d", direct)
		if _, err := c.Put(ctx, key, nil); err != nil {
			t.Fatal(err)
		}
		if !asked(cluster.Leader(key), key) {
			direct = 0
		}
		forget(cluster)
	}
}

// asked reports whether node has seen a request for key since the last look.
func asked(node *clienttest.Node, key string) bool {
	for _, r := range node.Requests() {
		if strings.HasSuffix(r, api.PathKV+"/"+key) {
			return true
		}
	}
	return false
}

func forget(cluster *clienttest.Cluster) {
	for _, n := range cluster.Nodes {
		n.Requests()
	}
}

func TestRequestsGoToLeaders(t *testing.T) {
	cluster := newCluster(t, 3)
	c := newClient(t, client.Config{Nodes: cluster.Addrs()[:1], RefreshInterval: 10 * time.Millisecond})
	learned(t, c, cluster)

	cluster.MoveLeaders(2)
	learned(t, c, cluster)

	// A leader that has gone: its requests go to the others at once, and the ring is asked for again.
	cluster.MoveLeaders(1)
	cluster.Nodes[2].Close()
	for i := range 20 {
		if _, err := c.Put(t.Context(), fmt.Sprintf("k-%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	learned(t, c, cluster)
}

func TestStaleReadsSpreadOverReplicas(t *testing.T) {
	cluster := newCluster(t, 3)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), RefreshInterval: time.Hour})
	learned(t, c, cluster)
	for range 30 {
		_, _ = c.Get(t.Context(), "absent", client.Stale())
	}
	for _, n := range cluster.Nodes {
		if len(n.Requests()) < 5 {
			t.Errorf("node %s was hardly asked", n.Name)
		}
	}
}

func TestClusterViews(t *testing.T) {
	cluster := newCluster(t, 2)
	c := newClient(t, client.Config{Nodes: cluster.Addrs()})
	members, err := c.Cluster(t.Context())
	if err != nil || len(members.Nodes) != 2 || members.Nodes[1].HTTP != cluster.Addrs()[1] {
		t.Errorf("cluster: %+v, %v", members, err)
	}
	ring, err := c.Ring(t.Context())
	if err != nil || len(ring.Partitions) != clienttest.Partitions {
		t.Errorf("ring: %+v, %v", ring, err)
	}
	loc, err := c.Locate(t.Context(), "a&b=\xff")
	if err != nil || string(loc.Key) != "a&b=\xff" || loc.Leader != cluster.Leader("a&b=\xff").Name {
		t.Errorf("locate: %+v, %v", loc, err)
	}
}
