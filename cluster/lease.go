package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// What clients call locks: leases of the state machine, see package storage.

// Lock is a client's lock that somebody holds.
type Lock struct {
	Name    []byte
	Owner   string
	Token   storage.Version // the fencing token: larger than every earlier one of the name
	TTL     time.Duration   // granted or renewed: until it ends unless it is renewed; read: what is left of it
	Waiters int             // read: who wait for it
}

// LockRequest asks for a lock.
type LockRequest struct {
	Name  []byte
	Owner string        // 1 to storage.MaxOwnerBytes bytes
	TTL   time.Duration // in whole milliseconds
	Wait  time.Duration // in whole milliseconds; 0: not at all
}

const (
	// maxParked bounds the requests that wait for locks which this node's groups keep. Each takes one of the
	// transport's handlers, or a client's connection.
	maxParked = 2048
	// askAgain is how long the answer of one leader is waited for. It may have been succeeded without being heard of.
	askAgain = 4 * time.Second
	// takeBack bounds the attempt to cancel what was asked for when its client has gone.
	takeBack = 2 * time.Second
)

// wish is one client's wish for a lock on its way.
type wish struct {
	n     *Node
	req   *LockRequest
	p     ring.PartitionID
	id    storage.WaiterID
	asked bool // a group may know of it
	until time.Time
}

// AcquireLock takes a lock, or waits for it in the order of arrival. If ctx ends first the wish is taken back.
//
// Errors: *LockHeldError when the wait is over; ErrUnavailable, ErrOverloaded, ErrLocked, ErrDiskFull (nothing was done);
// ErrUnknownOutcome (it may be held now, or later, until its TTL ends).
func (n *Node) AcquireLock(ctx context.Context, r LockRequest) (Lock, error) {
	p, err := n.partition(r.Name)
	if err != nil {
		return Lock{}, err
	}
	if _, err := n.AwaitIncarnation(ctx); err != nil {
		return Lock{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	w := &wish{n: n, req: &r, p: p, until: time.Now().Add(r.Wait)}
	w.begin()
	for {
		reply, err := w.ask(ctx)
		switch {
		case err == nil && reply.Kind == storage.LeaseOver:
			w.begin() // it was given up for dead: at the end of the line again
		case err == nil:
			return w.outcome(reply)
		case ctx.Err() != nil || !errors.Is(err, errAskAgain):
			return Lock{}, w.fail(ctx, err)
		}
	}
}

// begin gives the wish an id of its own.
func (w *wish) begin() {
	w.id = storage.WaiterID{Node: w.n.self(), Incarnation: uint32(w.n.Incarnation()), Number: w.n.wishes.Add(1)}
	w.asked = false
}

var errAskAgain = errors.New("no answer yet")

// ask brings the wish to the group and waits for an answer, for a while. errAskAgain where there was none.
func (w *wish) ask(ctx context.Context) (reply *storage.LeaseReply, err error) {
	part, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	err = w.n.route(part, w.p, intent{read: true}, func(ctx context.Context, to ring.NodeID) error {
		res, err := w.n.leaseAt(ctx, to, w.p, w.command())
		w.asked = w.asked || err != nil && w.mayHaveAsked(err)
		reply = res.Lease
		return err
	})
	if err != nil && part.Err() != nil && ctx.Err() == nil {
		return nil, errAskAgain
	}
	return reply, err
}

// mayHaveAsked tells whether a group may know of the wish after an attempt that ended so. One that waits is told that its
// leader no longer is one.
func (w *wish) mayHaveAsked(err error) bool {
	if w.req.Wait > 0 {
		return !errors.Is(err, ErrNotMember) && !transport.Unsent(err)
	}
	return !harmless(err)
}

func (w *wish) command() []byte {
	return storage.AppendCommand(nil, &storage.Command{Kind: storage.KindAcquire, Lease: &storage.LeaseCommand{
		Name: w.req.Name, Waiter: w.id, Again: w.asked, Owner: w.req.Owner,
		TTL: storage.Millis(w.req.TTL.Milliseconds()), Wait: storage.Millis(max(0, time.Until(w.until).Milliseconds())),
	}})
}

func (w *wish) outcome(r *storage.LeaseReply) (Lock, error) {
	switch r.Kind {
	case storage.LeaseGranted:
		return newLock(w.req.Name, r), nil
	case storage.LeaseHeld:
		return Lock{}, &LockHeldError{Owner: r.Owner, TTL: millis(r.TTL)}
	case storage.LeaseFull:
		return Lock{}, fmt.Errorf("%w: too many wait for locks", ErrOverloaded)
	}
	return Lock{}, errUnexpectedReply(r)
}

func newLock(name []byte, r *storage.LeaseReply) Lock {
	return Lock{Name: name, Owner: r.Owner, Token: r.Token, TTL: millis(r.TTL)}
}

func millis(m storage.Millis) time.Duration { return time.Duration(m) * time.Millisecond }

func errUnexpectedReply(r *storage.LeaseReply) error {
	return fmt.Errorf("unexpected reply about a lock: kind %d", r.Kind)
}

// fail takes back what was asked for: its client would never hear of it.
func (w *wish) fail(ctx context.Context, err error) error {
	if !w.asked {
		return writeError(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	_, _, gone := w.n.tellLease(ctx, w.p, &storage.Command{
		Kind: storage.KindCancel, Lease: &storage.LeaseCommand{Name: w.req.Name, Waiter: w.id},
	})
	if gone != nil {
		return fmt.Errorf("%w: %v", ErrUnknownOutcome, err) // %v: its kind would mislead
	}
	if err = writeError(err); errors.Is(err, ErrUnknownOutcome) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err) // it is known now
	}
	return err
}

// RenewLock lets a lock's TTL begin anew, with ttl if it is not 0. Errors: ErrLockLost, ErrUnavailable, ErrOverloaded
// (nothing was done), ErrUnknownOutcome.
func (n *Node) RenewLock(ctx context.Context, name []byte, token storage.Version, ttl time.Duration) (Lock, error) {
	p, err := n.partition(name)
	if err != nil {
		return Lock{}, err
	}
	r, _, err := n.tellLease(ctx, p, &storage.Command{Kind: storage.KindRenew, Lease: &storage.LeaseCommand{
		Name: name, Token: token, TTL: storage.Millis(ttl.Milliseconds()),
	}})
	switch {
	case err != nil:
		return Lock{}, err
	case r.Kind == storage.LeaseLost:
		return Lock{}, ErrLockLost
	case r.Kind != storage.LeaseGranted:
		return Lock{}, errUnexpectedReply(r)
	}
	return newLock(name, r), nil
}

// ReleaseLock gives a lock back. Errors: as RenewLock. Where an attempt was lost and the next one finds that the lock has
// ended, nobody can tell why: ErrUnknownOutcome.
func (n *Node) ReleaseLock(ctx context.Context, name []byte, token storage.Version) error {
	p, err := n.partition(name)
	if err != nil {
		return err
	}
	r, repeated, err := n.tellLease(ctx, p, &storage.Command{Kind: storage.KindRelease, Lease: &storage.LeaseCommand{Name: name, Token: token}})
	switch {
	case err != nil:
		return err
	case r.Kind == storage.LeaseLost && repeated:
		return fmt.Errorf("%w: the lock has ended, by this release or before it", ErrUnknownOutcome)
	case r.Kind == storage.LeaseLost:
		return ErrLockLost
	case r.Kind != storage.LeaseReleased:
		return errUnexpectedReply(r)
	}
	return nil
}

// tellLease has a command about a lease applied that may be repeated. repeated tells that an earlier attempt than the one that
// was answered may have had an effect.
func (n *Node) tellLease(ctx context.Context, p ring.PartitionID, c *storage.Command) (r *storage.LeaseReply, repeated bool, err error) {
	cmd := storage.AppendCommand(nil, c)
	err = n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) error {
		res, err := n.leaseAt(ctx, to, p, cmd)
		repeated = repeated || err != nil && !harmless(err)
		r = res.Lease
		return err
	})
	if err = writeError(err); err != nil && repeated && !errors.Is(err, ErrUnknownOutcome) {
		err = fmt.Errorf("%w: %v", ErrUnknownOutcome, err) // %v: its kind would mislead
	}
	return r, repeated, err
}

func (n *Node) leaseAt(ctx context.Context, to ring.NodeID, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	var res storage.Result
	var err error
	if to == n.self() {
		res, err = n.leaseHere(ctx, p, append([]byte(nil), cmd...)) // a lost attempt may still hold its copy
	} else {
		body := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(cmd)), uint16(p)), cmd...)
		var resp []byte
		if resp, err = n.peers.Call(ctx, to, methodLease, body); err != nil {
			return res, decodeError(p, err)
		}
		res, err = storage.DecodeResult(resp)
	}
	if err == nil && res.Lease == nil {
		err = fmt.Errorf("command about a lock: %s", res.Status)
	}
	return res, err
}

// leaseHere has a command about a lease applied by the group that this node leads. An acquire is answered when its wait
// is over.
func (n *Node) leaseHere(ctx context.Context, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	c, err := storage.DecodeCommand(cmd)
	if err != nil || c.Kind < storage.KindAcquire || c.Kind > storage.KindRelease {
		return storage.Result{}, errMalformed
	}
	if err := n.roomFor(p, cmd); err != nil {
		return storage.Result{}, err
	}
	if c.Kind != storage.KindAcquire || c.Lease.Wait == 0 && !c.Lease.Again {
		return n.apply(ctx, p, cmd)
	}
	if n.parked.Add(1) > maxParked {
		n.parked.Add(-1)
		return storage.Result{}, ErrOverloaded
	}
	defer n.parked.Add(-1)
	return n.await(ctx, p, cmd, &worker.Wish{Waiter: c.Lease.Waiter})
}

func (n *Node) await(ctx context.Context, p ring.PartitionID, cmd []byte, wish *worker.Wish) (storage.Result, error) {
	r := n.writeOp(p, cmd)
	r.Op.Wish = wish
	if err := n.run(ctx, r); err != nil {
		if ctx.Err() != nil {
			wish.Left.Store(true)
			n.loop.do(func(w *worker.Worker) { w.Leave(p, wish) })
		}
		return storage.Result{}, err
	}
	res := r.Op.Result
	n.release(r)
	return res, nil
}

// ReadLock returns who holds a lock, as of a moment between the call and the return. Errors: ErrNotFound where nobody
// does, ErrUnavailable, ErrOverloaded.
func (n *Node) ReadLock(ctx context.Context, name []byte) (Lock, error) {
	p, err := n.partition(name)
	if err != nil {
		return Lock{}, err
	}
	var l storage.Lease
	err = n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) (err error) {
		if to == n.self() {
			l, err = n.readLeaseHere(ctx, p, name)
			return err
		}
		resp, err := n.peers.Call(ctx, to, methodReadLease, append(binary.BigEndian.AppendUint16(nil, uint16(p)), name...))
		if err != nil {
			return decodeError(p, err)
		}
		l, err = decodeLease(resp)
		return err
	})
	return Lock{Name: name, Owner: l.Owner, Token: l.Token, TTL: millis(l.TTL), Waiters: l.Waiters}, readError(err)
}

func (n *Node) readLeaseHere(ctx context.Context, p ring.PartitionID, name []byte) (storage.Lease, error) {
	r := n.readOp(p)
	r.Op.LeaseName = name
	if err := n.run(ctx, r); err != nil {
		return storage.Lease{}, err
	}
	l := r.Op.Lease
	n.release(r)
	return l, nil
}

func (n *Node) handleReadLease(ctx context.Context, p ring.PartitionID, name []byte) ([]byte, error) {
	if len(name) == 0 {
		return nil, errMalformed
	}
	l, err := n.readLeaseHere(ctx, p, name)
	if err != nil {
		return nil, err
	}
	return appendLease(nil, &l), nil
}

// appendLease encodes all of a lease but its name.
func appendLease(dst []byte, l *storage.Lease) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.Token))
	dst = binary.AppendUvarint(dst, uint64(l.TTL))
	dst = binary.AppendUvarint(dst, uint64(l.Waiters))
	return append(dst, l.Owner...)
}

func decodeLease(b []byte) (storage.Lease, error) {
	r := wireReader{b: b}
	l := storage.Lease{Token: storage.Version(r.upTo(1 << 53)), TTL: storage.Millis(r.upTo(1 << 53)), Waiters: int(r.upTo(1 << 31))}
	if r.bad || l.Token == 0 {
		return storage.Lease{}, errMalformed
	}
	l.Owner = string(r.b)
	return l, nil
}
