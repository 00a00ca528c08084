package systemtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/ring"
)

var watchFor = flag.Duration("watch-for", 30*time.Second, "how long TestWatch writes and breaks nodes, at least")

// What has to happen meanwhile, however long that takes.
const (
	wantHops          = 100
	wantLeaderChanges = 20
	wantMoves         = 5
	wantBreaks        = 5
	wantWrites        = 300
	wantExpiring      = 100
	wantTxns          = 50
	watchAtMost       = 10 * time.Minute
)

// watchTrial is what TestWatch is made of.
type watchTrial struct {
	t         *testing.T
	f         *fleet
	deeds     deeds
	counts    writeCounts
	followers []*follower
	observer  *observer
	breaks    int // nodes killed, paused or emptied
	begun     time.Time
}

// TestWatch follows everything that writers do while nodes are killed, paused, emptied and added: each follower is sent
// from node to node with its cursor, and is told every change exactly once, versions of a key in order, the changes of a
// transaction with its id.
func TestWatch(t *testing.T) {
	w := &watchTrial{t: t, f: newFleet(t, 4), begun: time.Now()}
	for i := range 3 {
		w.f.start(i)
		w.f.ready(i)
	}
	c := w.f.client()
	defer c.Close()
	w.f.settled(c, 3)
	w.reached("three nodes")
	w.observer = newObserver(w.f)
	w.observer.begin()
	w.follow()

	reading, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	for _, fo := range w.followers {
		readers.Go(func() { fo.run(reading) })
	}
	readers.Go(func() { w.observer.run(reading) })

	scribes := w.write()
	w.reached("enough is broken")
	w.f.settled(c, 4)
	w.reached("four nodes")
	w.sign(scribes[1])
	w.catchUp()
	w.reached("all is told")
	w.compare(c)
	w.reached("all is compared")
	stop()
	readers.Wait()
	w.report()
}

// reached says how far the test is, and when.
func (w *watchTrial) reached(what string) {
	w.t.Logf("%s after %v", what, time.Since(w.begun).Round(time.Second))
}

// follow begins to watch, in several ways, at different nodes.
func (w *watchTrial) follow() {
	w.t.Helper()
	for i, prefix := range []string{"w/", "w/", "w/1/", "w/2/txn", ""} {
		fo := newFollower(w.f, i, prefix)
		w.f.within(patience, "a first watch", func() bool { return fo.begin(w.t.Context(), i%3) == nil })
		w.followers = append(w.followers, fo)
	}
}

// write has scribes at work while nodes break, until enough has happened.
func (w *watchTrial) write() []*scribe {
	writing, stop := context.WithCancel(w.t.Context())
	defer stop()
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	var scribes []*scribe
	for i := range 6 {
		s := newScribe(w.f, i, &w.deeds, &w.counts)
		w.t.Cleanup(func() { _ = s.c.Close() })
		scribes = append(scribes, s)
		writers.Go(func() { s.run(writing) })
	}
	w.breakNodes()
	return scribes
}

// breakNodes lets a fourth node join, and then breaks one after the other.
func (w *watchTrial) breakNodes() {
	begun := time.Now()
	w.f.pause(time.Second)
	w.f.start(3)
	w.f.ready(3)
	ways := []struct {
		node int
		do   func(i int)
	}{{0, w.killed}, {1, w.paused}, {2, w.killed}, {1, w.emptied}, {3, w.paused}, {2, w.killed}, {0, w.paused}, {3, w.killed}}
	for ; time.Since(begun) < *watchFor || !w.enough(); w.breaks++ {
		if time.Since(begun) > watchAtMost {
			w.t.Fatalf("too little happens: %s", w.happened())
		}
		w.allFollow()
		w.f.pause(time.Second)
		next := ways[w.breaks%len(ways)]
		next.do(next.node)
		w.f.ready(next.node)
	}
}

// allFollow ends the test if a follower cannot go on.
func (w *watchTrial) allFollow() {
	w.t.Helper()
	for _, fo := range w.followers {
		if err := fo.failure(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *watchTrial) killed(i int) {
	w.f.nodes[i].kill()
	w.f.pause(500 * time.Millisecond)
	w.f.start(i)
}

// paused stops a node for longer than an election takes.
func (w *watchTrial) paused(i int) {
	w.f.nodes[i].signal(syscall.SIGSTOP)
	w.f.pause(4 * time.Second)
	w.f.nodes[i].signal(syscall.SIGCONT)
}

// emptied loses the disk of a node, which comes back as a new one.
func (w *watchTrial) emptied(i int) {
	p := w.f.nodes[i]
	p.kill()
	if err := os.RemoveAll(p.dir); err != nil {
		w.t.Fatal(err)
	}
	w.observer.emptied(p.name)
	w.f.start(i)
}

func (w *watchTrial) hops() (n int) {
	for _, fo := range w.followers {
		n += int(fo.hops.Load())
	}
	return n
}

func (w *watchTrial) enough() bool {
	leaderChanges, moves := w.observer.counts()
	c := &w.counts
	return w.hops() >= wantHops && leaderChanges >= wantLeaderChanges && moves >= wantMoves && w.breaks >= wantBreaks &&
		c.done.Load() >= wantWrites && c.expiring.Load() >= wantExpiring && c.txns.Load() >= wantTxns
}

func (w *watchTrial) happened() string {
	leaderChanges, moves := w.observer.counts()
	return fmt.Sprintf("%d resumes at another node, %d leader changes, %d moves, %d nodes broken; %d writes done, %d undone, %d of unknown outcome; "+
		"%d with a time to live, %d transactions", w.hops(), leaderChanges, moves, w.breaks,
		w.counts.done.Load(), w.counts.undone.Load(), w.counts.unknown.Load(), w.counts.expiring.Load(), w.counts.txns.Load())
}

// sign has a scribe write once more, to every partition.
func (w *watchTrial) sign(s *scribe) {
	w.t.Helper()
	r, err := ring.New(64)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.sign(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

// catchUp waits until nobody misses anything, and for some more hops, which must bring nothing.
func (w *watchTrial) catchUp() {
	deadline := time.Now().Add(patience)
	for {
		err := w.missing()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
		w.f.pause(200 * time.Millisecond)
	}
	for _, fo := range w.followers {
		target := fo.hops.Load() + 2
		w.f.within(patience, "a follower to go on", func() bool { return fo.hops.Load() >= target })
	}
}

// compare waits until the followers of everything know exactly what is stored.
func (w *watchTrial) compare(c *client.Client) {
	var last error
	defer func() {
		if w.t.Failed() {
			w.t.Log(last)
		}
	}()
	w.f.within(patience, "the events to tell what is stored", func() bool {
		var stored map[string]uint64
		if stored, last = w.stored(c); last != nil {
			return false
		}
		for _, fo := range w.followers[:2] {
			if last = matches(fo.record(), stored); last != nil {
				return false
			}
		}
		return true
	})
}

// stored lists the versions of all keys that were watched.
func (w *watchTrial) stored(c *client.Client) (map[string]uint64, error) {
	stored := make(map[string]uint64)
	for item, err := range c.List(w.t.Context(), client.ListOptions{Prefix: "w/", KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		stored[item.Key] = uint64(item.Version)
	}
	return stored, nil
}

// missing judges all followers. What is wrong for good ends the test; else it is what one still waits for.
func (w *watchTrial) missing() error {
	for _, fo := range w.followers {
		err := fo.verdict(&w.deeds)
		switch {
		case errors.Is(err, errMissing):
			return err
		case err != nil:
			w.t.Fatal(err)
		}
	}
	return nil
}

// report is the last word, on everything that was told.
func (w *watchTrial) report() {
	w.t.Helper()
	first := w.followers[0]
	for _, fo := range w.followers {
		if err := fo.verdict(&w.deeds); err != nil {
			w.t.Error(err)
		}
		if err := agree(fo.prefix, first.record(), fo.record()); err != nil {
			w.t.Error(err)
		}
	}
	doneAfterAll, expired := w.deeds.afterAll(first.record())
	w.t.Logf("%s; %d events for the first follower; %d puts of unknown outcome were done, %d of them expired",
		w.happened(), first.count, doneAfterAll, expired)
	if !w.enough() {
		w.t.Errorf("too little happened to show anything")
	}
}
