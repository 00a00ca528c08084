package watch

import (
	"context"
	"slices"
	"time"

	"github.com/ringkv/ringkv/ring"
)

// feed follows the history of every partition and hands each change to the watchers that it is for. It lives from the first
// watcher to some time after the last. The hub's mutex guards everything in it.
type feed struct {
	hub    *Hub
	ctx    context.Context
	cancel context.CancelFunc
	ended  bool

	at      []uint64 // of each partition, the index up to which everything was handed out
	sources []source
	pollers map[ring.NodeID]*poller
	fast    chan struct{} // a token when a partition needs a source

	all     map[*Watcher]struct{}
	byPre   map[string][]*Watcher // those that are registered
	lengths map[int]int           // of their prefixes, with the number of prefixes
	idle    time.Time             // since when nobody watches
}

// source is where the history of a partition is read.
type source struct {
	node    ring.NodeID // 0: to be chosen
	attempt int
	after   time.Time // not to be chosen before
	gone    int       // sources in a row that no longer have what is wanted
}

func newFeed(h *Hub, at []uint64) *feed {
	f := &feed{
		hub: h, at: at, sources: make([]source, len(at)), pollers: make(map[ring.NodeID]*poller), fast: make(chan struct{}, 1),
		all: make(map[*Watcher]struct{}), byPre: make(map[string][]*Watcher), lengths: make(map[int]int), idle: time.Now(),
	}
	f.ctx, f.cancel = context.WithCancel(h.ctx)
	h.tasks.Go(f.manage)
	return f
}

// end cuts off all watchers with err and stops following.
func (f *feed) end(err error) {
	if f.ended {
		return
	}
	f.ended = true
	for w := range f.all {
		w.cut(err)
	}
	if f.hub.feed == f {
		f.hub.feed = nil
	}
	f.cancel()
}

func (f *feed) add(w *Watcher) {
	w.feed = f
	f.all[w] = struct{}{}
}

func (f *feed) remove(w *Watcher) {
	delete(f.all, w)
	if w.registered {
		f.unregister(w)
	}
	if len(f.all) == 0 {
		f.idle = time.Now()
	}
}

// register hands w everything from now on; w has what was handed out before, or will read it.
func (f *feed) register(w *Watcher) {
	w.registered = true
	if w.at.aheadOf(f.at) {
		ahead := w.at.clone()
		w.ahead = &ahead
	}
	key := string(w.prefix)
	if len(f.byPre[key]) == 0 {
		f.lengths[len(key)]++
	}
	f.byPre[key] = append(f.byPre[key], w)
}

func (f *feed) unregister(w *Watcher) {
	key := string(w.prefix)
	ws := f.byPre[key]
	i := slices.Index(ws, w)
	ws[i] = ws[len(ws)-1]
	ws[len(ws)-1] = nil
	if f.byPre[key] = ws[:len(ws)-1]; len(ws) > 1 {
		return
	}
	delete(f.byPre, key)
	if f.lengths[len(key)]--; f.lengths[len(key)] == 0 {
		delete(f.lengths, len(key))
	}
}

// take hands out an answer. What does not begin where the partition stands was read twice, and is dropped.
func (f *feed) take(after uint64, a *Answer) {
	if f.ended || f.at[a.Partition] != after || a.Through <= after {
		return
	}
	for i := range a.Changes {
		var e *Event
		for length := range f.lengths {
			key := a.Changes[i].Key
			if length > len(key) {
				continue
			}
			for _, w := range f.byPre[string(key[:length])] {
				if e == nil {
					e = newEvent(a.Partition, &a.Changes[i])
				}
				w.push(e)
			}
		}
	}
	f.at[a.Partition], f.sources[a.Partition].gone = a.Through, 0
}

// manage finds sources for partitions and stops a feed that nobody needs.
func (f *feed) manage() {
	defer f.cancel()
	tick := time.NewTicker(f.hub.cfg.Retry)
	defer tick.Stop()
	for round := 0; ; round++ {
		if f.assign(round%reviewRounds == 0) {
			return
		}
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
		case <-f.fast:
		}
	}
}

// reviewRounds is after how many looks at the partitions without a source the others are looked at as well: whether theirs
// is still the best.
const reviewRounds = 10

// assign chooses sources and starts what reads from them. It reports true if the feed is over.
func (f *feed) assign(review bool) bool {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if !f.ended && len(f.all) == 0 && time.Since(f.idle) > f.hub.cfg.Linger {
		f.end(ErrLagged)
	}
	if f.ended {
		return true
	}
	now := time.Now()
	for p := range f.sources {
		if s := &f.sources[p]; review || s.node == 0 && !now.Before(s.after) {
			f.choose(ring.PartitionID(p), s)
		}
	}
	return false
}

func (f *feed) choose(p ring.PartitionID, s *source) {
	nodes := f.hub.cluster.Sources(p)
	if len(nodes) == 0 {
		return
	}
	switch {
	case s.node == 0:
	case s.node == nodes[0]:
		s.attempt = 0
		return
	case !slices.Contains(nodes, s.node):
	case s.attempt == 0 || time.Since(s.after) > backToBest: // there is a better one, and it may be well again
		s.attempt = 0
	default:
		return
	}
	node := nodes[s.attempt%len(nodes)]
	if node == s.node {
		return
	}
	s.node = node
	po := f.pollers[node]
	if po == nil {
		po = &poller{feed: f, node: node, interrupt: make(chan struct{}, 1)}
		f.pollers[node] = po
		f.hub.tasks.Go(po.run)
		return
	}
	po.again()
}

// backToBest is after how long the best source of a partition, which failed, is tried again.
const backToBest = 3 * time.Second

// forgotten takes in that a source no longer has what a partition goes on with. If none has it, whoever watches missed
// something.
func (f *feed) forgotten(p ring.PartitionID, node ring.NodeID) {
	s := &f.sources[p]
	if s.gone++; s.gone < len(f.hub.cluster.Sources(p)) {
		f.lose(p, node)
		return
	}
	f.hub.cfg.Logger.Warn("watchers fell behind the history", "partition", p, "index", f.at[p])
	f.end(ErrLagged)
}

// lose takes a partition away from a source that failed.
func (f *feed) lose(p ring.PartitionID, node ring.NodeID) {
	s := &f.sources[p]
	if s.node != node {
		return
	}
	s.node, s.attempt, s.after = 0, s.attempt+1, time.Now().Add(f.hub.cfg.Retry)
}
