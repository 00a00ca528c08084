package systemtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api/client"
)

// TestFailover kills each node in turn and reads at once what it led, through the others: every key is there. Run it
// with -v to see how long that takes.
func TestFailover(t *testing.T) {
	f := newFleet(t, 3)
	f.start(0)
	f.ready(0)
	f.start(1)
	f.start(2)
	f.ready(0, 1, 2)
	c := f.client()
	defer c.Close()
	f.settled(c, 3)
	var keys []string
	for i := range 200 {
		key := fmt.Sprintf("key/%d", i)
		if _, err := c.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	for i, p := range f.nodes {
		led := f.ledBy(c, p.name, keys)
		if len(led) == 0 {
			t.Fatalf("%s leads none of %d keys", p.name, len(keys))
		}
		p.kill()
		took := f.readTogether(c, led)
		t.Logf("%s killed: %d keys that it led were read again, half of them within %v, all within %v",
			p.name, len(led), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		f.start(i)
		f.ready(i)
		f.settled(c, 3)
	}
}

// ledBy returns those of the keys that the node called name leads.
func (f *fleet) ledBy(c *client.Client, name string, keys []string) []string {
	f.t.Helper()
	var led []string
	for _, key := range keys {
		at, err := c.Locate(f.t.Context(), key)
		if err != nil {
			f.t.Fatal(err)
		}
		if at.Leader == name {
			led = append(led, key)
		}
	}
	return led
}

// readTogether reads all keys at the same time and returns how long they took, the shortest first.
func (f *fleet) readTogether(c *client.Client, keys []string) []time.Duration {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	took := make([]time.Duration, len(keys))
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	begun := time.Now()
	for i, key := range keys {
		wg.Go(func() {
			var item client.Item
			if item, errs[i] = c.Get(ctx, key); errs[i] == nil && string(item.Value) != key {
				errs[i] = fmt.Errorf("it is %q", item.Value)
			}
			took[i] = time.Since(begun)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			f.t.Fatalf("get %s after the kill of its leader: %v", keys[i], err)
		}
	}
	slices.Sort(took)
	return took
}
