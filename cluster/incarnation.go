package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
)

// life is which of its node's lives a process is. Every start of a node gets a number of its own from the metadata
// group, higher than those of all starts before.
type life struct {
	run    string        // tells it apart from all other processes
	number atomic.Uint64 // 0 until it is confirmed
	known  chan struct{} // closed once it is
}

func newLife() life { return life{run: rand.Text(), known: make(chan struct{})} }

// Incarnation is this start's number: higher than that of every earlier start of this node, and no other process ever
// has it. It is 0 until the metadata group has confirmed it, soon after the start or the admission; a majority has it on disk then.
func (n *Node) Incarnation() uint64 { return n.life.number.Load() }

// AwaitIncarnation waits until Incarnation is confirmed and returns it. Errors: the cause of ctx's end, or why the node
// stops.
func (n *Node) AwaitIncarnation(ctx context.Context) (uint64, error) {
	select {
	case <-n.life.known:
		return n.Incarnation(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for this start's number: %w", context.Cause(ctx))
	case <-n.ctx.Done():
		return 0, context.Cause(n.ctx)
	}
}

// RenewIncarnation gives this process another number, higher than its present one, as if it had started again. Errors:
// ErrUnavailable, ErrUnknownOutcome; then it may have one more that it does not know of and never uses.
func (n *Node) RenewIncarnation(ctx context.Context) (uint64, error) {
	if _, err := n.AwaitIncarnation(ctx); err != nil {
		return 0, err
	}
	for {
		number, err := n.tryBegin()
		if err == nil {
			n.life.number.Store(number)
			return number, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("renew this start's number: %w", err)
		case <-n.ctx.Done():
			return 0, context.Cause(n.ctx)
		case <-time.After(beginPause):
		}
	}
}

const beginPause = 100 * time.Millisecond

// beginLife has the metadata group give this start its number. An attempt of unknown outcome may have used one up; it
// cannot take effect any more once a later one has, because each is conditional on the State that it read.
func (n *Node) beginLife() {
	for {
		number, err := n.tryBegin()
		if err == nil {
			n.life.number.Store(number)
			close(n.life.known)
			n.checkLife(n.routes.state.Load()) // a higher one may have been seen before ours was confirmed
			return
		}
		if final(err) {
			n.fail(err)
			return
		}
		n.logger.Debug("begin incarnation", "err", err)
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(beginPause):
		}
	}
}

// final reports whether asking again to be taken for a member is of no use: another runs as this node, or others have
// its replicas and nobody tells it anything any more.
func final(err error) bool {
	return errors.Is(err, ErrTwin) || errors.Is(err, meta.ErrLeft) || errors.Is(err, meta.ErrWrongCluster)
}

// tryBegin takes the next number, and with it the place of whoever had the last one: where this node is changes in the
// same step, after another look at where it was.
func (n *Node) tryBegin() (number uint64, err error) {
	ctx, cancel := context.WithTimeout(n.ctx, controlBound)
	defer cancel()
	a := n.admission()
	_, err = n.changeState(ctx, func(s *meta.State) (*meta.State, error) {
		if err := n.checkTwin(ctx, s); err != nil {
			return nil, err
		}
		next, _, err := s.Admit(a, n.alive)
		if errors.Is(err, meta.ErrNoChange) {
			next, err = s, nil
		}
		if err != nil {
			return nil, err
		}
		next, number, err = next.Begin(n.self(), n.life.run)
		return next, err
	})
	return number, err
}

// checkLife stops the node if a later start of it has got a number: then two processes run with one identity, and what
// one of them promises the other does not know.
func (n *Node) checkLife(s *meta.State) {
	number := n.Incarnation()
	if s == nil || number == 0 || n.ctx.Err() != nil {
		return
	}
	me, ok := s.Member(n.identity.Load().UUID)
	if ok && me.Incarnation > number && me.Run != n.life.run {
		n.fail(n.twinError("it was started again, at " + me.Peer))
	}
}
