package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// TxnStatus tells what became of the transaction that clients know by this id. It settles one that nobody runs any more.
// Errors: txn.ErrNotFound, txn.ErrUnavailable where its home cannot be asked.
func (s *Service) TxnStatus(ctx context.Context, name string) (txn.Status, error) {
	s.mu.Lock()
	id := s.identity
	s.mu.Unlock()
	if id == nil {
		return 0, &txn.Error{ID: name, Err: txn.ErrUnavailable}
	}
	t, home, err := txn.ParseID(name, id.ClusterID)
	if err != nil {
		return 0, &txn.Error{ID: name, Err: err}
	}
	if t.Incarnation == 0 || int(home) >= id.Ring.Partitions() { // read-only ones have no incarnation
		return 0, &txn.Error{ID: name, Err: txn.ErrNotFound}
	}
	st, err := s.status(ctx, t, home)
	if err != nil {
		return 0, &txn.Error{ID: name, Err: err}
	}
	return st, nil
}

func (s *Service) status(ctx context.Context, t storage.TxnID, home storage.PartitionID) (txn.Status, error) {
	for {
		known, err := s.cfg.Groups.TxnState(ctx, home, t)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", txn.ErrUnavailable, err)
		}
		if st, final := settled(&known); final {
			if st == 0 {
				return 0, txn.ErrNotFound
			}
			return st, nil
		}
		if s.inHand(ctx, t) {
			return txn.StatusPending, nil
		}
		again, err := s.settle(ctx, t, home, &known)
		if err != nil {
			return txn.StatusPending, nil //nolint:nilerr // nobody can say yet, and that is the answer
		}
		if !again {
			return txn.StatusPending, nil
		}
	}
}

// settled reads a final state; 0 for one that was forgotten.
func settled(k *storage.TxnStatus) (st txn.Status, final bool) {
	switch {
	case k.Decision == storage.DecideThen, k.Decision == storage.DecideElse:
		return txn.StatusCommitted, true
	case k.Decision == storage.DecideNothing, k.Decision == storage.DecideAbort:
		return txn.StatusAborted, true
	case k.State == storage.TxnGone:
		return 0, true
	}
	return 0, false
}

// settle brings a transaction that nobody runs to its end: one in doubt is recovered, one that home does not know, or has
// refused without sealing it, is sealed there. again means that home now knows more.
func (s *Service) settle(ctx context.Context, t storage.TxnID, home storage.PartitionID, k *storage.TxnStatus) (again bool, err error) {
	if k.State == storage.TxnYes && k.Open != nil {
		return s.awaitRecovery(ctx, *k.Open)
	}
	attempt := max(k.Attempt, 1) // R2: a bare id stands for attempt 1
	cmd := storage.AppendCommand(nil, &storage.Command{
		Kind: storage.KindRefuse, Txn: &storage.TxnCommand{ID: t, Attempt: attempt, Home: home},
	})
	res, err := s.cfg.Groups.Transact(ctx, home, cmd)
	if err != nil || res.Txn == nil {
		return false, errors.Join(txn.ErrUnavailable, err)
	}
	return true, nil
}

// lookAgain is how long a recovery is waited for before its home is asked once more.
const lookAgain = 500 * time.Millisecond

// awaitRecovery recovers o, or waits for whoever in this node does, until there is a conclusion or
// it is time to look again.
func (s *Service) awaitRecovery(ctx context.Context, o storage.OpenTxn) (bool, error) {
	s.Suspect(o)
	s.mu.Lock()
	r := s.recoveries[o.ID]
	s.mu.Unlock()
	var done <-chan struct{} // never ready
	if r != nil {
		done = r.done
	}
	pause := time.NewTimer(lookAgain)
	defer pause.Stop()
	select {
	case <-done:
		return true, nil
	case <-pause.C: // there was no room for it, or somebody else may have been faster
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-s.ctx.Done():
		return false, context.Cause(s.ctx)
	}
}
