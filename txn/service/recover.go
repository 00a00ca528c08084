package service

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// recovering is a transaction that this node is finishing for its coordinator.
type recovering struct {
	task *task
	done chan struct{} // closed when there is a conclusion or the recovery has ended

	conclusion txn.Conclusion // valid once done is closed
	decision   storage.Decision
}

// Suspect is told that an attempt was in doubt for too long. Its coordinator is asked whether it lives; if it does not
// say so, the attempt is recovered. It does not block.
func (s *Service) Suspect(o storage.OpenTxn) {
	s.mu.Lock()
	skip := s.identity == nil || s.recoveries[o.ID] != nil || len(s.recoveries) >= s.cfg.MaxRecoveries
	if !skip {
		s.recoveries[o.ID] = &recovering{done: make(chan struct{})} // holds the place while the coordinator is asked
	}
	s.mu.Unlock()
	if skip {
		return
	}
	s.spawn(func(ctx context.Context) {
		if s.inHand(ctx, o.ID) {
			s.drop(o.ID)
			return
		}
		s.recover(o)
	})
}

// inHand asks a transaction's coordinator whether it still runs. This is courtesy: no answer means no.
func (s *Service) inHand(ctx context.Context, t storage.TxnID) bool {
	id := s.identityNow()
	if t.Node == id.Node {
		return s.isRunning(t)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	b, err := s.cfg.Groups.AskTxn(ctx, t.Node, appendQuestion(nil, t))
	return err == nil && len(b) == 1 && b[0] == 1
}

func (s *Service) identityNow() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.identity
}

// recover takes the place over that Suspect has reserved.
func (s *Service) recover(o storage.OpenTxn) {
	id := s.identityNow()
	core := txn.NewRecovery(txn.RecoveryConfig{
		Open: o, Name: txn.FormatID(o.ID, o.Home, id.ClusterID),
		Node: storage.Ballot{Node: id.Node, Nonce: s.newNonce(id.Incarnation)}, Seed: seed(),
	})
	s.mu.Lock()
	r := s.recoveries[o.ID]
	r.task = s.newTask(core, func(e *txn.Effects) { s.recovered(o.ID, r, core, e) })
	s.mu.Unlock()
	s.stats.recoveries.Add(1)
	s.cfg.Logger.Debug("recovering a transaction", "txn", o.ID.String(), "attempt", uint32(o.Attempt))
	r.task.step(txn.Start{})
}

func (s *Service) recovered(t storage.TxnID, r *recovering, core *txn.Recovery, e *txn.Effects) {
	if e.Conclusion != txn.Inconclusive {
		r.conclusion, r.decision = e.Conclusion, core.Decision()
		close(r.done)
	}
	if e.Finished {
		if r.conclusion == txn.Inconclusive {
			close(r.done)
		}
		s.drop(t)
	}
}

// drop gives a recovery's place free.
func (s *Service) drop(t storage.TxnID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.recoveries[t]; r != nil && r.task == nil {
		close(r.done) // it never began
	}
	delete(s.recoveries, t)
}

// errQuestion is returned for a message of another node that is none of ours.
var errQuestion = errors.New("malformed question about a transaction")

func appendQuestion(dst []byte, t storage.TxnID) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Node))
	dst = binary.BigEndian.AppendUint32(dst, t.Incarnation)
	return binary.BigEndian.AppendUint64(dst, t.Seq)
}

// HandlePeer answers another node's question whether a transaction of this node still runs: one byte, 1 for yes.
func (s *Service) HandlePeer(_ context.Context, _ ring.NodeID, body []byte) ([]byte, error) {
	if len(body) != 16 {
		return nil, errQuestion
	}
	t := storage.TxnID{
		Node:        ring.NodeID(binary.BigEndian.Uint32(body)),
		Incarnation: binary.BigEndian.Uint32(body[4:]),
		Seq:         binary.BigEndian.Uint64(body[8:]),
	}
	if s.isRunning(t) {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}
