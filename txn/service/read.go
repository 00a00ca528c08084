package service

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// errUnsettled is returned by read when what it read changed again and again: then locks are taken.
var errUnsettled = errors.New("what the transaction reads keeps changing")

// readRounds is how often a read-only transaction looks again before it takes S locks.
const readRounds = 3

// read carries out a transaction that only reads, without a log entry (section 7): read all, and when all have answered
// look again in every group. If nothing has changed, it all held at one moment between the two.
func (s *Service) read(ctx context.Context, plan *txn.Plan, deadline time.Time) (*txn.Outcome, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	first, err := s.readAll(ctx, plan)
	if err != nil {
		return nil, err
	}
	for round := uint32(1); ; round++ {
		if len(plan.Parts) == 1 {
			return s.readOutcome(plan, first, round)
		}
		again, err := s.readAll(ctx, plan)
		if err != nil {
			return nil, err
		}
		if unchanged(first, again) {
			return s.readOutcome(plan, first, round)
		}
		if round == readRounds {
			return nil, errUnsettled
		}
		first = again // as good a first look as any: it, too, was whole before the next begins
	}
}

// readAll reads what the plan needs in all groups at once.
func (s *Service) readAll(ctx context.Context, plan *txn.Plan) ([]storage.ReadSet, error) {
	sets := make([]storage.ReadSet, len(plan.Parts))
	g, ctx := errgroup.WithContext(ctx)
	for i := range plan.Parts {
		part := &plan.Parts[i]
		g.Go(func() (err error) {
			keys, locks := part.Prepare.Keys()
			sets[i], err = s.cfg.Groups.ReadKeys(ctx, part.Group, keys, locks)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &txn.Error{Err: errors.Join(txn.ErrTimeout, err)}
		}
		return nil, &txn.Error{Err: errors.Join(txn.ErrUnavailable, err)}
	}
	return sets, nil
}

// unchanged compares two looks. An absent key has the version of its group's last removal (R10): one that was created
// and deleted between the looks shows, and a lock that was taken and released likewise.
func unchanged(a, b []storage.ReadSet) bool {
	for i := range a {
		x, y := &a[i], &b[i]
		for k := range x.Items {
			if x.Items[k].Version != y.Items[k].Version {
				return false
			}
			if x.Items[k].Version == 0 && x.LastRemoval != y.LastRemoval {
				return false
			}
		}
		for k := range x.Tokens {
			if x.Tokens[k] != y.Tokens[k] || x.Tokens[k] == 0 && x.LastRemoval != y.LastRemoval {
				return false
			}
		}
	}
	return true
}

func (s *Service) readOutcome(plan *txn.Plan, sets []storage.ReadSet, rounds uint32) (*txn.Outcome, error) {
	votes := make([]*storage.Vote, len(sets))
	for i := range sets {
		v, err := storage.EvaluateReads(&plan.Parts[i].Prepare, &sets[i])
		if err != nil {
			return nil, &txn.Error{Err: err}
		}
		votes[i] = &v
	}
	head := txn.Outcome{ID: s.readName(plan.Home()), Protocol: plan.Protocol, Participants: plan.Participants(), Attempts: rounds}
	o := txn.AssembleOutcome(head, txn.Decide(votes), votes)
	o.Name(plan.Request)
	return o, nil
}

// readName names a read-only transaction, of which nobody keeps a record: by an incarnation that never lived.
func (s *Service) readName(home storage.PartitionID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := storage.TxnID{Node: s.identity.Node, Seq: s.newNonce(s.identity.Incarnation)}
	return txn.FormatID(t, home, s.identity.ClusterID)
}
