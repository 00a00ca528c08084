package watch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/ring"
)

func begin(t *testing.T, h *watch.Hub, prefix, cursor string) *watch.Watcher {
	t.Helper()
	w, err := h.Watch(t.Context(), []byte(prefix), cursor)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// drain reads until nothing came for a minute, which costs no time in a bubble.
func drain(t *testing.T, w *watch.Watcher) []string {
	t.Helper()
	var got []string
	for {
		e, err := w.Next(t.Context(), time.Minute)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		if e == nil {
			return got
		}
		got = append(got, string(e.Value))
	}
}

func wantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNothingOlderEverythingNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2, 1)
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		f.commit(0, "a")
		w := begin(t, h, "a", "")
		defer w.Close()
		f.commit(0, "a", "b", "ab")
		synctest.Wait() // there is no order between partitions but that of time
		f.commit(1, "b")
		f.commit(1, "abc")
		wantEvents(t, drain(t, w), "0.2.0", "0.2.2", "1.2.0")
	})
}

// TestBeginsWhereTheFeedIs: the first cursor is not before what the watcher is going to be told.
func TestBeginsWhereTheFeedIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		f.commit(0, "k")
		first := begin(t, h, "", "")
		defer first.Close()
		f.slow = time.Second
		time.AfterFunc(f.slow/2, func() { f.commit(0, "k") })
		w := begin(t, h, "", "")
		defer w.Close()
		again := begin(t, h, "", w.Cursor())
		defer again.Close()
		f.commit(0, "k")
		wantEvents(t, drain(t, w), "0.3.0")
		wantEvents(t, drain(t, again), "0.3.0")
	})
}

// TestIdleCursorStaysFresh: what happens elsewhere does not make the cursor of a quiet watcher too old.
func TestIdleCursorStaysFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2, 1)
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		f.commit(0, "k")
		quiet, busy := begin(t, h, "q", ""), begin(t, h, "b", "")
		defer quiet.Close()
		defer busy.Close()
		for range 5 {
			f.commit(0, "k")
			f.commit(1, "b")
		}
		wantEvents(t, drain(t, quiet))
		wantEvents(t, drain(t, busy), "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0")
		f.do(func() { f.nodes[1].floor = []uint64{6, 5} })
		for prefix, w := range map[string]*watch.Watcher{"q": quiet, "b": busy} {
			again := begin(t, h, prefix, w.Cursor())
			wantEvents(t, drain(t, again))
			again.Close()
		}
	})
}

// TestResumeInsideOfATransaction: the cursor of each event of a transaction gives exactly the rest, on any node.
func TestResumeInsideOfATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2, 1, 2)
		h1, h2 := f.hub(t, 1, watch.Config{}), f.hub(t, 2, watch.Config{})
		defer h1.Close()
		defer h2.Close()
		w := begin(t, h1, "", "")
		defer w.Close()
		f.commit(0, "x", "y", "z")
		synctest.Wait()
		f.commit(1, "u", "v")
		all := []string{"0.1.0", "0.1.1", "0.1.2", "1.1.0", "1.1.1"}
		for i := range all {
			e, err := w.Next(t.Context(), time.Minute)
			if err != nil || string(e.Value) != all[i] {
				t.Fatalf("event %d: %v, %v", i, e, err)
			}
			again := begin(t, h2, "", w.Cursor())
			wantEvents(t, drain(t, again), all[i+1:]...)
			again.Close()
		}
	})
}

// TestAheadOfTheNode: a node that lags behind the one that gave the cursor tells nothing twice.
func TestAheadOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1, 2)
		h1, h2 := f.hub(t, 1, watch.Config{}), f.hub(t, 2, watch.Config{})
		defer h1.Close()
		defer h2.Close()
		f.commit(0, "a")
		stale := begin(t, h2, "", "") // keeps the feed of node 2 where it is
		defer stale.Close()
		w := begin(t, h1, "", "")
		defer w.Close()
		f.do(func() { f.nodes[2].through[0] = 1; f.nodes[2].floor[0] = 0 })
		f.do(func() { f.nodes[2].down = true })
		f.do(func() { f.nodes[2].through[0] = 0 }) // node 2 reads from node 1 instead
		f.do(func() { f.nodes[2].through[0] = 1; f.nodes[2].down = false })
		f.commit(0, "b", "c")
		f.do(func() { f.nodes[2].through[0] = 1 })
		if e, err := w.Next(t.Context(), time.Minute); err != nil || string(e.Value) != "0.2.0" {
			t.Fatalf("%v, %v", e, err)
		}
		again := begin(t, h2, "", w.Cursor())
		defer again.Close()
		f.do(func() { f.nodes[2].through[0] = 2 })
		wantEvents(t, drain(t, again), "0.2.1")
		wantEvents(t, drain(t, stale), "0.2.0", "0.2.1")
	})
}

func TestSlowReaderIsGivenUpAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{QueueEvents: 10})
		defer h.Close()
		slow, quick := begin(t, h, "", ""), begin(t, h, "", "")
		defer slow.Close()
		defer quick.Close()
		var want []string
		for i := range 30 {
			f.commit(0, "k")
			want = append(want, fmt.Sprintf("0.%d.0", i+1))
			if i < 3 {
				wantEvents(t, drain(t, slow), want[i])
			}
			wantEvents(t, drain(t, quick), want[i])
		}
		if _, err := slow.Next(t.Context(), time.Minute); !errors.Is(err, watch.ErrLagged) {
			t.Fatalf("slow reader: %v, want ErrLagged", err)
		}
		again := begin(t, h, "", slow.Cursor())
		defer again.Close()
		wantEvents(t, drain(t, again), want[3:]...)
		if st := h.Stats(); st.Lagged != 1 || st.HeldBytes != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestLargeTransactionLagsNobody: an entry is taken whole, however long it is.
func TestLargeTransactionLagsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{QueueEvents: 10, QueueBytes: 100, HeldBytes: 100})
		defer h.Close()
		w := begin(t, h, "", "")
		defer w.Close()
		f.commit(0, slices.Repeat([]string{"k"}, 1000)...)
		if got := drain(t, w); len(got) != 1000 {
			t.Errorf("%d events", len(got))
		}
	})
}

func TestAllQueuesTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{HeldBytes: 10_000})
		defer h.Close()
		f.commit(0, "k") // now there is a replica
		var ws []*watch.Watcher
		for i := range 50 {
			w := begin(t, h, fmt.Sprint(i, "/"), "")
			defer w.Close()
			ws = append(ws, w)
		}
		for range 10 {
			for i := range ws {
				f.commit(0, fmt.Sprint(i, "/k"))
			}
			synctest.Wait()
			if held := h.Stats().HeldBytes; held > 10_000+200*int64(len(ws)) {
				t.Fatalf("%d bytes are held", held)
			}
		}
		if h.Stats().Lagged == 0 {
			t.Errorf("nobody was given up: %+v", h.Stats())
		}
	})
}

func TestTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2, 1, 2)
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		w := begin(t, h, "", "")
		cursor := w.Cursor()
		w.Close()
		for range 5 {
			f.commit(0, "k")
		}
		f.do(func() { f.nodes[1].floor[0] = 3 })
		w = begin(t, h, "", cursor) // node 2 still has it
		if got := drain(t, w); len(got) != 5 {
			t.Errorf("got %q", got)
		}
		w.Close()
		f.do(func() { f.nodes[2].floor[0] = 1 })
		if _, err := h.Watch(t.Context(), nil, cursor); !errors.Is(err, watch.ErrTooOld) {
			t.Errorf("got %v, want ErrTooOld", err)
		}
		if got := h.Stats().Resumed; got != 1 {
			t.Errorf("%d watches were resumed, not 1: the other could not begin", got)
		}
	})
}

// TestOutOfReachIsNotForgotten: that one node has forgotten, and the one that has not is away, makes no cursor too old. The
// watch begins when that node is back, or whoever asks gives up.
func TestOutOfReachIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2, 1, 2, 3)
		before := f.hub(t, 1, watch.Config{})
		w := begin(t, before, "", "")
		cursor := w.Cursor()
		before.Close()
		f.commit(0, "k")
		f.commit(0, "k")
		f.do(func() {
			f.nodes[1].floor[0], f.nodes[2].floor[0] = 2, 2
			f.nodes[3].down = true
		})
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := h.Watch(ctx, nil, cursor); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
		back := time.AfterFunc(2*time.Second, func() { f.do(func() { f.nodes[3].down = false }) })
		defer back.Stop()
		w = begin(t, h, "", cursor)
		wantEvents(t, drain(t, w), "0.1.0", "0.2.0")
		w.Close()
		f.do(func() { f.nodes[3].floor[0] = 1 })
		if _, err := h.Watch(t.Context(), nil, cursor); !errors.Is(err, watch.ErrTooOld) {
			t.Errorf("forgotten everywhere: %v, want ErrTooOld", err)
		}
	})
}

// TestCatchingUpIsNoSilence: while a resumed watch waits for a partition that is out of reach, the reader has what was read of
// others, and hears that there is nothing more yet.
func TestCatchingUpIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2, 1, 2)
		before := f.hub(t, 1, watch.Config{})
		w := begin(t, before, "", "")
		cursor := w.Cursor()
		before.Close()
		f.commit(0, "k")
		f.commit(1, "k")
		f.do(func() { f.nodes[1].through[1] = 0 })
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		w = begin(t, h, "", cursor)
		f.do(func() { f.nodes[2].down = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if e, err := w.Next(ctx, time.Second); err != nil || e == nil || string(e.Value) != "0.1.0" {
			t.Fatalf("got %v, %v, want what the other partition has", e, err)
		}
		for _, wait := range []time.Duration{0, 10 * time.Second} {
			begun := time.Now()
			if e, err := w.Next(ctx, wait); e != nil || err != nil || time.Since(begun) > wait {
				t.Fatalf("got %v, %v after %v, want nothing within %v", e, err, time.Since(begun), wait)
			}
		}
		f.do(func() { f.nodes[2].down = false })
		wantEvents(t, drain(t, w), "1.1.0")
	})
}

// TestFeedBehindTheHistory: whoever watches is told that something was missed.
func TestFeedBehindTheHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{})
		defer h.Close()
		f.commit(0, "k")
		w := begin(t, h, "", "")
		defer w.Close()
		f.do(func() { f.nodes[1].down = true })
		f.commit(0, "k")
		f.commit(0, "k")
		f.do(func() { f.nodes[1].down, f.nodes[1].floor[0] = false, 2 })
		if _, err := w.Next(t.Context(), time.Hour); !errors.Is(err, watch.ErrLagged) {
			t.Fatalf("got %v, want ErrLagged", err)
		}
		if _, err := h.Watch(t.Context(), nil, w.Cursor()); !errors.Is(err, watch.ErrTooOld) {
			t.Errorf("resume: %v, want ErrTooOld", err)
		}
		again := begin(t, h, "", "")
		defer again.Close()
		f.commit(0, "k")
		wantEvents(t, drain(t, again), "0.4.0")
	})
}

func TestBadCursors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, other := newFake(2, 1), newFake(2, 1)
		other.id = "d"
		h, o, wide := f.hub(t, 1, watch.Config{}), other.hub(t, 1, watch.Config{}), newFake(4, 1).hub(t, 1, watch.Config{})
		defer h.Close()
		defer o.Close()
		defer wide.Close()
		f.commit(0, "k")
		w := begin(t, h, "a", "")
		good := w.Cursor()
		w.Close()
		f.do(func() { f.parts[0] = nil; f.nodes[1].through[0] = 0 }) // set back
		back := f.hub(t, 1, watch.Config{})
		defer back.Close()
		for name, try := range map[string]func() (*watch.Watcher, error){
			"another cluster":             func() (*watch.Watcher, error) { return o.Watch(t.Context(), []byte("a"), good) },
			"another prefix":              func() (*watch.Watcher, error) { return h.Watch(t.Context(), []byte("b"), good) },
			"other partitions":            func() (*watch.Watcher, error) { return wide.Watch(t.Context(), []byte("a"), good) },
			"of the future":               func() (*watch.Watcher, error) { return back.Watch(t.Context(), []byte("a"), good) },
			"cut":                         func() (*watch.Watcher, error) { return h.Watch(t.Context(), []byte("a"), good[:len(good)-1]) },
			"no base64":                   func() (*watch.Watcher, error) { return h.Watch(t.Context(), []byte("a"), "§") },
			"much too long":               func() (*watch.Watcher, error) { return h.Watch(t.Context(), []byte("a"), strings.Repeat("A", 1<<20)) },
			"another letter in the midst": func() (*watch.Watcher, error) { return h.Watch(t.Context(), []byte("a"), good[:9]+"_"+good[10:]) },
		} {
			if _, err := try(); !errors.Is(err, watch.ErrBadCursor) {
				t.Errorf("%s: %v, want ErrBadCursor", name, err)
			}
		}
		if n := h.Stats().Watchers; n != 0 {
			t.Errorf("%d watchers are left", n)
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{MaxWatchers: 2, MaxCatchUps: 1})
		defer h.Close()
		w := begin(t, h, "", "")
		cursor := w.Cursor()
		f.commit(0, "k")
		second := begin(t, h, "", cursor) // has not caught up
		var limit *watch.LimitError
		if _, err := h.Watch(t.Context(), nil, ""); !errors.As(err, &limit) || limit.Limit != 2 {
			t.Errorf("third watcher: %v", err)
		}
		w.Close()
		if _, err := h.Watch(t.Context(), nil, cursor); !errors.As(err, &limit) || limit.Limit != 1 {
			t.Errorf("second to catch up: %v", err)
		}
		wantEvents(t, drain(t, second), "0.1.0")
		third := begin(t, h, "", cursor)
		third.Close()
		second.Close()
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1, 1)
		h := f.hub(t, 1, watch.Config{})
		w := begin(t, h, "", "")
		h.Close()
		if _, err := w.Next(t.Context(), time.Hour); !errors.Is(err, watch.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		w.Close()
		if _, err := h.Watch(t.Context(), nil, ""); !errors.Is(err, watch.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

// TestExactlyOnce lets watchers wander between three nodes that lag, fail, lose replicas and come back, while keys change:
// every chain of watchers sees every change under its prefix once, in order.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { wander(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

const wanderSteps = 150

func wander(t *testing.T, rnd *rand.Rand) {
	const partitions = 3
	f := newFake(partitions, 1, 2, 3)
	hubs := make([]*watch.Hub, 3)
	for i := range hubs {
		hubs[i] = f.hub(t, ring.NodeID(i+1), watch.Config{QueueEvents: 5, Linger: time.Duration(1+rnd.IntN(20)) * 100 * time.Millisecond})
		defer hubs[i].Close()
	}
	var chains []*chain
	for _, prefix := range []string{"", "a", "ab", "b"} {
		c := &chain{f: f, hubs: hubs, prefix: prefix, got: make([][]string, partitions), rnd: rand.New(rand.NewPCG(rnd.Uint64(), 2)), stop: make(chan struct{}), done: make(chan struct{})}
		c.start(t)
		chains = append(chains, c)
	}
	for range wanderSteps {
		disturb(f, rnd)
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Millisecond) // of the bubble's clock: lets the others run
	}
	f.do(func() {
		for _, n := range f.nodes {
			n.down = false
			for p := range n.through {
				n.through[p] = uint64(len(f.parts[p]))
			}
		}
	})
	for _, c := range chains {
		close(c.stop)
		<-c.done
		want := f.told(c.prefix)
		for p := range want {
			sameEvents(t, fmt.Sprintf("prefix %q partition %d", c.prefix, p), c.got[p], want[p])
		}
	}
}

// sameEvents reports the first difference.
func sameEvents(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s: %d events, want %d; from %d on %q, want %q", what, len(got), len(want), i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
			return
		}
	}
}

// disturb does something to the cluster; at least one node always has everything.
func disturb(f *fake, rnd *rand.Rand) {
	p := ring.PartitionID(rnd.IntN(len(f.parts)))
	id := ring.NodeID(2 + rnd.IntN(2))
	switch rnd.IntN(8) {
	case 0:
		f.do(func() { f.nodes[id].down = !f.nodes[id].down })
	case 1: // the replica goes away, or begins to lag
		f.do(func() { f.nodes[id].through[p] = uint64(rnd.IntN(int(f.nodes[id].through[p]) + 1)) })
	case 2: // it catches up, and does not know what was before
		f.do(func() {
			n := f.nodes[id]
			n.through[p] = uint64(len(f.parts[p]))
			n.floor[p] = n.through[p]
		})
	default:
		keys := []string{"a", "ab", "b", "abc", "c"}
		f.commit(p, keys[:1+rnd.IntN(len(keys))]...)
	}
}

// chain is one watcher after the other, each where the one before stopped.
type chain struct {
	f      *fake
	hubs   []*watch.Hub
	prefix string
	got    [][]string
	rnd    *rand.Rand
	stop   chan struct{}
	done   chan struct{}
}

func (c *chain) start(t *testing.T) {
	w := begin(t, c.hubs[0], c.prefix, "")
	go func() {
		defer close(c.done)
		for cursor := c.read(t, w); cursor != ""; {
			w, err := c.hubs[c.rnd.IntN(len(c.hubs))].Watch(t.Context(), []byte(c.prefix), cursor)
			if err != nil {
				t.Errorf("resume: %v", err)
				return
			}
			cursor = c.read(t, w)
		}
	}()
}

// read reads some events, and returns the cursor to go on from; "" once nothing more is to come.
func (c *chain) read(t *testing.T, w *watch.Watcher) string {
	defer w.Close()
	for n := 1 + c.rnd.IntN(8); n > 0; n-- {
		e, err := w.Next(t.Context(), time.Duration(1+c.rnd.IntN(400))*time.Millisecond)
		switch {
		case errors.Is(err, watch.ErrLagged):
			return w.Cursor()
		case err != nil && !errors.Is(err, context.Canceled):
			t.Errorf("next: %v", err)
			return ""
		case e != nil:
			c.got[e.Partition] = append(c.got[e.Partition], string(e.Value))
			continue
		}
		select {
		case <-c.stop:
			if e, err := w.Next(t.Context(), time.Minute); e == nil && err == nil {
				return ""
			} else if e != nil {
				c.got[e.Partition] = append(c.got[e.Partition], string(e.Value))
			}
		default:
		}
	}
	return w.Cursor()
}
