package server_test

import (
	"context"
	"sync"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// fakeTxns is a Transactor that keeps the requests. What it answers can be scripted; by itself it reports every
// operation of then as done on an absent key, and every status as committed but for the id "unknown".
type fakeTxns struct {
	transact func(ctx context.Context, r *txn.Request) (*txn.Outcome, error)
	status   func(ctx context.Context, id string) (txn.Status, error)

	mu       sync.Mutex // guards what follows
	requests []*txn.Request
	asked    []string
}

// answering is a Transactor with one answer.
func answering(out *txn.Outcome, err error) *fakeTxns {
	return &fakeTxns{
		transact: func(context.Context, *txn.Request) (*txn.Outcome, error) { return out, err },
		status:   func(context.Context, string) (txn.Status, error) { return 0, err },
	}
}

func (f *fakeTxns) Transact(ctx context.Context, r *txn.Request) (*txn.Outcome, error) {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	if f.transact != nil {
		return f.transact(ctx, r)
	}
	out := &txn.Outcome{ID: "t1", Decision: storage.DecideThen, Protocol: storage.OnePhase, Participants: []storage.PartitionID{12}, Attempts: 1}
	for i, op := range r.Then {
		out.Results = append(out.Results, storage.OpResult{Index: uint32(i), Kind: storage.OpDelete, Key: op.Key})
	}
	return out, nil
}

func (f *fakeTxns) TxnStatus(ctx context.Context, id string) (txn.Status, error) {
	f.mu.Lock()
	f.asked = append(f.asked, id)
	f.mu.Unlock()
	switch {
	case f.status != nil:
		return f.status(ctx, id)
	case id == "unknown":
		return 0, txn.ErrNotFound
	default:
		return txn.StatusCommitted, nil
	}
}

// last returns the last request.
func (f *fakeTxns) last() *txn.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1]
}

// count returns how many requests there were.
func (f *fakeTxns) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func (*fakeTxns) TxnCounts() txn.Counts {
	return txn.Counts{Running: 3, Recovering: 2, Recoveries: 5, Alarms: 1}
}
