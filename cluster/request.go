package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// request is an op that a goroutine of this node waits for.
type request struct {
	worker.Op
	loop  *loop
	ended chan struct{} // cap 1
	stage atomic.Uint32
	key   [1][]byte // backs Op.Keys of a read of one key

	direct bool // a read that needs nothing of the worker: it ends with the right to read
	lead   lead // of the group, once a read has that right
}

// The stages of a request: it is answered, or given up by who waits for it, whichever comes first.
const (
	underWay uint32 = iota
	answered
	givenUp
)

func newRequest() any {
	r := &request{ended: make(chan struct{}, 1)}
	r.Op.Done = func(*worker.Op) { r.end() }
	return r
}

// end is called by the worker, or by who gives the right to read. What nobody takes any more is given back.
func (r *request) end() {
	r.loop.settle(&r.Op)
	if r.stage.CompareAndSwap(underWay, answered) {
		r.ended <- struct{}{}
	} else if r.Op.View != nil {
		r.Op.View.Close()
	}
}

// writeOp and the functions after it are the requests that a node has for its worker. Set what is wanted, then run.
func (n *Node) writeOp(p ring.PartitionID, cmd []byte) *request {
	r := n.newOp(p, worker.Write)
	r.Op.Data = cmd
	return r
}

func (n *Node) readOp(p ring.PartitionID) *request { return n.newOp(p, worker.Read) }

func (n *Node) newOp(p ring.PartitionID, kind worker.Kind) *request {
	r, _ := n.requests.Get().(*request)
	r.Op.Group, r.Op.Kind, r.loop = p, kind, n.loop
	return r
}

// run hands a request to the worker and waits. Without an error the caller releases it; after one, nobody may touch it.
func (n *Node) run(ctx context.Context, r *request) error {
	err := n.begin(ctx, r)
	if err != nil {
		n.release(r)
		return err
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
		if r.stage.CompareAndSwap(underWay, givenUp) {
			return context.Cause(ctx) // somebody still has it; it goes to the garbage
		}
		<-r.ended
	}
	if err := r.Op.Err; err != nil {
		n.release(r)
		return err
	}
	return nil
}

func (n *Node) begin(ctx context.Context, r *request) error {
	switch {
	case !n.isMember():
		return ErrNotMember
	case ctx.Err() != nil:
		return replica.ErrDropped // nobody waits for it: do not begin
	}
	if end, ok := ctx.Deadline(); ok {
		// What cannot have its turn in time should hear that nothing was done while somebody still listens.
		r.Op.Deadline = n.waitUntil(time.Until(end))
	}
	if r.Op.Kind == worker.Read && r.Op.Term == 0 {
		return n.reads.begin(r)
	}
	return n.loop.submit(&r.Op)
}

// waitUntil is how long, on the loop's clock, an op may wait for locks whose asker waits so long.
func (n *Node) waitUntil(within time.Duration) time.Duration { return n.loop.now() + within*7/8 }

// told is a write that nobody waits for: who asked is told of its end.
type told struct {
	worker.Op
	n    *Node
	done func(storage.Result, error)
}

func newTold() any {
	t := &told{}
	t.Op.Done = func(*worker.Op) { t.end() }
	return t
}

// end is called by the worker, which has no more use for the op.
func (t *told) end() {
	n, done, res, err := t.n, t.done, t.Op.Result, t.Op.Err
	n.loop.settle(&t.Op)
	n.forget(t)
	done(res, err)
}

func (n *Node) forget(t *told) {
	*t = told{Op: worker.Op{Done: t.Op.Done}}
	n.tolds.Put(t)
}

// submitWrite hands a command to the worker and does not wait: done is told of the end on the worker's goroutine. On an
// error it is not.
func (n *Node) submitWrite(p ring.PartitionID, cmd []byte, within time.Duration, done func(storage.Result, error)) error {
	t, _ := n.tolds.Get().(*told)
	t.n, t.done = n, done
	t.Op.Group, t.Op.Kind, t.Op.Data = p, worker.Write, cmd
	if within > 0 {
		t.Op.Deadline = n.waitUntil(within)
	}
	err := n.loop.submit(&t.Op)
	if err != nil {
		n.forget(t)
	}
	return err
}

func (n *Node) release(r *request) {
	r.Op = worker.Op{Done: r.Op.Done}
	r.key[0], r.direct, r.lead = nil, false, lead{}
	r.stage.Store(underWay)
	n.requests.Put(r)
}

// apply has a command applied by the group that this node leads.
func (n *Node) apply(ctx context.Context, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	r := n.writeOp(p, cmd)
	if err := n.run(ctx, r); err != nil {
		return storage.Result{}, err
	}
	res := r.Op.Result
	n.release(r)
	return res, nil
}

// readHere waits until the group that this node leads has applied everything acknowledged before the call. It returns
// the partition's clock.
func (n *Node) readHere(ctx context.Context, p ring.PartitionID) (storage.Millis, error) {
	r := n.readOp(p)
	r.direct = true
	if err := n.run(ctx, r); err != nil {
		return 0, err
	}
	clock := r.lead.clock.Now(n.loop.now())
	n.release(r)
	return clock, nil
}

// readKeyHere does the same, and waits until no transaction holds the key exclusively.
func (n *Node) readKeyHere(ctx context.Context, p ring.PartitionID, key []byte) (storage.Millis, error) {
	r := n.readOp(p)
	r.direct = true
	if err := n.run(ctx, r); err != nil {
		return 0, err
	}
	if lead, term := r.lead, r.Op.Term; lead.locks.Falls(key) {
		n.release(r)
		return n.readLockedHere(ctx, p, term, key)
	}
	clock := r.lead.clock.Now(n.loop.now())
	n.release(r)
	return clock, nil
}

// readLockedHere is the rest of it where a transaction seems to hold the key: the worker knows, and who waits for it.
func (n *Node) readLockedHere(ctx context.Context, p ring.PartitionID, term uint64, key []byte) (storage.Millis, error) {
	r := n.readOp(p)
	r.key[0] = key
	r.Op.Keys, r.Op.Term = r.key[:], term
	if err := n.run(ctx, r); err != nil {
		return 0, err
	}
	clock := r.Op.Clock
	n.release(r)
	return clock, nil
}

// viewHere is the state of the group that this node leads, as of a moment between the call and the return at which no
// transaction held one of the keys, or of the locks called names, exclusively. The caller closes it.
func (n *Node) viewHere(ctx context.Context, p ring.PartitionID, keys, names [][]byte) (storage.View, error) {
	r := n.readOp(p)
	r.Op.Keys, r.Op.Names, r.Op.Exact = keys, names, true
	if err := n.run(ctx, r); err != nil {
		return nil, err
	}
	v := r.Op.View
	n.release(r)
	return v, nil
}
