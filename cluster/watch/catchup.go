package watch

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringkv/ringkv/ring"
)

// catchUp is what a resumed watcher does before it reads what the feed hands out: it reads what lies between its cursor and
// the feed from the histories themselves, round by round. Once a round was short it registers, and the round after it, up
// to where the feed stood then, is the last: from there on the queue has everything.
type catchUp struct {
	hub    *Hub
	free   sync.Once // gives the slot back
	target []uint64  // of this round
	next   int       // partition
	events int       // of this round
	rounds int
	last   bool
}

const (
	catchUpBytes = 256 << 10 // that one read brings, about
	shortRound   = 256       // events
	maxRounds    = 10        // before the watcher registers, however long they were
)

func (c *catchUp) end() { c.free.Do(func() { <-c.hub.slots }) }

// beginCatchUp takes a slot and makes sure that everything is still kept.
func (w *Watcher) beginCatchUp(ctx context.Context) error {
	if err := w.hub.takeSlot(ctx); err != nil {
		return err
	}
	w.catch = &catchUp{hub: w.hub}
	if err := w.nextRound(); err != nil {
		return err
	}
	return w.checkKept(ctx)
}

func (h *Hub) takeSlot(ctx context.Context) error {
	timer := time.NewTimer(h.cfg.SlotWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return &LimitError{What: "watches catching up on this node", Limit: h.cfg.MaxCatchUps}
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-h.ctx.Done():
		return ErrClosed
	}
}

// nextRound aims at where the feed is now.
func (w *Watcher) nextRound() error {
	c := w.catch
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.feed.ended {
		return w.why()
	}
	if c.rounds > 0 && c.events < shortRound || c.rounds >= maxRounds {
		w.feed.register(w)
		c.last = true
	}
	c.target, c.next, c.events = slices.Clone(w.feed.at), 0, 0
	c.rounds++
	return nil
}

func (w *Watcher) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// checkKept asks for all partitions at once whether what was missed is still there.
func (w *Watcher) checkKept(ctx context.Context) error {
	var wants []Want
	for p, index := range w.at.through {
		if index < w.catch.target[p] {
			wants = append(wants, Want{ring.PartitionID(p), index})
		}
	}
	gone := make(map[ring.PartitionID]forgetters)
	for attempt := 0; len(wants) > 0; attempt++ {
		left := w.hub.checkAt(ctx, wants, attempt, gone)
		for _, want := range left {
			if gone[want.Partition].all(w.hub.cluster.Sources(want.Partition)) {
				return ErrTooOld
			}
		}
		if wants = left; len(wants) == 0 {
			return nil
		}
		if attempt > 0 {
			if err := w.pause(ctx); err != nil {
				return fmt.Errorf("read history of partition %d: %w", wants[0].Partition, err)
			}
		}
	}
	return nil
}

// forgetters are the nodes which said that they no longer have what is wanted. One that cannot be asked may have it yet.
type forgetters map[ring.NodeID]bool

// all tells whether that is all of a partition's sources.
func (fs forgetters) all(sources []ring.NodeID) bool {
	has := func(node ring.NodeID) bool { return !fs[node] }
	return len(sources) > 0 && !slices.ContainsFunc(sources, has)
}

// checkAt asks the node whose turn it is at this attempt for each want. It returns those that were not answered well.
func (h *Hub) checkAt(ctx context.Context, wants []Want, attempt int, gone map[ring.PartitionID]forgetters) (left []Want) {
	byNode := make(map[ring.NodeID][]Want)
	for _, want := range wants {
		node := ring.NodeID(0)
		if nodes := h.cluster.Sources(want.Partition); len(nodes) > 0 {
			node = nodes[attempt%len(nodes)]
		}
		byNode[node] = append(byNode[node], want)
	}
	for node, wants := range byNode {
		if node == 0 {
			left = append(left, wants...)
			continue
		}
		answers, err := h.cluster.Read(ctx, node, Query{Wants: wants})
		for _, want := range wants {
			i := slices.IndexFunc(answers, func(a Answer) bool { return a.Partition == want.Partition })
			switch {
			case err != nil, i >= 0 && answers[i].Verdict == Elsewhere:
				left = append(left, want)
			case i >= 0 && answers[i].Verdict == Gone:
				if gone[want.Partition] == nil {
					gone[want.Partition] = make(forgetters)
				}
				gone[want.Partition][node] = true
				left = append(left, want)
			}
		}
	}
	slices.SortFunc(left, func(a, b Want) int { return int(a.Partition) - int(b.Partition) })
	return left
}

func (w *Watcher) pause(ctx context.Context) error {
	timer := time.NewTimer(w.hub.cfg.Retry)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.hub.ctx.Done():
		return ErrClosed
	}
}

// catchUp reads until there is something in the batch, or nothing left to catch up on. It reports false if that took longer
// than wait: whoever waits must not be silent meanwhile, and what it was given before must not wait for what is out of reach.
func (w *Watcher) catchUp(ctx context.Context, wait time.Duration) (more bool, err error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for w.catch != nil && len(w.batch) == 0 {
		if limited.Err() != nil {
			return false, context.Cause(ctx) // nil if only wait is over
		}
		if err := w.fill(limited); err != nil && limited.Err() == nil { // one that lasts comes again
			return false, err
		}
	}
	return true, nil
}

// fill reads the next piece into the batch, which may stay empty.
func (w *Watcher) fill(ctx context.Context) error {
	c := w.catch
	for c.next < len(c.target) && w.at.through[c.next] >= c.target[c.next] {
		c.next++
	}
	if c.next < len(c.target) {
		return w.readMissed(ctx, ring.PartitionID(c.next))
	}
	if c.last {
		c.end()
		w.catch = nil
		return nil
	}
	return w.nextRound()
}

// readMissed reads a piece of what was missed of a partition.
func (w *Watcher) readMissed(ctx context.Context, p ring.PartitionID) error {
	if err := w.why(); err != nil {
		return err
	}
	after, target := w.at.through[p], w.catch.target[p]
	a, err := w.hub.readOne(ctx, w, Want{p, after})
	if err != nil {
		return err
	}
	for i := range a.Changes {
		c := &a.Changes[i]
		if c.Index <= target && bytes.HasPrefix(c.Key, w.prefix) && !w.at.covers(p, c) {
			w.batch = append(w.batch, newEvent(p, c))
		}
	}
	w.catch.events += len(w.batch)
	w.upto = make([]uint64, len(w.at.through))
	w.upto[p] = min(a.Through, target)
	if len(w.batch) == 0 {
		w.settle()
	}
	return nil
}

// readOne asks one source after the other until one has the history.
func (h *Hub) readOne(ctx context.Context, w *Watcher, want Want) (*Answer, error) {
	gone := make(forgetters)
	for attempt := 0; ; attempt++ {
		nodes := h.cluster.Sources(want.Partition)
		if gone.all(nodes) {
			w.cut(ErrLagged)
			return nil, ErrLagged
		}
		if len(nodes) > 0 {
			node := nodes[attempt%len(nodes)]
			answers, err := h.cluster.Read(ctx, node, Query{Wants: []Want{want}, Wait: h.cfg.Poll, MaxBytes: catchUpBytes})
			switch {
			case err != nil || len(answers) != 1 || answers[0].Verdict == Elsewhere:
			case answers[0].Verdict == Gone:
				gone[node] = true
			case answers[0].Through > want.After:
				return &answers[0], nil
			}
		}
		if err := w.pause(ctx); err != nil {
			return nil, fmt.Errorf("read history of partition %d: %w", want.Partition, err)
		}
	}
}
