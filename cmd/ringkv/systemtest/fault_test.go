package systemtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api/client"
)

// cluster starts n nodes and waits until they share everything.
func startCluster(t *testing.T, n int, extra ...string) (*fleet, *client.Client) {
	t.Helper()
	f := newFleet(t, n)
	f.extra = extra
	f.start(0)
	f.ready(0)
	for i := 1; i < n; i++ {
		f.start(i)
		f.ready(i)
	}
	c := f.client()
	t.Cleanup(func() { _ = c.Close() })
	f.settled(c, n)
	return f, c
}

// TestPause stops a node with SIGSTOP for longer than an election takes and lets it go on: a leader that slept must not
// serve what others have overwritten meanwhile.
func TestPause(t *testing.T) {
	f, _ := startCluster(t, 3)
	l := newLoad(f, 30, 5*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx, 6) })
	for i := range 3 {
		f.pause(500 * time.Millisecond)
		f.nodes[i].signal(syscall.SIGSTOP)
		f.pause(5 * time.Second)
		f.nodes[i].signal(syscall.SIGCONT)
		f.ready(i)
	}
	cancel()
	wg.Wait()
	if err := l.readAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d writes acknowledged, %d unknown, %d refused %v", l.acked.Load(), l.unknown.Load(), l.refused.Load(), l.errs)
	l.history.check(t)
}

// TestReplace loses a node of four for good: after --dead-after its replicas are placed on the other three, so that
// the next loss is survived as well.
func TestReplace(t *testing.T) {
	f, c := startCluster(t, 4, "--dead-after", "10s")
	fill(t, c, 300)
	f.nodes[3].kill()
	deadline := time.Now().Add(60 * time.Second)
	for {
		state, ok := placedOn(t.Context(), c, "n1", "n2", "n3")
		if ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("replicas of n4 were not placed elsewhere: %s", state)
		}
		f.pause(200 * time.Millisecond)
	}
	f.ready(0, 1, 2) // they hold what they were given
	check(t, c, 300)
	f.nodes[2].kill()
	check(t, c, 300)
	if _, err := c.Put(t.Context(), "after", []byte("two losses")); err != nil {
		t.Fatal(err)
	}
}

// placedOn reports whether every partition has exactly these replicas, in any order, and a leader among them.
func placedOn(ctx context.Context, c *client.Client, names ...string) (string, bool) {
	r, err := c.Ring(ctx)
	if err != nil {
		return err.Error(), false
	}
	for _, p := range r.Partitions {
		have := make(map[string]bool)
		for _, n := range p.Replicas {
			have[n] = true
		}
		ok := len(p.Replicas) == len(names) && have[p.Leader]
		for _, n := range names {
			ok = ok && have[n]
		}
		if !ok {
			return fmt.Sprintf("partition %d: %v led by %q", p.ID, p.Replicas, p.Leader), false
		}
	}
	return "", true
}

// TestMinority cuts a node off from its majority: it must refuse rather than answer from what it has, and say that
// nothing was done where it knows that; stale reads go on.
func TestMinority(t *testing.T) {
	f, c := startCluster(t, 3)
	if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	one, err := client.New(client.Config{Nodes: []string{f.nodes[0].http}, Direct: true, MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); f.pause(5 * time.Millisecond) {
		if _, err := one.Get(t.Context(), "k", client.Stale()); err == nil {
			break // this node has heard that it is committed
		}
	}
	f.nodes[1].kill()
	f.nodes[2].kill()
	if item, err := one.Get(t.Context(), "k"); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("linearizable read without a majority: %q, %v", item.Value, err)
	}
	if item, err := one.Get(t.Context(), "k", client.Stale()); err != nil || string(item.Value) != "v" {
		t.Errorf("stale read: %q, %v", item.Value, err)
	}
	_, err = one.Put(t.Context(), "k", []byte("w"))
	if !errors.Is(err, client.ErrUnknownOutcome) && !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("write without a majority: %v", err)
	}
	f.start(1)
	f.ready(1)
	if _, err := c.Put(t.Context(), "k", []byte("x")); err != nil {
		t.Errorf("write after the majority is back: %v", err)
	}
}

// TestExpiry checks the promise on real clocks: a key is there for its whole TTL, and gone soon after, at every node.
func TestExpiry(t *testing.T) {
	f, c := startCluster(t, 3)
	const ttl = 2 * time.Second
	begun := time.Now()
	if _, err := c.Put(t.Context(), "session", []byte("x"), client.TTL(ttl)); err != nil {
		t.Fatal(err)
	}
	item, err := c.Get(t.Context(), "session")
	if err != nil || item.TTL <= 0 || item.TTL > ttl+50*time.Millisecond {
		t.Fatalf("ttl left %v, %v", item.TTL, err)
	}
	for {
		asked := time.Since(begun)
		_, err := c.Get(t.Context(), "session")
		switch {
		case errors.Is(err, client.ErrNotFound):
			if time.Since(begun) < ttl {
				t.Fatalf("gone after %v", time.Since(begun))
			}
			return
		case err != nil:
			t.Fatal(err)
		case asked > ttl+time.Second+500*time.Millisecond: // the last half second is this machine's, not the promise's
			t.Fatalf("still there after %v", asked)
		}
		f.pause(5 * time.Millisecond)
	}
}
