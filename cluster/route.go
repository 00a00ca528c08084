package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// How long route waits between two attempts. An election takes seconds, a handed-over leadership milliseconds.
const (
	minPause = 2 * time.Millisecond
	maxPause = 100 * time.Millisecond
)

// intent is what a routed request is about.
type intent struct {
	read  bool // may be repeated whatever became of the last attempt
	stale bool // any replica will do, the nearest first
}

// route tries try with the nodes that may lead p until one does, a final error comes, or ctx ends. A write is tried
// again only after an attempt that certainly had no effect.
func (n *Node) route(ctx context.Context, p ring.PartitionID, in intent, try func(ctx context.Context, to ring.NodeID) error) error {
	pause := minPause
	for attempt := 0; ; attempt++ {
		to := n.pick(p, in.stale, attempt)
		err := ErrNotMember
		if to != 0 {
			if err = try(ctx, to); err == nil || !n.again(p, to, in, err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: partition %d: after %d attempts, the last: %w", errNoLeader, p, attempt+1, err)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
}

var errNoLeader = errors.New("no leader found in time")

// pick says whom to ask at this attempt.
func (n *Node) pick(p ring.PartitionID, stale bool, attempt int) ring.NodeID {
	if to := n.routes.leader(p); to != 0 && !stale {
		return to
	}
	all := n.routes.candidates(p)
	if stale && attempt == 0 && slices.Contains(all, n.self()) {
		return n.self()
	}
	if len(all) == 0 {
		return 0
	}
	return all[attempt%len(all)]
}

// again tells whether another attempt is allowed and may have more luck, and learns from this one.
func (n *Node) again(p ring.PartitionID, to ring.NodeID, in intent, err error) bool {
	var notLeader *replica.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		n.unlearn(p, to, notLeader.Leader.Node())
		return true
	case errors.Is(err, transport.ErrUnreachable), errors.Is(err, transport.ErrExpired):
		n.unlearn(p, to, 0)
		return true
	case errors.Is(err, replica.ErrDropped), errors.Is(err, ErrNotMember):
		return true
	case in.read && errors.Is(err, transport.ErrConnLost):
		n.unlearn(p, to, 0)
		return true
	case in.read && errors.Is(err, replica.ErrOutcomeUnknown):
		return true
	}
	return false
}

// unlearn takes in that a node did not lead p when it was asked, and whom it named instead. What it says of this node
// is left to the worker, which says whenever this node begins or ceases to lead: an answer can be older than that.
func (n *Node) unlearn(p ring.PartitionID, wrong, better ring.NodeID) {
	if better == wrong || better == n.self() {
		better = 0
	}
	if wrong == n.self() {
		n.routes.hint(p, better)
		return
	}
	n.routes.forget(p, wrong, better)
}

// writeError is what the caller of a write is told.
func writeError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDiskFull), errors.Is(err, ErrOverloaded), errors.Is(err, ErrLocked), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, transport.ErrOverloaded):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	case errors.Is(err, errNoLeader), errors.Is(err, transport.ErrClosed), errors.Is(err, transport.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// readError is what the caller of a read is told: it changed nothing, whatever happened.
func readError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrOverloaded), errors.Is(err, ErrLocked), errors.Is(err, storage.ErrCorrupt):
		return err
	case errors.Is(err, transport.ErrOverloaded):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
