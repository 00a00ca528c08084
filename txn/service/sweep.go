package service

import (
	"context"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// keepSwept looks, where this node leads the metadata group, for incarnations that are dead, and has them forgotten
// everywhere (R11). A sweep that dies with its node is begun again by the next leader.
func (s *Service) keepSwept(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, dead := range s.cfg.Groups.DeadIncarnations() {
			s.beginSweep(dead)
		}
	}
}

func (s *Service) beginSweep(dead Incarnations) {
	s.mu.Lock()
	if s.identity == nil || s.sweeps[dead.Node] >= dead.First || s.ctx.Err() != nil {
		s.mu.Unlock()
		return
	}
	s.sweeps[dead.Node] = dead.First
	groups := make([]storage.PartitionID, s.identity.Ring.Partitions())
	for i := range groups {
		groups[i] = storage.PartitionID(i)
	}
	s.mu.Unlock()
	s.cfg.Logger.Info("sweeping up after a node's earlier starts", "node", uint32(dead.Node), "below", dead.First)
	var t *task
	t = s.newTask(txn.NewSweep(dead.Node, dead.First, groups), func(e *txn.Effects) {
		for i := range e.Recover {
			s.recoverFor(t, e.Recover[i])
		}
		if e.Finished {
			s.spawn(func(ctx context.Context) { s.swept(ctx, dead) })
		}
	})
	t.step(txn.Start{})
}

// recoverFor recovers what a sweep has met and tells it when that has ended.
func (s *Service) recoverFor(sweep *task, o storage.OpenTxn) {
	s.spawn(func(ctx context.Context) {
		if _, err := s.awaitRecovery(ctx, o); err != nil {
			return // stopping
		}
		sweep.step(txn.Recovered{ID: o.ID, Attempt: o.Attempt})
	})
}

// swept notes the end; if that fails, the sweep is done once more.
func (s *Service) swept(ctx context.Context, dead Incarnations) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if err := s.cfg.Groups.Swept(ctx, dead.Node, dead.First); err != nil {
		s.forgetSweep(dead.Node)
	}
}

func (s *Service) forgetSweep(node ring.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sweeps, node)
}
