package watch

import (
	"context"

	"github.com/ringkv/ringkv/ring"
)

// poller reads from one node the histories of all partitions whose source that node is.
type poller struct {
	feed      *feed
	node      ring.NodeID
	interrupt chan struct{} // a token when there are more partitions to ask for
	turn      int           // so that no partition is always the last
}

// pollBytes is how much one read brings at most, about.
const pollBytes = 1 << 20

func (po *poller) again() {
	select {
	case po.interrupt <- struct{}{}:
	default:
	}
}

func (po *poller) run() {
	for po.feed.ctx.Err() == nil {
		wants := po.wants()
		if len(wants) == 0 {
			return
		}
		answers, err := po.read(wants)
		po.settle(wants, answers, err)
	}
}

// wants are what the node is to be asked for; none ends the poller.
func (po *poller) wants() []Want {
	f := po.feed
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	var wants []Want
	po.turn++
	for i := range f.sources {
		p := (i + po.turn) % len(f.sources)
		if f.sources[p].node == po.node {
			wants = append(wants, Want{ring.PartitionID(p), f.at[p]})
		}
	}
	if len(wants) == 0 {
		delete(f.pollers, po.node)
	}
	return wants
}

// read asks until there is news, or until something else is to be asked for: no answer and no error then.
func (po *poller) read(wants []Want) ([]Answer, error) {
	ctx, cancel := context.WithCancel(po.feed.ctx)
	defer cancel()
	type result struct {
		answers []Answer
		err     error
	}
	done := make(chan result, 1)
	go func() { // joined below
		answers, err := po.feed.hub.cluster.Read(ctx, po.node, Query{Wants: wants, Wait: po.feed.hub.cfg.Poll, MaxBytes: pollBytes})
		done <- result{answers, err}
	}()
	select {
	case r := <-done:
		return r.answers, r.err
	case <-po.interrupt:
		cancel()
		r := <-done
		return r.answers, nil
	}
}

// settle hands out what was read, and sends partitions elsewhere that the node does not have.
func (po *poller) settle(wants []Want, answers []Answer, err error) {
	f := po.feed
	after := make(map[ring.PartitionID]uint64, len(wants))
	for _, w := range wants {
		after[w.Partition] = w.After
	}
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if err != nil && f.ctx.Err() == nil {
		f.hub.cfg.Logger.Debug("read histories", "node", po.node, "err", err)
		for p := range after {
			f.lose(p, po.node)
		}
	}
	for i := range answers {
		a := &answers[i]
		from, asked := after[a.Partition]
		switch {
		case !asked:
		case a.Verdict == Here:
			f.take(from, a)
		case a.Verdict == Elsewhere:
			f.lose(a.Partition, po.node)
		case f.at[a.Partition] == from && f.sources[a.Partition].node == po.node && !f.ended:
			f.forgotten(a.Partition, po.node)
		}
	}
}
