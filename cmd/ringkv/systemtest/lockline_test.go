package systemtest

import (
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// TestLockLine has clients wait for a lock, one after the other at two nodes, and kills the third, which leads: with the
// new leader they are served in the order in which they came.
func TestLockLine(t *testing.T) {
	f, c := startCluster(t, 3)
	const name = "line"
	loc, err := c.Locate(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	leads := 0
	for i, p := range f.nodes {
		if p.name == loc.Leader {
			leads = i
		}
	}
	first, err := c.Lock(t.Context(), name, client.LockTTL(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 6
	had := make(chan int, waiters)
	tokens := make([]api.FencingToken, waiters)
	for i := range waiters {
		at, err := client.New(client.Config{Nodes: []string{f.nodes[(leads+1+i%2)%3].http}, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = at.Close() })
		go func() {
			defer func() { had <- i }()
			l, err := at.Lock(t.Context(), name, client.LockTTL(time.Minute))
			if err != nil {
				t.Errorf("waiter %d: %v", i, err)
				return
			}
			tokens[i] = l.Token()
			if err := l.Unlock(t.Context()); err != nil {
				t.Errorf("waiter %d gives it back: %v", i, err)
			}
		}()
		f.inLine(c, name, i+1)
	}
	f.nodes[leads].kill()
	f.inLine(c, name, waiters)
	if err := first.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range waiters {
		<-had
	}
	last := first.Token()
	for i, token := range tokens {
		if token <= last {
			t.Errorf("waiter %d got token %d, not behind %d: %v", i, token, last, tokens)
		}
		last = token
	}
}

// inLine waits until so many wait for a lock.
func (f *fleet) inLine(c *client.Client, name string, n int) {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; f.pause(10 * time.Millisecond) {
		l, err := c.LockState(f.t.Context(), name)
		if err == nil && *l.Waiters == n {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("want %d waiters: %+v, %v", n, l, err)
		}
	}
}
