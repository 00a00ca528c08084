package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// coordination is a transaction that this node coordinates.
type coordination struct {
	id     storage.TxnID
	ledger *txn.Ledger
	plan   *txn.Plan
	core   *txn.Coordinator // stepped by task only
	task   *task
	ended  chan verdict // cap 1
}

// verdict is how a coordination ended for its client.
type verdict struct {
	answer  *txn.Answer // nil: run it again
	restart bool
}

// Transact carries a transaction out. Errors are *txn.Error around this package's parent's sentinels; that ctx ends does
// not stop what has begun: then the error is ErrUnknownOutcome.
func (s *Service) Transact(ctx context.Context, r *txn.Request) (*txn.Outcome, error) {
	begun := time.Now()
	timeout := r.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	deadline := begun.Add(timeout)
	rg, err := s.ring()
	if err != nil {
		return nil, err
	}
	plan, err := txn.NewPlan(rg, r)
	if err != nil {
		return nil, &txn.Error{Err: err}
	}
	if err := plan.Fits(s.cfg.MaxPartBytes); err != nil {
		return nil, &txn.Error{Err: err}
	}
	if r.ReadOnly() {
		o, err := s.read(ctx, plan, deadline)
		if !errors.Is(err, errUnsettled) {
			return o, err
		}
	}
	for run := 0; ; run++ {
		v, err := s.coordinate(ctx, plan, deadline, begun, run)
		if err != nil {
			return nil, err
		}
		if !v.restart {
			return v.answer.Outcome, v.answer.Err
		}
	}
}

// coordinate runs the request once as a transaction.
func (s *Service) coordinate(ctx context.Context, plan *txn.Plan, deadline, begun time.Time, run int) (verdict, error) {
	c, name, err := s.enlist(plan, deadline, begun, run)
	if err != nil {
		return verdict{}, err
	}
	c.task.step(txn.Start{})
	select {
	case v := <-c.ended:
		return v, nil
	case <-ctx.Done():
		c.task.step(txn.Cancel{})
	case <-s.ctx.Done():
	}
	select {
	case v := <-c.ended: // both at once
		return v, nil
	default:
	}
	return verdict{}, &txn.Error{ID: name, Err: fmt.Errorf("%w: nobody waited for it any more", txn.ErrUnknownOutcome)}
}

// enlist gives the transaction its name and notes that it is unfinished.
func (s *Service) enlist(plan *txn.Plan, deadline, begun time.Time, run int) (*coordination, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.identity == nil, s.closed:
		return nil, "", &txn.Error{Err: fmt.Errorf("%w: the node is starting or stopping", txn.ErrUnavailable)}
	case len(s.coords) >= s.cfg.MaxRunning, s.held+plan.Bytes() > s.cfg.MaxHeldBytes:
		return nil, "", &txn.Error{Err: txn.ErrOverloaded}
	case s.ledger.Full():
		s.renew()
		return nil, "", &txn.Error{Err: fmt.Errorf("%w: one transaction holds up the forgetting of %d", txn.ErrOverloaded, txn.MaxSpan)}
	}
	c := &coordination{id: s.ledger.Begin(), ledger: s.ledger, plan: plan, ended: make(chan verdict, 1)}
	name := txn.FormatID(c.id, plan.Home(), s.identity.ClusterID)
	c.core = txn.NewCoordinator(txn.Config{
		ID: c.id, Name: name, Plan: plan, Deadline: deadline, Age: storage.Millis(begun.UnixMilli()),
		Run: run, Ordered: s.hot.has(plan, begun), Nonce: s.newNonce(c.id.Incarnation), Seed: seed(),
	})
	c.task = s.newTask(c.core, func(e *txn.Effects) { s.coordinated(c, e) })
	s.coords[c.id] = c
	s.held += plan.Bytes()
	return c, name, nil
}

// coordinated takes what a coordinator's step asks of the service.
func (s *Service) coordinated(c *coordination, e *txn.Effects) {
	switch {
	case e.Answer != nil:
		if c.core.Attempt() > 1 {
			s.hot.note(c.plan, time.Now())
		}
		c.ended <- verdict{answer: e.Answer}
	case e.Restart:
		c.ended <- verdict{restart: true}
	}
	for i := range e.Suspect {
		s.Suspect(e.Suspect[i])
	}
	if e.Finished {
		s.finished(c)
	}
}

// finished: every group has acknowledged the end (R9).
func (s *Service) finished(c *coordination) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.coords, c.id)
	s.held -= c.plan.Bytes()
	c.ledger.Finish(c.id)
}

// isRunning tells recoverers whether t is still in its coordinator's own hands.
func (s *Service) isRunning(t storage.TxnID) bool {
	s.mu.Lock()
	c := s.coords[t]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	c.task.mu.Lock()
	defer c.task.mu.Unlock()
	return !c.task.over && c.core.Running(time.Now())
}
