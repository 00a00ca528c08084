package sim

import (
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// lookup is a client's question what became of a transaction.
type lookup struct {
	s        *txnSide
	t        storage.TxnID
	home     storage.PartitionID
	deadline time.Duration
	then     func(txn.Status) // 0: no such transaction, or nobody can say
}

// status answers GET /v1/txn/{id}, settling what nobody runs any more.
func (s *txnSide) status(name string, then func(txn.Status)) {
	t, home, err := txn.ParseID(name, clusterID)
	if err != nil {
		s.n.w.violate("id %s of our own: %w", name, err)
		return
	}
	if s.dead() || s.ledger == nil {
		then(txn.StatusPending)
		return
	}
	l := &lookup{s: s, t: t, home: home, deadline: s.n.w.now + defaultTimeout, then: then}
	l.look()
}

func (l *lookup) pending() bool { return l.s.n.w.now >= l.deadline }

func (l *lookup) look() {
	if l.pending() {
		l.then(txn.StatusPending)
		return
	}
	l.ask(&request{ask: askState, group: l.home, txn: l.t}, func(rep reply) {
		if rep.outcome != answered {
			l.then(txn.StatusPending)
			return
		}
		l.know(&rep.state)
	})
}

func (l *lookup) ask(r *request, then func(reply)) {
	r.deadline, r.wait = l.deadline, txnAttemptTime
	r.done = func(rep reply) { l.s.run(func() { then(rep) }) }
	l.s.n.w.send(l.s.n, r)
}

// know goes on with what home knows.
func (l *lookup) know(k *storage.TxnStatus) {
	bad := &l.s.n.w.cfg.Sabotage
	switch {
	case k.Decision == storage.DecideThen, k.Decision == storage.DecideElse:
		l.then(txn.StatusCommitted)
	case k.Decision == storage.DecideNothing, k.Decision == storage.DecideAbort,
		bad.GuessNo && k.State == storage.TxnNo, bad.GuessAbsent && k.State == storage.TxnAbsent:
		l.then(txn.StatusAborted)
	case k.State == storage.TxnGone:
		l.then(0)
	default:
		l.s.inHand(l.t, func(running bool) {
			if running {
				l.then(txn.StatusPending)
				return
			}
			l.settle(k)
		})
	}
}

// settle brings to an end what nobody runs; then home knows more.
func (l *lookup) settle(k *storage.TxnStatus) {
	if k.State == storage.TxnYes && k.Open != nil {
		l.s.awaitRecovery(*k.Open, l.look)
		return
	}
	cmd := storage.TxnCommand{ID: l.t, Attempt: max(k.Attempt, 1), Home: l.home} // R2: a bare id stands for attempt 1
	data := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindRefuse, Txn: &cmd})
	l.ask(&request{ask: askTxn, group: l.home, data: data}, func(rep reply) {
		if rep.outcome != answered {
			l.then(txn.StatusPending)
			return
		}
		l.look()
	})
}
