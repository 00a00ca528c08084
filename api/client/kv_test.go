package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

// newCluster starts n nodes that end with the test.
func newCluster(t *testing.T, n int) *clienttest.Cluster {
	t.Helper()
	c := clienttest.New(n)
	t.Cleanup(c.Close)
	return c
}

// newClient returns a client that ends with the test, and that does not dawdle.
func newClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	if cfg.Backoff == 0 {
		cfg.Backoff = time.Millisecond
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// transports are the two ways in which a client may send.
func transports(t *testing.T, run func(t *testing.T, hc *http.Client)) {
	t.Run("lean", func(t *testing.T) { run(t, nil) })
	t.Run("net/http", func(t *testing.T) {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		run(t, &http.Client{Transport: transport})
	})
}

func TestKeysAndValuesAreBytes(t *testing.T) {
	keys := []string{
		"k", "a/b", "a//b", "/a/", "..", ".", "a/../b", "%2F", "%", "+", "a b", "?x=1&y", "#", "\x00", "\xff\xfe", "ä", "{tag}x",
		strings.Repeat("k", api.MaxKeyBytes),
	}
	values := [][]byte{{}, []byte("v"), {0, 1, 0xff, '\r', '\n'}, bytes.Repeat([]byte("0123456789abcdef"), 1<<16)}
	transports(t, func(t *testing.T, hc *http.Client) {
		c := newClient(t, client.Config{Nodes: newCluster(t, 1).Addrs(), HTTPClient: hc})
		for i, key := range keys {
			value := values[i%len(values)]
			res, err := c.Put(t.Context(), key, value)
			if err != nil || !res.Created {
				t.Fatalf("put %q: %+v, %v", key, res, err)
			}
			item, err := c.Get(t.Context(), key)
			if err != nil || item.Key != key || !bytes.Equal(item.Value, value) || item.Version != res.Version {
				t.Fatalf("get %q: %q at %d, %v", key, item.Value[:min(9, len(item.Value))], item.Version, err)
			}
		}
		var listed []string
		for item, err := range c.List(t.Context(), client.ListOptions{PageSize: 4, KeysOnly: true}) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, item.Key)
		}
		slices.Sort(keys)
		if !slices.Equal(listed, keys) {
			t.Errorf("listed %q", listed)
		}
	})
}

func TestOptions(t *testing.T) {
	c := newClient(t, client.Config{Nodes: newCluster(t, 1).Addrs()})
	ctx := t.Context()
	first, err := c.Put(ctx, "k", []byte("1"), client.IfAbsent(), client.TTL(90*time.Second), client.ContentType("text/plain"))
	if err != nil || !first.Created {
		t.Fatalf("put: %+v, %v", first, err)
	}
	second, err := c.Put(ctx, "k", []byte("2"), client.IfMatch(7, first.Version), client.KeepTTL())
	if err != nil || second.Created || second.Version <= first.Version {
		t.Fatalf("put: %+v, %v", second, err)
	}
	item, err := c.Get(ctx, "k", client.Stale())
	if err != nil || item.TTL != 90*time.Second || string(item.Value) != "2" || item.ContentType != api.TypeOctetStream {
		t.Fatalf("get: %+v, %v", item, err)
	}
	for name, attempt := range map[string]func() error{
		"IfAbsent":        func() error { _, err := c.Put(ctx, "k", nil, client.IfAbsent()); return err },
		"IfNoneMatch":     func() error { _, err := c.Put(ctx, "k", nil, client.IfNoneMatch(second.Version)); return err },
		"IfMatch":         func() error { _, err := c.Put(ctx, "k", nil, client.IfMatch(first.Version)); return err },
		"IfMatch nothing": func() error { _, err := c.Put(ctx, "k", nil, client.IfMatch()); return err },
		"delete":          func() error { return c.Delete(ctx, "k", client.IfMatch(first.Version)) },
	} {
		var cond *api.ConditionError
		if err := attempt(); !errors.Is(err, client.ErrConditionFailed) || !errors.As(err, &cond) {
			t.Errorf("%s: %v", name, err)
		} else if cond.Version != second.Version {
			t.Errorf("%s: present version %d, want %d", name, cond.Version, second.Version)
		}
	}
	if err := c.Delete(ctx, "k", client.IfExists()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("get after delete: %v", err)
	}
	if _, err := c.Put(ctx, "k", nil, client.IfNoneMatch()); err != nil {
		t.Errorf("IfNoneMatch of no version: %v", err)
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	cluster := newCluster(t, 1)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true})
	ctx := t.Context()
	long := strings.Repeat("k", api.MaxKeyBytes+1)
	put := func(key string, opts ...client.PutOption) error { _, err := c.Put(ctx, key, nil, opts...); return err }
	get := func(key string) error { _, err := c.Get(ctx, key); return err }
	for name, test := range map[string]struct{ got, want error }{
		"empty put":      {put(""), api.ErrInvalid},
		"empty get":      {get(""), api.ErrInvalid},
		"empty delete":   {c.Delete(ctx, ""), api.ErrInvalid},
		"long put":       {put(long), api.ErrTooLarge},
		"long get":       {get(long), api.ErrTooLarge},
		"header smuggle": {put("k", client.ContentType("a\r\nIf-Match: *")), api.ErrInvalid},
	} {
		if !errors.Is(test.got, test.want) || errors.Is(test.got, client.ErrUnknownOutcome) {
			t.Errorf("%s: %v", name, test.got)
		}
	}
	if seen := cluster.Nodes[0].Requests(); len(seen) > 0 {
		t.Errorf("sent %q", seen)
	}
}

func TestListStopsAndFails(t *testing.T) {
	cluster := newCluster(t, 1)
	c := newClient(t, client.Config{Nodes: cluster.Addrs(), Direct: true, MaxAttempts: 1})
	for _, key := range []string{"a", "b", "c", "d"} {
		if _, err := c.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	collect := func(opts client.ListOptions, most int) (keys string, last error) {
		for item, err := range c.List(t.Context(), opts) {
			if last = err; err == nil {
				keys += item.Key + string(item.Value)
			}
			if len(keys) >= most {
				break
			}
		}
		return keys, last
	}
	if got, err := collect(client.ListOptions{Limit: 3, PageSize: 2}, 99); got != "aabbcc" || err != nil {
		t.Errorf("limit 3: %q, %v", got, err)
	}
	if got, err := collect(client.ListOptions{PageSize: 1, KeysOnly: true}, 2); got != "ab" || err != nil {
		t.Errorf("broken off: %q, %v", got, err)
	}
	if got, err := collect(client.ListOptions{Start: "b", End: "d"}, 99); got != "bbcc" || err != nil {
		t.Errorf("bounds: %q, %v", got, err)
	}
	pages := 0
	cluster.Nodes[0].Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if pages++; pages > 1 {
			clienttest.WriteProblem(w, r, api.ErrUnavailable)
		}
		return pages > 1
	})
	if got, err := collect(client.ListOptions{PageSize: 3}, 99); got != "aabbcc" || !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("failing second page: %q, %v", got, err)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	for name, cfg := range map[string]client.Config{
		"no nodes":      {},
		"no port":       {Nodes: []string{"localhost"}},
		"path":          {Nodes: []string{"http://localhost:1/x"}},
		"user":          {Nodes: []string{"http://me@localhost:1"}},
		"scheme":        {Nodes: []string{"ftp://localhost:1"}},
		"https":         {Nodes: []string{"https://localhost:1"}},
		"attempts":      {Nodes: []string{"localhost:1"}, MaxAttempts: -1},
		"negative time": {Nodes: []string{"localhost:1"}, Backoff: -1},
	} {
		if c, err := client.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
			_ = c.Close()
		}
	}
}

func TestClose(t *testing.T) {
	cluster := newCluster(t, 1)
	c, err := client.New(client.Config{Nodes: cluster.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(context.Background(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(context.Background(), "k", nil); !errors.Is(err, client.ErrClosed) ||
		errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("put after close: %v", err)
	}
}
