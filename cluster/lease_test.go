package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

type locked struct {
	lock Lock
	err  error
}

// lockVia asks node i for a lock and returns where the answer will come.
func (c *crowd) lockVia(ctx context.Context, i int, name, owner string, ttl, wait time.Duration) <-chan locked {
	out := make(chan locked, 1)
	go func() {
		l, err := c.nodes[i].AcquireLock(ctx, LockRequest{Name: []byte(name), Owner: owner, TTL: ttl, Wait: wait})
		out <- locked{l, err}
	}()
	return out
}

// had waits for a lock that is to be had.
func (c *crowd) had(what string, from <-chan locked) Lock {
	c.t.Helper()
	select {
	case got := <-from:
		c.must(what, got.err)
		return got.lock
	case <-time.After(60 * time.Second):
		c.t.Fatalf("%s: no answer", what)
	}
	return Lock{}
}

// waiters waits until so many wait for a lock.
func (c *crowd) waiters(i int, name string, want int) {
	c.t.Helper()
	c.wait(fmt.Sprintf("%d waiters", want), func() bool {
		l, err := c.nodes[i].ReadLock(c.t.Context(), []byte(name))
		return err == nil && l.Waiters == want
	})
}

// Over all nodes locks are handed on in order of arrival, with growing tokens; who hangs up loses its place.
func TestLocksOverNodes(t *testing.T) {
	c := newCrowd(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	first := c.had("first", c.lockVia(ctx, 0, "m", "w0", time.Minute, 0))
	var held *LockHeldError
	if got := <-c.lockVia(ctx, 1, "m", "w1", time.Minute, 0); !errors.As(got.err, &held) || held.Owner != "w0" || held.TTL <= 0 {
		t.Fatalf("%+v", got)
	}
	var line []<-chan locked
	for i := range 6 {
		line = append(line, c.lockVia(ctx, i%3, "m", fmt.Sprint("w", i+1), time.Minute, time.Minute))
		c.waiters(2, "m", i+1)
	}
	hung, hang := context.WithCancel(ctx)
	gone := c.lockVia(hung, 1, "m", "gone", time.Minute, time.Minute)
	c.waiters(0, "m", 7)
	hang()
	if got := <-gone; got.err == nil {
		t.Fatal("who hung up got the lock")
	}
	c.waiters(0, "m", 6)
	token := first.Token
	for i, next := range line {
		c.must("release", c.nodes[(i+1)%3].ReleaseLock(ctx, []byte("m"), token))
		l := c.had(fmt.Sprint("turn ", i), next)
		if l.Owner != fmt.Sprint("w", i+1) || l.Token <= token {
			t.Fatalf("%+v after token %d", l, token)
		}
		token = l.Token
	}
	if _, err := c.nodes[0].RenewLock(ctx, []byte("m"), token-1, 0); !errors.Is(err, ErrLockLost) {
		t.Fatalf("renewed with another's token: %v", err)
	}
	if l, err := c.nodes[1].RenewLock(ctx, []byte("m"), token, time.Hour); err != nil || l.TTL != time.Hour {
		t.Fatalf("renewed: %+v, %v", l, err)
	}
	c.must("release", c.nodes[2].ReleaseLock(ctx, []byte("m"), token))
	if err := c.nodes[2].ReleaseLock(ctx, []byte("m"), token); !errors.Is(err, ErrLockLost) {
		t.Fatalf("released twice: %v", err)
	}
	if _, err := c.nodes[0].ReadLock(ctx, []byte("m")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("at the end: %v", err)
	}
}

// A change of leaders loses no waiter and no place; a lock whose holder is silent passes on when its time is over.
func TestWaitersSurviveTheirLeader(t *testing.T) {
	c := newCrowd(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p, err := c.nodes[0].partition([]byte("m"))
	c.must("partition", err)
	leads := int(c.nodes[0].routes.leader(p)) - 1
	a, b := (leads+1)%3, (leads+2)%3
	first := c.had("first", c.lockVia(ctx, a, "m", "first", 5*time.Second, 0))
	second := c.lockVia(ctx, a, "m", "second", 2*time.Second, time.Minute)
	c.waiters(a, "m", 1)
	third := c.lockVia(ctx, b, "m", "third", time.Minute, time.Minute)
	c.waiters(a, "m", 2)
	c.must("close the leader", c.nodes[leads].Close())
	l2 := c.had("second", second)
	l3 := c.had("third", third)
	if first.Token >= l2.Token || l2.Token >= l3.Token || l2.Owner != "second" || l3.Owner != "third" {
		t.Fatalf("%+v, %+v, %+v", first, l2, l3)
	}
}

func TestLeaseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := storage.Lease{
			Token: storage.Version(rapid.Uint64Range(1, 1<<53).Draw(t, "token")), TTL: storage.Millis(rapid.Uint64Range(0, 1<<53).Draw(t, "ttl")),
			Waiters: rapid.IntRange(0, 1<<31).Draw(t, "waiters"), Owner: rapid.String().Draw(t, "owner"),
		}
		got, err := decodeLease(appendLease(nil, &l))
		if err != nil || got.Owner != l.Owner || got.Token != l.Token || got.TTL != l.TTL || got.Waiters != l.Waiters {
			t.Fatalf("%+v became %+v, %v", l, got, err)
		}
	})
}

// FuzzDecodeLease: no bytes make it do anything but return a lease or an error.
func FuzzDecodeLease(f *testing.F) {
	f.Add(appendLease(nil, &storage.Lease{Token: 1, TTL: 2, Waiters: 3, Owner: "o"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := decodeLease(b); err == nil && l.Token == 0 {
			t.Fatalf("%+v", l)
		}
	})
}
