package service

import (
	"context"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// told is what a group knows of this incarnation.
type told struct {
	highest uint64 // seq that it may hold a record of
	mark    uint64 // that it was told
	silent  int    // commands sent since the last that carried a mark
	lately  bool   // it was told a mark since the last tick
}

// markEach is how many commands to a group there are to one that carries a mark. A mark that rises is a cell to write on
// every replica, and nobody is in a hurry: at a mark with each, a fourth of all cells that transactions write were marks.
// It makes about as many records removable as an entry removes beside its own work.
const markEach = 16

func (s *Service) ring() (*ring.Ring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return nil, &txn.Error{Err: txn.ErrUnavailable}
	}
	return s.identity.Ring, nil
}

// markOf is the mark that a command about t carries to a group (R9); 0, which is none, where t is no transaction of a
// living incarnation of this node, or where the group was told lately.
func (s *Service) markOf(t storage.TxnID, to storage.PartitionID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ledgerOf(t)
	if l == nil || t.Seq == 0 { // a sweep's commands name an incarnation, no transaction
		return 0
	}
	if l != s.ledger {
		return l.Mark()
	}
	g := s.toldOf(to)
	g.highest = max(g.highest, t.Seq)
	if g.silent++; g.silent < markEach {
		return 0
	}
	g.silent = 0
	return l.Mark()
}

// ledgerOf is the ledger that t is numbered in, nil if it is not of this process. mu is held.
func (s *Service) ledgerOf(t storage.TxnID) *txn.Ledger {
	if s.ledger == nil || t.Node != s.identity.Node {
		return nil
	}
	if t.Incarnation == s.ledger.Incarnation() {
		return s.ledger
	}
	for _, l := range s.old {
		if l.Incarnation() == t.Incarnation {
			return l
		}
	}
	return nil
}

// toldOf is what a group was told of the present incarnation. mu is held.
func (s *Service) toldOf(p storage.PartitionID) *told {
	g := s.told[p]
	if g == nil {
		g = &told{}
		s.told[p] = g
	}
	return g
}

// marked notes that a group has applied a command with this mark: one that was lost told it nothing.
func (s *Service) marked(t storage.TxnID, p storage.PartitionID, mark uint64) {
	if mark == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledgerOf(t) == s.ledger {
		g := s.toldOf(p)
		g.mark, g.lately = max(g.mark, mark), true
	}
}

// keepMarks tells groups what is finished even if no transaction comes their way, so that at rest they keep nothing.
func (s *Service) keepMarks(ctx context.Context) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sendMarks()
		}
	}
}

func (s *Service) sendMarks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger == nil || s.ctx.Err() != nil {
		return
	}
	mark := s.ledger.Mark()
	for p, g := range s.told {
		if !g.lately && g.mark < mark && g.mark <= g.highest {
			s.running.Add(1) // s.ctx is alive, and mu is held
			go s.sendMark(p, storage.TxnID{Node: s.identity.Node, Incarnation: s.identity.Incarnation}, mark)
		}
		g.lately = false // a group that is spoken to hears the next mark that way
	}
}

func (s *Service) sendMark(p storage.PartitionID, t storage.TxnID, mark uint64) {
	defer s.running.Done()
	ctx, cancel := context.WithTimeout(s.ctx, markEvery)
	defer cancel()
	cmd := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindMark, Txn: &storage.TxnCommand{ID: t, Mark: mark}})
	if _, err := s.cfg.Groups.Transact(ctx, p, cmd); err != nil {
		return // the next tick tries again
	}
	s.marked(t, p, mark)
}
