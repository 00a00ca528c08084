package demo_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
	"github.com/ringkv/ringkv/cmd/ringkv/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a cluster of three nodes and a client that asks the first one first.
func newClient(t *testing.T) (*clienttest.Cluster, *client.Client) {
	t.Helper()
	cluster := clienttest.New(3)
	t.Cleanup(cluster.Close)
	c, err := client.New(client.Config{Nodes: cluster.Addrs(), Direct: true, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return cluster, c
}

// keys returns all keys of the cluster.
func keys(t *testing.T, c *client.Client) []string {
	t.Helper()
	var list []string
	for item, err := range c.List(context.WithoutCancel(t.Context()), client.ListOptions{KeysOnly: true}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, item.Key)
	}
	return list
}

func names(checks []demo.Check) (all, broken []string) {
	for _, c := range checks {
		all = append(all, c.Name)
		if !c.Kept {
			broken = append(broken, c.Name)
		}
	}
	return all, broken
}

func TestBusinesses(t *testing.T) {
	want := map[string][]string{
		"bank": {"money", "no debt", "exactly once"}, "shop": {"stock", "money", "till", "orders"},
		"delivery": {"parcels", "counts", "exactly once"},
	}
	for _, business := range demo.Businesses() {
		t.Run(business, func(t *testing.T) {
			_, c := newClient(t)
			report, err := demo.Run(t.Context(), c, demo.Config{Business: business, Clients: 4, Size: 3, Count: 400})
			if err != nil {
				t.Fatalf("%v\n%+v", err, report)
			}
			if all, broken := names(report.Checks); !slices.Equal(all, want[business]) || broken != nil {
				t.Errorf("%+v", report.Checks)
			}
			if n := report.Committed + report.Refused; n != 400 || report.Committed < 100 || report.Unknown+report.Failed+report.GivenUp > 0 {
				t.Errorf("%+v", report.Tally)
			}
			if report.P50Ms <= 0 || report.MaxMs < report.P99Ms || report.PerSecond <= 0 || report.Keys < 6 {
				t.Errorf("%+v", report)
			}
			if left := keys(t, c); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestKeepAndPages(t *testing.T) {
	_, c := newClient(t)
	var told atomic.Int64
	report, err := demo.Run(t.Context(), c, demo.Config{
		Business: "delivery", Clients: 2, Size: 500, Duration: 500 * time.Millisecond, Keep: true,
		Progress: func(part float64, now demo.Tally) {
			if part <= 0 || part > 1 || now.Committed == 0 {
				t.Errorf("progress %v, %+v", part, now)
			}
			told.Add(1)
		},
	})
	if err != nil || !strings.HasPrefix(report.ReadIn, "3 read-only transactions") || told.Load() == 0 {
		t.Errorf("%+v, %v; progress told %d times", report, err, told.Load())
	}
	left := keys(t, c)
	if len(left) != report.Keys || !strings.HasPrefix(left[0], report.Prefix) {
		t.Errorf("%d keys are left, %d were read", len(left), report.Keys)
	}
}

// TestLostAnswers has the nodes hang up after every third transaction that they have done.
func TestLostAnswers(t *testing.T) {
	for _, business := range demo.Businesses() {
		cluster, c := newClient(t)
		n := atomic.Int64{}
		for _, node := range cluster.Nodes {
			node.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || n.Add(1)%3 != 0 {
					return false
				}
				node.Answer(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			})
		}
		report, err := demo.Run(t.Context(), c, demo.Config{Business: business, Clients: 3, Count: 100})
		if err != nil || report.Unknown > 0 || n.Load() < 100 {
			t.Errorf("%s: %+v, %v", business, report, err)
		}
		if business == "bank" && report.Replayed == 0 {
			t.Errorf("%s: no answer was given again: %+v", business, report)
		}
	}
}

// TestBrokenPromises has somebody break each promise, and holds that it is noticed.
func TestBrokenPromises(t *testing.T) {
	put := func(value string) func(ctx context.Context, c *client.Client, key string) error {
		return func(ctx context.Context, c *client.Client, key string) error {
			_, err := c.Put(ctx, key, []byte(value))
			return err
		}
	}
	remove := func(ctx context.Context, c *client.Client, key string) error { return c.Delete(ctx, key) }
	for _, test := range []struct {
		business, key, promise string
		meddle                 func(ctx context.Context, c *client.Client, key string) error
	}{
		{"bank", "acct/", "money", put("123456789")},
		{"bank", "acct/", "no debt", put("-1000000")},
		{"bank", "done/", "exactly once", put("1000000")},
		{"shop", "stock/", "stock", put("1000000")},
		{"shop", "money/", "money", put("100000000")},
		{"shop", "till/", "till", remove},
		{"shop", "order/", "orders", remove},
		{"delivery", "parcel/", "parcels", put("nowhere after 0")},
		{"delivery", "shelf/", "parcels", remove},
		{"delivery", "count/", "counts", put("500000")},
		{"delivery", "parcel/", "exactly once", put("hamburg after 1000000")},
	} {
		t.Run(test.business+" "+test.promise, func(t *testing.T) {
			cluster, c := newClient(t)
			ctx := context.WithoutCancel(t.Context())
			n := atomic.Int64{}
			cluster.Nodes[0].Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost && n.Add(1) == 100 {
					meddleWith(ctx, t, cluster, test.key, test.meddle)
				}
				return false
			})
			report, err := demo.Run(t.Context(), c, demo.Config{Business: test.business, Clients: 1, Size: 3, Count: 150})
			if !errors.Is(err, demo.ErrBroken) || !strings.Contains(err.Error(), test.promise) {
				t.Fatalf("%+v, %v", report, err)
			}
			if _, broken := names(report.Checks); !slices.Contains(broken, test.promise) {
				t.Errorf("%+v", report.Checks)
			}
		})
	}
}

// meddleWith changes the first key whose name has part in it, by another node than the one that demo asks.
func meddleWith(
	ctx context.Context, t *testing.T, cluster *clienttest.Cluster, part string,
	meddle func(ctx context.Context, c *client.Client, key string) error,
) {
	c, err := client.New(client.Config{Nodes: cluster.Addrs()[1:], Direct: true})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	for item, err := range c.List(ctx, client.ListOptions{Prefix: "demo/", KeysOnly: true}) {
		if err != nil {
			t.Error(err)
			return
		}
		if strings.Contains(item.Key, "/"+part) {
			if err := meddle(ctx, c, item.Key); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Errorf("no key with %s", part)
}

// TestDoneTwice takes the idempotency keys away, so that lost answers make the cluster do transactions twice.
func TestDoneTwice(t *testing.T) {
	cluster, c := newClient(t)
	n := atomic.Int64{}
	for _, node := range cluster.Nodes {
		node.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			r.Header.Del(api.HeaderIdempotencyKey)
			if n.Add(1)%20 == 0 {
				node.Answer(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			return false
		})
	}
	report, err := demo.Run(t.Context(), c, demo.Config{Business: "bank", Clients: 2, Count: 300})
	if !errors.Is(err, demo.ErrBroken) || !strings.Contains(err.Error(), "exactly once") {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestInterruptedRunsCleanUp(t *testing.T) {
	_, c := newClient(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err := demo.Run(ctx, c, demo.Config{
		Business: "bank", Duration: time.Hour,
		Progress: func(float64, demo.Tally) { cancel(enough) },
	})
	if !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	if left := keys(t, c); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRefusedConfig(t *testing.T) {
	cluster, c := newClient(t)
	for name, cfg := range map[string]demo.Config{
		"business": {Business: "casino"}, "clients": {Business: "bank", Clients: -1}, "size": {Business: "bank", Size: 1},
		"too large": {Business: "bank", Size: 501}, "duration": {Business: "bank", Duration: -1}, "count": {Business: "bank", Count: -1},
	} {
		if _, err := demo.Run(t.Context(), c, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if seen := cluster.Nodes[0].Requests(); len(seen) > 0 {
		t.Errorf("sent %q", seen)
	}
}
