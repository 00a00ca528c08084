package sim

import (
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// What requests about transactions have beside the others.

// txnAttemptTime is how long an attempt of such a request may take: many of them wait for locks.
const txnAttemptTime = 400 * time.Millisecond

// haunt lets a copy of a command come once more, at times when everybody has forgotten it.
func (r *request) haunt(to *node, serial int) {
	w := r.w
	if w.net.ghosts == 0 || !w.chance(w.net.ghosts) {
		return
	}
	r.sent = true
	w.after(w.between(0, maxGhost), func() {
		if !w.closed && to.worker != nil {
			w.stats.Ghosts++
			to.arrive(func(wk *worker.Worker) { to.submit(wk, r, serial, to.op(r)) })
		}
	})
}

// maxGhost is how late a ghost may be, ghostly how many commands leave one.
const (
	maxGhost = 15 * time.Second
	ghostly  = 0.02
)

// exact is the answer that needs nothing but what the worker gave. It goes through the codecs of the wire.
func (n *node) exact(r *request, op *worker.Op) reply {
	rep := reply{outcome: answered}
	var err error
	switch r.ask {
	case askTxn, askLease:
		rep.result, err = storage.DecodeResult(storage.AppendResult(nil, op.Result))
	case askKeys:
		rep.keys, err = readKeys(op.View, r.group, r.keys)
	case askState:
		rep.state, err = readState(op.View, r.group, r.txn)
	}
	if op.View != nil {
		op.View.Close()
	}
	if err != nil {
		n.w.violate("node %s: answer about partition %d: %w", n.name, r.group, err)
	}
	return rep
}

func readKeys(v storage.View, p ring.PartitionID, keys [][]byte) (storage.ReadSet, error) {
	set, err := storage.ReadKeys(v, p, keys, nil)
	if err != nil {
		return set, err
	}
	return storage.DecodeReadSet(storage.AppendReadSet(nil, &set))
}

func readState(v storage.View, p ring.PartitionID, t storage.TxnID) (storage.TxnStatus, error) {
	st, err := storage.ReadTxn(v, p, t)
	if err != nil {
		return st, err
	}
	return storage.DecodeTxnStatus(storage.AppendTxnStatus(nil, &st))
}
