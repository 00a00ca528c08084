package sim

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// txnSide is what one process of a node does about transactions: the work of package txn/service, with the machines of
// package txn, but in virtual time and without goroutines. It dies with its process and leaves nothing behind.
type txnSide struct {
	n           *node
	life        int
	skew        time.Duration // of the machine's clock
	incarnation uint32        // 0 until the metadata group has given it
	ledger      *txn.Ledger
	nonce       uint64
	coords      map[storage.TxnID]*coordination
	recoveries  map[storage.TxnID]*recovering
	told        map[ring.PartitionID]*told
	sweeps      map[ring.NodeID]uint32
	calls       []*call // clients that wait for an answer
	wishes      []*wish // for locks, those that are over included
	wished      uint64
	held        []func() // what happens once the process goes on
}

const (
	maxSkew    = 300 * time.Millisecond
	markEvery  = time.Second
	sweepEvery = 2 * time.Second
	askTime    = 300 * time.Millisecond // for a coordinator to say that it still runs
	beginPause = 100 * time.Millisecond
)

func newTxnSide(n *node) *txnSide {
	s := &txnSide{
		n: n, life: n.life, skew: n.w.between(-maxSkew, maxSkew),
		coords:     make(map[storage.TxnID]*coordination),
		recoveries: make(map[storage.TxnID]*recovering),
		told:       make(map[ring.PartitionID]*told),
		sweeps:     make(map[ring.NodeID]uint32),
	}
	s.beginLife()
	s.every(markEvery, s.sendMarks)
	s.every(sweepEvery, s.lookForDead)
	return s
}

// dead reports whether the process has ended.
func (s *txnSide) dead() bool { return s.n.life != s.life || s.n.worker == nil }

// clock is the machine's: right but for its skew, as no decision may depend on it.
func (s *txnSide) clock() time.Time { return time.Unix(1_000_000, 0).Add(s.n.w.now + s.skew) }

// until is a time of clock on the world's.
func (s *txnSide) until(t time.Time) time.Duration { return s.n.w.now + t.Sub(s.clock()) }

// run lets the process do something: not after it has ended, and later if it stands still.
func (s *txnSide) run(do func()) {
	switch {
	case s.dead():
	case s.n.paused:
		s.held = append(s.held, do)
	default:
		do()
	}
}

func (s *txnSide) after(d time.Duration, do func()) {
	s.n.w.after(max(0, d), func() { s.run(do) })
}

func (s *txnSide) every(d time.Duration, do func()) {
	s.after(d, func() {
		do()
		s.every(d, do)
	})
}

// resume goes on after a standstill.
func (s *txnSide) resume() {
	held := s.held
	s.held = nil
	for _, do := range held {
		s.n.w.after(0, func() { s.run(do) })
	}
}

// die cuts the connections of clients; they are told nothing.
func (s *txnSide) die() {
	for _, c := range s.calls {
		c.cut()
	}
	s.calls = nil
	for _, w := range s.wishes {
		w.cut()
	}
	s.wishes = nil
}

// beginLife has the metadata group give this process its number, as package cluster does.
func (s *txnSide) beginLife() {
	var number uint64
	begin := func(old *meta.State) (next *meta.State, err error) {
		next, number, err = old.Begin(s.n.id, fmt.Sprintf("%s-%d", s.n.uuid, s.life))
		return next, err
	}
	s.after(s.n.w.between(0, beginPause), func() {
		s.n.w.change(s.n, begin, func(err error) {
			s.run(func() {
				if err != nil {
					s.after(beginPause, s.beginLife)
					return
				}
				s.incarnation = uint32(number)
				s.ledger = txn.NewLedger(s.n.id, s.incarnation)
				s.n.w.note("incarnation", uint64(s.n.id), number)
			})
		})
	})
}

// newNonce is unique among the recoverers of this node, for ever.
func (s *txnSide) newNonce() uint64 {
	s.nonce++
	return uint64(s.incarnation)<<32 | s.nonce
}

func (s *txnSide) name(t storage.TxnID, home storage.PartitionID) string {
	return txn.FormatID(t, home, clusterID)
}

// told is what a group knows of this incarnation.
type told struct {
	highest uint64 // seq that it may hold a record of
	mark    uint64 // that it was told, as far as known
}

func (s *txnSide) toldOf(p ring.PartitionID) *told {
	g := s.told[p]
	if g == nil {
		g = &told{}
		s.told[p] = g
	}
	return g
}

// markOf is the mark that a command about t carries to a group; 0 if t is not of this incarnation, or not of one
// transaction but of a sweep.
func (s *txnSide) markOf(t storage.TxnID, to ring.PartitionID) uint64 {
	if s.ledger == nil || t.Seq == 0 || t.Node != s.n.id || t.Incarnation != s.incarnation {
		return 0
	}
	g := s.toldOf(to)
	g.highest = max(g.highest, t.Seq)
	return s.ledger.Mark()
}

// sendMarks tells groups what is finished even if no transaction comes their way.
func (s *txnSide) sendMarks() {
	if s.ledger == nil {
		return
	}
	mark := s.ledger.Mark()
	for p := range ring.PartitionID(s.n.w.cfg.Partitions) {
		if g := s.told[p]; g != nil && g.mark < mark && g.mark <= g.highest {
			s.sendMark(p, mark)
		}
	}
}

func (s *txnSide) sendMark(p ring.PartitionID, mark uint64) {
	t := storage.TxnCommand{ID: storage.TxnID{Node: s.n.id, Incarnation: s.incarnation}, Mark: mark}
	s.n.w.send(s.n, &request{
		ask: askTxn, group: p, data: storage.AppendCommand(nil, &storage.Command{Kind: storage.KindMark, Txn: &t}),
		deadline: s.n.w.now + markEvery, wait: txnAttemptTime,
		done: func(rep reply) {
			if rep.outcome == answered {
				s.run(func() { s.told[p].mark = max(s.told[p].mark, mark) })
			}
		},
	})
}

// atRest reports whether nothing is left to do, as far as this process knows.
func (s *txnSide) atRest() bool {
	if s.ledger == nil || len(s.coords)+len(s.recoveries) > 0 || s.ledger.Unfinished() > 0 {
		return false
	}
	for _, g := range s.told {
		if g.mark < s.ledger.Mark() && g.mark <= g.highest {
			return false
		}
	}
	return true
}

// alarms makes a broken rule of the commit protocol, as a worker's log reports it, a violation.
type alarms struct {
	w    *world
	next slog.Handler // nil for none
}

// Enabled is as slog.Handler says.
func (a alarms) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || a.next != nil && a.next.Enabled(ctx, l)
}

// Handle is as slog.Handler says.
func (a alarms) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(at slog.Attr) bool {
		if at.Key == "rule" {
			a.w.violate("a rule of the commit protocol is broken: %v", at.Value)
		}
		return true
	})
	if a.next == nil || !a.next.Enabled(ctx, r.Level) {
		return nil
	}
	return a.next.Handle(ctx, r)
}

// WithAttrs is as slog.Handler says.
func (a alarms) WithAttrs(as []slog.Attr) slog.Handler {
	if a.next != nil {
		a.next = a.next.WithAttrs(as)
	}
	return a
}

// WithGroup is as slog.Handler says.
func (a alarms) WithGroup(name string) slog.Handler {
	if a.next != nil {
		a.next = a.next.WithGroup(name)
	}
	return a
}
