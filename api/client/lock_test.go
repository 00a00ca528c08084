package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

func lost(l *client.Lock) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// awaitLost waits until the lock tells that it is lost.
func awaitLost(t *testing.T, l *client.Lock) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(20 * time.Second):
		t.Fatal("the loss was not told")
	}
}

func TestLockIsHandedOn(t *testing.T) {
	t.Parallel()
	_, c := bank(t, 2)
	ctx := t.Context()
	first, err := c.Lock(ctx, "m", client.LockOwner("one"))
	if err != nil {
		t.Fatal(err)
	}
	var held *api.LockHeldError
	if _, err := c.TryLock(ctx, "m"); !errors.As(err, &held) || held.Holder.Owner != "one" {
		t.Fatalf("tried: %v", err)
	}
	brief, cancel := context.WithTimeout(ctx, 5*time.Second) // of which the last is for the ways
	defer cancel()
	if _, err := c.Lock(brief, "m"); !errors.As(err, &held) || held.Holder.Owner != "one" {
		t.Fatalf("waited briefly: %v", err)
	}
	next := make(chan *client.Lock, 1)
	go func() {
		l, err := c.Lock(ctx, "m", client.LockTTL(time.Minute))
		if err != nil {
			t.Error(err)
		}
		next <- l
	}()
	if err := first.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	second := <-next
	if second == nil || second.Token() <= first.Token() || lost(first) {
		t.Fatalf("%+v after %+v", second, first)
	}
	if err := first.Unlock(ctx); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	if s, err := c.LockState(ctx, "m"); err != nil || s.Token != second.Token() || s.TTL != time.Minute {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := second.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.LockState(ctx, "m"); !errors.Is(err, api.ErrLockNotFound) {
		t.Fatalf("at the end: %v", err)
	}
}

// A lock that was taken away is noticed by the next renewal, and the store refuses what its holder still writes.
func TestLockTakenAway(t *testing.T) {
	t.Parallel()
	cluster, c := bank(t, 1)
	ctx := t.Context()
	l, err := c.Lock(ctx, "m", client.LockTTL(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	guarded := func() error {
		_, err := c.Transact(ctx, client.NewTxn().IfLock(l.Name(), l.Token()).Put("guarded", []byte("x")))
		return err
	}
	if err := guarded(); err != nil {
		t.Fatal(err)
	}
	cluster.BreakLock("m")
	awaitLost(t, l)
	if err := guarded(); !errors.Is(err, client.ErrConditionFailed) {
		t.Fatalf("after the loss: %v", err)
	}
	if err := l.Unlock(ctx); !errors.Is(err, api.ErrLockLost) {
		t.Fatalf("unlock: %v", err)
	}
}

// Renewals that fail are repeated; if none comes through, the lock is given up before its TTL ends.
func TestLockThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	cluster, c := bank(t, 1)
	const ttl = 3 * time.Second
	var failing atomic.Int64
	renewals := make(chan struct{}, 1000)
	cluster.Nodes[0].Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasPrefix(r.URL.Path, api.PathLocks) {
			return false
		}
		renewals <- struct{}{}
		if failing.Add(-1) < 0 {
			return false
		}
		panic(http.ErrAbortHandler)
	})
	failing.Store(2)
	l, err := c.Lock(t.Context(), "m", client.LockTTL(ttl))
	if err != nil {
		t.Fatal(err)
	}
	held := time.Now()
	for n := 0; n < 6; n++ {
		select {
		case <-renewals:
		case <-l.Lost():
			t.Fatalf("lost after %d renewals", n)
		}
	}
	if took := time.Since(held); took < ttl {
		t.Fatalf("renewed 6 times in %v", took)
	}
	failing.Store(1 << 40)
	begun := time.Now()
	awaitLost(t, l)
	if took := time.Since(begun); took > ttl+ttl/3 {
		t.Errorf("told after %v", took)
	}
	cluster.Nodes[0].Intercept(nil)
	if err := l.Unlock(t.Context()); err != nil {
		t.Errorf("unlock: %v", err)
	}
}

// The end of the client is the end of the renewals, and is told as a loss.
func TestLockOfAClosedClient(t *testing.T) {
	_, c := bank(t, 1)
	l, err := c.Lock(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	awaitLost(t, l)
	if err := l.Unlock(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Fatalf("unlock: %v", err)
	}
	if _, err := c.Lock(t.Context(), "m"); !errors.Is(err, client.ErrClosed) {
		t.Fatalf("lock: %v", err)
	}
}

// Whoever waits is told who has the lock, also if the end of its patience meets a request that would have waited on.
func TestLockHeldIsTold(t *testing.T) {
	cluster, c := bank(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	cluster.Nodes[0].Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if asked++; asked == 1 {
			clienttest.WriteProblem(w, r, &api.LockHeldError{Holder: api.LockHolder{Owner: "one", TTLMs: 5}})
			return true
		}
		cancel()
		panic(http.ErrAbortHandler)
	})
	var held *api.LockHeldError
	if _, err := c.Lock(ctx, "m"); !errors.As(err, &held) || held.Holder.Owner != "one" {
		t.Fatalf("%v", err)
	}
}

// The end of LockWait is told by a node, never as an unknown outcome, however short the wait and however busy the machine.
func TestLockWaitEnds(t *testing.T) {
	t.Parallel()
	_, c := bank(t, 1)
	ctx := t.Context()
	first, err := c.Lock(ctx, "m", client.LockOwner("one"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Nanosecond, time.Millisecond, 50 * time.Millisecond} {
		begun := time.Now()
		var held *api.LockHeldError
		_, err := c.Lock(ctx, "m", client.LockWait(d))
		if !errors.As(err, &held) || held.Holder.Owner != "one" || errors.Is(err, client.ErrUnknownOutcome) {
			t.Fatalf("%v: %v", d, err)
		}
		if took := time.Since(begun); took < d-time.Millisecond {
			t.Errorf("%v: gave up after %v", d, took)
		}
	}
	if err := first.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	second, err := c.Lock(ctx, "m", client.LockWait(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
}

// A lock that was granted to a caller who has left by then is given back, and not held by nobody until its TTL ends.
func TestLockOfOneWhoLeftIsGivenBack(t *testing.T) {
	t.Parallel()
	cluster, c := bank(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var posts atomic.Int64
	released := make(chan struct{})
	cluster.Nodes[0].Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch r.Method {
		case http.MethodPost:
			if posts.Add(1) == 1 {
				<-time.After(time.Second) // more than a third of the TTL: it is renewed before it is handed out
			}
		case http.MethodPut:
			cancel()
			panic(http.ErrAbortHandler)
		case http.MethodDelete:
			close(released)
		}
		return false
	})
	if l, err := c.Lock(ctx, "m", client.LockTTL(2*time.Second)); err == nil || l != nil {
		t.Fatalf("%v, %v", l, err)
	}
	select {
	case <-released:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody has the lock, and it was not given back")
	}
}

func TestBadLocks(t *testing.T) {
	_, c := bank(t, 1)
	for name, try := range map[string]func() (*client.Lock, error){
		"no name":  func() (*client.Lock, error) { return c.Lock(t.Context(), "") },
		"long":     func() (*client.Lock, error) { return c.TryLock(t.Context(), strings.Repeat("k", 1025)) },
		"no TTL":   func() (*client.Lock, error) { return c.Lock(t.Context(), "m", client.LockTTL(time.Nanosecond)) },
		"long TTL": func() (*client.Lock, error) { return c.Lock(t.Context(), "m", client.LockTTL(25*time.Hour)) },
		"owner": func() (*client.Lock, error) {
			return c.Lock(t.Context(), "m", client.LockOwner(strings.Repeat("o", 257)))
		},
	} {
		if l, err := try(); err == nil || l != nil || !errors.Is(err, api.ErrInvalid) && !errors.Is(err, api.ErrTooLarge) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}
