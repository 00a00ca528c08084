package service

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// Service coordinates and recovers transactions for one node. It is safe for concurrent use.
type Service struct {
	cfg     Config
	ctx     context.Context //nolint:containedctx // the service's lifetime
	cancel  context.CancelFunc
	running sync.WaitGroup
	nonce   atomic.Uint64
	stats   stats
	hot     heat

	mail mail

	mu         sync.Mutex // guards what is below
	closed     bool
	identity   *Identity // nil until known
	renewing   bool      // another incarnation is on its way
	ledger     *txn.Ledger
	old        []*txn.Ledger // incarnations that drain
	told       map[storage.PartitionID]*told
	coords     map[storage.TxnID]*coordination
	held       int // bytes that coords hold
	recoveries map[storage.TxnID]*recovering
	sweeps     map[ring.NodeID]uint32
}

// New starts the service; it serves as soon as the node knows who it is.
func New(cfg Config) *Service {
	cfg.setDefaults()
	s := &Service{
		cfg:        cfg,
		told:       make(map[storage.PartitionID]*told),
		coords:     make(map[storage.TxnID]*coordination),
		recoveries: make(map[storage.TxnID]*recovering),
		sweeps:     make(map[ring.NodeID]uint32),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mail.wake = make(chan struct{}, 1)
	s.spawn(s.deliver)
	s.spawn(s.identify)
	s.spawn(s.keepMarks)
	s.spawn(s.keepSwept)
	return s
}

// Close refuses new transactions, lets what is decided reach its groups for a moment, and stops. What is left others
// finish.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drain()
	s.mu.Lock()
	s.cancel() // with mu held: begin counts nobody from here on
	s.mu.Unlock()
	s.running.Wait()
}

// drain waits until nothing runs, for a while.
func (s *Service) drain() {
	limit := time.NewTimer(closeTime)
	defer limit.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.unfinished() > 0 {
		select {
		case <-limit.C:
			return
		case <-poll.C:
		}
	}
}

func (s *Service) unfinished() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.coords)
}

// begin counts a goroutine of the service; false once it is stopping for good.
func (s *Service) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.running.Add(1)
	return true
}

// spawn runs fn in a goroutine that Close waits for.
func (s *Service) spawn(fn func(ctx context.Context)) {
	if !s.begin() {
		return
	}
	go func() {
		defer s.running.Done()
		fn(s.ctx)
	}()
}

// identify learns who this node is.
func (s *Service) identify(ctx context.Context) {
	id, err := s.cfg.Identify(ctx, 0)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Logger.Error("transactions are refused: this start of the node has no number", "err", err)
		}
		return
	}
	s.become(id)
}

// renew takes a new incarnation for new work, while the present one drains. mu is held.
func (s *Service) renew() {
	if s.renewing || s.ctx.Err() != nil {
		return
	}
	s.renewing = true
	above := s.identity.Incarnation
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		id, err := s.cfg.Identify(s.ctx, above)
		if err == nil {
			s.become(id)
		}
		s.mu.Lock()
		s.renewing = false
		s.mu.Unlock()
	}()
}

func (s *Service) become(id Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger != nil {
		s.old = append(s.old, s.ledger)
	}
	s.identity, s.ledger = &id, txn.NewLedger(id.Node, id.Incarnation)
	s.told = make(map[storage.PartitionID]*told)
}

// newNonce is unique among the recoverers of this node, for ever: this start's number and a counter.
func (s *Service) newNonce(incarnation uint32) uint64 {
	return uint64(incarnation)<<32 | s.nonce.Add(1)&(1<<32-1)
}

func (s *Service) alarm(what string) {
	s.stats.alarms.Add(1)
	s.cfg.Logger.Error("a transaction's invariant is broken; please report this", "invariant", what)
}

func seed() uint64 { return rand.Uint64() }
