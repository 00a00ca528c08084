package systemtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api/client"
)

// TestGrow takes a cluster from one node to three under load without a failed request; then empties one node's disk,
// and its replacement is filled from the others: so well that it can stand in for one of them.
func TestGrow(t *testing.T) {
	f := newFleet(t, 3)
	f.start(0)
	f.ready(0)
	c := f.client()
	defer c.Close()
	fill(t, c, 500)

	l := newLoad(f, 60, 3*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx, 8) })
	f.start(1)
	f.ready(1)
	f.start(2)
	f.ready(2)
	f.settled(c, 3)
	cancel()
	wg.Wait()
	t.Logf("grown to three nodes: %d writes acknowledged", l.acked.Load())
	if n := l.unknown.Load() + l.refused.Load(); n > 0 {
		t.Errorf("%d requests failed while the cluster grew: %v", n, l.errs)
	}

	f.nodes[1].kill()
	if err := os.RemoveAll(f.nodes[1].dir); err != nil {
		t.Fatal(err)
	}
	f.start(1)
	f.ready(1)
	f.settled(c, 3)
	f.nodes[0].kill()
	check(t, c, 500)
	if err := l.readAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.history.check(t)
}

func fill(t *testing.T, c *client.Client, n int) {
	t.Helper()
	for i := range n {
		if _, err := c.Put(t.Context(), fmt.Sprintf("fill/%d", i), fmt.Appendf(nil, "value %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func check(t *testing.T, c *client.Client, n int) {
	t.Helper()
	for i := range n {
		key := fmt.Sprintf("fill/%d", i)
		item, err := c.Get(t.Context(), key)
		if err != nil || string(item.Value) != fmt.Sprintf("value %d", i) {
			t.Fatalf("get %s = %q, %v", key, item.Value, err)
		}
	}
}

// TestSameName refuses a second node with the name of one that is alive.
func TestSameName(t *testing.T) {
	f := newFleet(t, 2)
	f.nodes[1].name = f.nodes[0].name
	f.start(0)
	f.ready(0)
	f.start(1)
	select {
	case <-f.nodes[1].exited:
	case <-time.After(60 * time.Second):
		t.Fatal("a second node with the same name still runs after a minute")
	}
	if ok, reason := f.nodes[0].isReady(); !ok {
		t.Errorf("the first node is not ready any more: %s", reason)
	}
}

// TestStop stops a node as an operator would: at once, and with nothing lost.
func TestStop(t *testing.T) {
	f := newFleet(t, 1)
	f.start(0)
	f.ready(0)
	c := f.client()
	defer c.Close()
	fill(t, c, 100)
	if err := f.nodes[0].stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "fill/1"); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("get from a stopped cluster: %v, want ErrUnavailable", err)
	}
	f.start(0)
	f.ready(0)
	check(t, c, 100)
}
