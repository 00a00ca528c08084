package systemtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// follower watches a prefix, and is sent to another node again and again, with nothing but its cursor.
type follower struct {
	prefix  string
	clients []*client.Client // one of each node, which asks no other
	rng     *rand.Rand

	hops atomic.Int64 // resumes at another node than the one before

	// Its own.
	cursor string
	vain   int // how many hops in a row brought nothing: then it waits longer, as the machine may be slow

	mu     sync.Mutex // guards what follows
	node   int        // of the stream before; -1: none yet
	events map[string][]told
	count  int
	last   error // why the last stream ended, or none began
	err    error // why it gave up
}

func newFollower(f *fleet, id int, prefix string) *follower {
	f.t.Helper()
	fo := &follower{prefix: prefix, rng: rand.New(rand.NewPCG(uint64(id), 4)), node: -1, events: make(map[string][]told)}
	for _, p := range f.nodes {
		c, err := client.New(client.Config{Nodes: []string{p.http}, Direct: true, MaxAttempts: 1, DialTimeout: 500 * time.Millisecond})
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { _ = c.Close() })
		fo.clients = append(fo.clients, c)
	}
	return fo
}

// begin opens the first watch: from then on nothing may be missed.
func (fo *follower) begin(ctx context.Context, node int) error {
	w, err := fo.clients[node].Watch(ctx, fo.prefix)
	if err != nil {
		return err
	}
	defer w.Close()
	fo.cursor, fo.node = w.Cursor(), node
	return nil
}

// run hops from node to node until ctx ends, or the watch cannot go on.
func (fo *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := fo.hop(ctx)
		fatal := errors.Is(err, client.ErrCursorTooOld) || errors.Is(err, api.ErrInvalid) || errors.Is(err, errUnreadable)
		fo.mu.Lock()
		if fo.last = err; fatal {
			fo.err = fmt.Errorf("the follower of %q gave up behind cursor %s: %w", fo.prefix, fo.cursor, err)
		}
		fo.mu.Unlock()
		if fatal {
			return
		}
	}
}

var errUnreadable = errors.New("an event that cannot be")

// hop reads at another node for a while.
func (fo *follower) hop(ctx context.Context) error {
	node := (fo.node + 1 + fo.rng.IntN(len(fo.clients)-1)) % len(fo.clients)
	slow := time.Duration(1 + min(fo.vain, 4))
	fo.vain++
	opening, cancel := context.WithTimeout(ctx, 3*time.Second*slow)
	defer cancel()
	w, err := fo.clients[node].Watch(opening, fo.prefix, client.WatchFrom(fo.cursor))
	if err != nil { // another one, then
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return err
	}
	defer w.Close()
	fo.mu.Lock()
	fo.node = node
	fo.mu.Unlock()
	fo.hops.Add(1)
	reading, cancel := context.WithTimeout(ctx, time.Duration(50+fo.rng.IntN(500))*time.Millisecond*slow)
	defer cancel()
	return fo.read(reading, w)
}

// read takes events until ctx ends or it has had enough, which may be in the midst of a transaction.
func (fo *follower) read(ctx context.Context, w *client.Watcher) error {
	defer func() { fo.cursor = w.Cursor() }()
	for n := 1 + fo.rng.IntN(80); n > 0; n-- {
		e, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(e.Key, fo.prefix) || e.Cursor != w.Cursor() {
			return fmt.Errorf("%w: %+v", errUnreadable, e)
		}
		fo.take(&e)
		fo.vain = 0
	}
	return nil
}

func (fo *follower) take(e *client.Event) {
	value := strings.TrimRight(string(e.Value), " ")
	fo.mu.Lock()
	defer fo.mu.Unlock()
	fo.events[e.Key] = append(fo.events[e.Key], told{
		kind: e.Kind, version: uint64(e.Version), value: value, large: e.Kind == client.EventPut && e.Value == nil, txn: e.Txn,
	})
	fo.count++
}

// failure is why it gave up, nil if it did not.
func (fo *follower) failure() error {
	fo.mu.Lock()
	defer fo.mu.Unlock()
	return fo.err
}

// verdict judges what it was told so far.
func (fo *follower) verdict(ds *deeds) error {
	fo.mu.Lock()
	defer fo.mu.Unlock()
	err := ds.judge(fo.prefix, fo.events)
	switch {
	case fo.err != nil:
		return fmt.Errorf("%w; so far: %v", fo.err, err)
	case err != nil:
		return fmt.Errorf("the follower of %q, at node %d after %d events, its last error %v: %w", fo.prefix, fo.node, fo.count, fo.last, err)
	}
	return nil
}

// record is what it was told so far.
func (fo *follower) record() map[string][]told {
	fo.mu.Lock()
	defer fo.mu.Unlock()
	return maps.Clone(fo.events)
}
