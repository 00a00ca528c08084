package client_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

func TestTxnSeesItsOwnWritesAndReadsOnce(t *testing.T) {
	cluster, c := bank(t, 1)
	ctx := t.Context()
	get := func(tx *client.Tx, key, want string, absent bool) {
		t.Helper()
		value, err := tx.Get(ctx, key)
		if err != nil || string(value) != want || (value == nil) != absent {
			t.Errorf("%s is %q, %v", key, value, err)
		}
		clear(value) // it is ours
	}
	cluster.Nodes[0].Requests()
	err := c.Txn(ctx, func(tx *client.Tx) error {
		for range 2 {
			get(tx, "acct/1", "150", false)
			get(tx, "new", "", true)
		}
		tx.Put("new", nil)
		get(tx, "new", "", false)
		tx.Put("new", []byte("1"), client.TTL(time.Minute))
		get(tx, "new", "1", false)
		tx.Delete("acct/1")
		get(tx, "acct/1", "", true)
		tx.Add("acct/2", 7)
		if _, err := tx.Get(ctx, "acct/2"); err == nil {
			t.Error("the value of an Add was told before the commit")
		}
		if values, err := tx.GetAll(ctx, "new", "acct/1", "x"); err != nil || string(values[0]) != "1" || values[1] != nil || values[2] != nil {
			t.Errorf("%q, %v", values, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen := cluster.Nodes[0].Requests(); len(seen) != 4 { // two gets, one GetAll, the commit
		t.Errorf("%q", seen)
	}
	for key, want := range map[string]string{"new": "1", "acct/2": "0", "acct/1": ""} {
		if item, err := c.Get(ctx, key); string(item.Value) != want || errors.Is(err, client.ErrNotFound) != (want == "") {
			t.Errorf("%s: %+v, %v", key, item, err)
		}
	}
}

func TestTxnWithoutAnythingSendsNothing(t *testing.T) {
	cluster, c := bank(t, 1)
	cluster.Nodes[0].Requests()
	broke := errors.New("not enough")
	if err := c.Txn(t.Context(), func(*client.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
	err := c.Txn(t.Context(), func(tx *client.Tx) error {
		tx.Put("k", nil)
		return broke
	})
	if err != broke {
		t.Errorf("%v", err)
	}
	if seen := cluster.Nodes[0].Requests(); len(seen) > 0 {
		t.Errorf("sent %q", seen)
	}
}

// TestTxnRunsAgain has another writer change each kind of thing that the first run has read.
func TestTxnRunsAgain(t *testing.T) {
	for name, meddle := range map[string]func(ctx context.Context, c *client.Client) error{
		"changed": func(ctx context.Context, c *client.Client) error {
			_, err := c.Put(ctx, "acct/1", []byte("1"))
			return err
		},
		"removed": func(ctx context.Context, c *client.Client) error { return c.Delete(ctx, "acct/1") },
		"created": func(ctx context.Context, c *client.Client) error { _, err := c.Put(ctx, "absent", nil); return err },
	} {
		for _, writes := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				_, c := bank(t, 1)
				runs := 0
				err := c.Txn(t.Context(), func(tx *client.Tx) error {
					for _, key := range []string{"acct/1", "absent"} {
						if _, err := tx.Get(t.Context(), key); err != nil {
							return err
						}
					}
					if runs++; runs == 1 {
						if err := meddle(t.Context(), c); err != nil {
							return err
						}
					}
					if writes {
						tx.Put("runs", []byte(strconv.Itoa(runs)))
					}
					return nil
				})
				if err != nil || runs != 2 {
					t.Errorf("writes %v: %d runs, %v", writes, runs, err)
				}
			})
		}
	}
}

func TestTxnCheck(t *testing.T) {
	cluster, c := bank(t, 1)
	broke := errors.New("the accounts do not add up")
	runs := 0
	err := c.Txn(t.Context(), func(tx *client.Tx) error {
		one, err := tx.Get(t.Context(), "acct/1")
		if runs++; runs == 1 && err == nil {
			_, err = c.Transact(t.Context(), transfer())
		}
		two, err2 := tx.Get(t.Context(), "acct/2")
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		x, _ := strconv.Atoi(string(one))
		y, _ := strconv.Atoi(string(two))
		if x+y == 143 {
			return nil
		}
		if err := tx.Check(t.Context()); err != nil {
			return errors.New("anything") // the run is lost, whatever it says
		}
		return broke
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
	cluster.Nodes[0].Requests()
	err = c.Txn(t.Context(), func(tx *client.Tx) error {
		if _, err := tx.GetAll(t.Context(), "acct/1", "acct/2", "x"); err != nil {
			return err
		}
		return tx.Check(t.Context())
	})
	if seen := cluster.Nodes[0].Requests(); err != nil || len(seen) != 1 {
		t.Errorf("one request reads at one moment: %q, %v", seen, err)
	}
}

// TestTxnDoesNotRunAgain holds that only lost races are run again.
func TestTxnDoesNotRunAgain(t *testing.T) {
	cluster, c := bank(t, 1)
	node := cluster.Nodes[0]
	runs := 0
	spend := func(tx *client.Tx) error {
		runs++
		_, err := tx.Get(t.Context(), "acct/2")
		tx.Add("acct/1", -200, client.AtLeast(0))
		return err
	}
	var refused *client.TxnFailedError
	if err := c.Txn(t.Context(), spend); !errors.As(err, &refused) || refused.Failed[0].Code != api.FailedBound || runs != 1 {
		t.Errorf("bound: %d runs, %v", runs, err)
	}
	onTxn(node, map[int]http.HandlerFunc{1: hangUp})
	if err := c.Txn(t.Context(), spend); !errors.Is(err, client.ErrUnknownOutcome) || runs != 2 {
		t.Errorf("unknown: %d runs, %v", runs, err)
	}
	seen := onTxn(node, map[int]http.HandlerFunc{1: doneThen(node, hangUp)})
	if err := c.Txn(t.Context(), spend, client.ExactlyOnce()); !errors.As(err, &refused) || runs != 3 || len(seen()) != 2 {
		t.Errorf("exactly once: %d runs, %d requests, %v", runs, len(seen()), err)
	}
}

// closing is a context whose time is as good as over from one moment on.
type closing struct {
	context.Context
	over atomic.Bool
}

func (c *closing) Deadline() (time.Time, bool) { return time.Now(), c.over.Load() }

func TestLostRacesEndWithTheContext(t *testing.T) {
	cluster, c := bank(t, 1)
	for name, call := range map[string]func(ctx context.Context, meddle func()) error{
		"Txn": func(ctx context.Context, meddle func()) error {
			return c.Txn(ctx, func(tx *client.Tx) error {
				_, err := tx.Get(ctx, "acct/1")
				meddle()
				tx.Put("acct/2", nil)
				return err
			})
		},
		"Update": func(ctx context.Context, meddle func()) error {
			return c.Update(ctx, "acct/1", func(old []byte) ([]byte, error) {
				meddle()
				return old, nil
			})
		},
	} {
		const rounds = 3
		ctx, round := &closing{Context: t.Context()}, 0
		err := call(ctx, func() {
			if _, err := c.Put(t.Context(), "acct/1", []byte("x")); err != nil {
				t.Error(err)
			}
			round++
			cluster.Nodes[0].Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				ctx.over.Store(r.Method != http.MethodGet && round == rounds)
				return false
			})
		})
		cluster.Nodes[0].Intercept(nil)
		var failed *client.Error
		if !errors.Is(err, client.ErrConflict) || errors.Is(err, client.ErrUnknownOutcome) || !errors.As(err, &failed) ||
			failed.Attempts != rounds || failed.Outcome != api.Aborted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConcurrentIncrements loses no increment, however they are made.
func TestConcurrentIncrements(t *testing.T) {
	const clients, each = 8, 10
	increment := func(old []byte) ([]byte, error) {
		n, err := strconv.Atoi("0" + string(old))
		return strconv.AppendInt(nil, int64(n)+1, 10), err
	}
	for name, once := range map[string]func(ctx context.Context, c *client.Client) error{
		"Update": func(ctx context.Context, c *client.Client) error { return c.Update(ctx, "n", increment) },
		"Add": func(ctx context.Context, c *client.Client) error {
			_, err := c.Transact(ctx, client.NewTxn(client.ExactlyOnce()).Add("n", 1))
			return err
		},
		"Txn": func(ctx context.Context, c *client.Client) error {
			return c.Txn(ctx, func(tx *client.Tx) error {
				old, err := tx.Get(ctx, "n")
				if err != nil {
					return err
				}
				value, err := increment(old)
				tx.Put("n", value)
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := newCluster(t, 2)
			c := newClient(t, client.Config{Nodes: cluster.Addrs()})
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for range each {
						if err := once(t.Context(), c); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if item, err := c.Get(t.Context(), "n"); string(item.Value) != strconv.Itoa(clients*each) {
				t.Errorf("%s, %v", item.Value, err)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	cluster := newCluster(t, 1)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true})
	ctx := t.Context()
	broke := errors.New("no")
	update := func(want string, absent bool, next []byte, fail error) error {
		return c.Update(ctx, "k", func(old []byte) ([]byte, error) {
			if string(old) != want || (old == nil) != absent {
				t.Errorf("old is %q, want %q", old, want)
			}
			return next, fail
		})
	}
	for i, err := range []error{
		update("", true, nil, nil), update("", true, []byte{}, nil), update("", false, []byte("1"), nil),
	} {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, err := c.Put(ctx, "k", []byte("2"), client.TTL(time.Minute), client.ContentType("text/plain")); err != nil {
		t.Fatal(err)
	}
	if err := update("2", false, []byte("3"), nil); err != nil {
		t.Error(err)
	}
	item, err := c.Get(ctx, "k")
	if err != nil || string(item.Value) != "3" || item.TTL != time.Minute || item.ContentType != "text/plain" {
		t.Errorf("%+v, %v", item, err)
	}
	if err := update("3", false, nil, broke); err != broke {
		t.Errorf("%v", err)
	}
	if err := update("3", false, nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("not removed: %v", err)
	}
	cluster.Nodes[0].Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			clienttest.WriteProblem(w, r, api.ErrUnknownOutcome)
		}
		return r.Method == http.MethodPut
	})
	if err := update("", true, []byte("4"), nil); !errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("%v", err)
	}
}
