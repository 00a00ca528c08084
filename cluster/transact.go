package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// What the coordinator of transactions needs of the cluster: to reach groups and other coordinators.

// Transact brings an encoded command of the commit protocol to the leader of partition p and returns what the group
// answered from applied state. Such commands may be repeated, as the record of the transaction answers duplicates; so
// attempts of unknown outcome are repeated until ctx ends.
//
// Errors: ErrUnknownOutcome where the command may have been applied or yet be. With ErrUnavailable, ErrOverloaded,
// ErrDiskFull, ErrNotMember or ErrClosed it certainly was not and will not be.
func (n *Node) Transact(ctx context.Context, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	var res storage.Result
	sent := false // an attempt may have had an effect
	err := n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) (err error) {
		res, err = n.transactAt(ctx, to, p, cmd)
		sent = sent || err != nil && !harmless(err)
		return err
	})
	err = writeError(err)
	if err != nil && sent && !errors.Is(err, ErrUnknownOutcome) {
		return storage.Result{}, fmt.Errorf("%w: %v", ErrUnknownOutcome, err) // %v: its kind would mislead
	}
	return res, err
}

func (n *Node) transactAt(ctx context.Context, to ring.NodeID, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	if to == n.self() {
		return n.transactHere(ctx, p, append([]byte(nil), cmd...)) // a lost attempt may still hold its copy
	}
	body := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(cmd)), uint16(p)), cmd...)
	resp, err := n.peers.Call(ctx, to, methodTransact, body)
	if err != nil {
		return storage.Result{}, decodeError(p, err)
	}
	return storage.DecodeResult(resp)
}

// BeginTransact is the first attempt of Transact, without waiting: done is told once how it ended, on a goroutine that it
// must not hold up. Where another node leads it is given up at until or some seconds later; here until bounds the wait for
// locks, and what is in the log is told when its fate is known. cmd belongs to the node from then on. Errors are those of
// Transact, which may have more luck.
func (n *Node) BeginTransact(p ring.PartitionID, cmd []byte, until time.Time, done func(storage.Result, error)) {
	to, within := n.pick(p, false, 0), time.Until(until)
	switch {
	case within <= 0:
		done(storage.Result{}, n.tried(p, to, replica.ErrDropped))
	case to == 0:
		done(storage.Result{}, n.tried(p, to, ErrNotMember))
	case to == n.self():
		n.beginHere(p, cmd, within, func(res storage.Result, err error) { done(res, n.tried(p, to, err)) })
	default:
		body := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(cmd)), uint16(p)), cmd...)
		n.peers.Go(to, methodTransact, until, body, func(resp []byte, err error) {
			var res storage.Result
			if err != nil {
				err = decodeError(p, err)
			} else {
				res, err = storage.DecodeResult(resp)
			}
			done(res, n.tried(p, to, err))
		})
	}
}

// tried learns from a first attempt, and says what its error means.
func (n *Node) tried(p ring.PartitionID, to ring.NodeID, err error) error {
	if err == nil {
		return nil
	}
	n.again(p, to, intent{read: true}, err)
	if harmless(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %v", ErrUnknownOutcome, err) // %v: its kind would mislead
}

// beginHere is transactHere without waiting, for whoever waits as long as within.
func (n *Node) beginHere(p ring.PartitionID, cmd []byte, within time.Duration, done func(storage.Result, error)) {
	err := n.admitTransact(p, cmd)
	if err == nil && !n.isMember() {
		err = ErrNotMember
	}
	if err == nil {
		err = n.submitWrite(p, cmd, within, done)
	}
	if err != nil {
		done(storage.Result{}, err)
	}
}

// BeginRequest takes another node's commands of the commit protocol, which need no goroutine while the worker has them.
func (n *Node) BeginRequest(_ ring.NodeID, method uint8, within time.Duration, body []byte, respond transport.Respond) bool {
	if method != methodTransact || len(body) < 2 {
		return false
	}
	n.beginHere(ring.PartitionID(binary.BigEndian.Uint16(body)), body[2:], within, func(res storage.Result, err error) {
		if err != nil {
			respond(encodeError(err))
			return
		}
		respond(transport.StatusOK, storage.AppendResult(nil, res))
	})
	return true
}

// transactHere has a command of the commit protocol applied by the group that this node leads. A prepare for which there
// is no room gets its refusal into the log, as only that is a vote (R3).
func (n *Node) transactHere(ctx context.Context, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	if err := n.admitTransact(p, cmd); err != nil {
		return storage.Result{}, err
	}
	return n.apply(ctx, p, cmd)
}

func (n *Node) admitTransact(p ring.PartitionID, cmd []byte) error {
	if h, err := storage.CommandKeys(cmd, nil); err != nil || h.Kind < storage.KindPrepare || h.Kind > storage.KindForget {
		return errMalformed // of others, no duplicate may exist
	}
	if err := n.roomFor(p, cmd); err != nil {
		if !errors.Is(err, ErrDiskFull) || n.disk.space() == worker.Full || !storage.NeedsSpace(cmd) {
			return err
		}
		storage.DenyCommand(cmd, storage.DiskFull)
	}
	return nil
}

// harmless reports whether an attempt that ended so certainly had no effect.
func harmless(err error) bool {
	var notLeader *replica.NotLeaderError
	for _, known := range []error{
		replica.ErrDropped, worker.ErrLocked, ErrNotMember, ErrOverloaded, ErrDiskFull, ErrClosed, errMalformed,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &notLeader) || transport.Unsent(err)
}

// ReadKeys reads the items of keys and the fencing tokens of locks in partition p, all as of one moment between the call
// and the return at which no transaction held any of them exclusively. Errors: ErrUnavailable, ErrOverloaded.
func (n *Node) ReadKeys(ctx context.Context, p ring.PartitionID, keys, locks [][]byte) (storage.ReadSet, error) {
	var set storage.ReadSet
	err := n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) (err error) {
		if to == n.self() {
			set, err = n.readKeysHere(ctx, p, keys, locks)
			return err
		}
		resp, err := n.peers.Call(ctx, to, methodReadKeys, appendReadKeys(nil, p, keys, locks))
		if err != nil {
			return decodeError(p, err)
		}
		set, err = storage.DecodeReadSet(resp)
		return err
	})
	return set, readError(err)
}

func (n *Node) readKeysHere(ctx context.Context, p ring.PartitionID, keys, locks [][]byte) (storage.ReadSet, error) {
	v, err := n.viewHere(ctx, p, keys, locks)
	if err != nil {
		return storage.ReadSet{}, err
	}
	defer v.Close()
	return storage.ReadKeys(v, p, keys, locks)
}

func (n *Node) handleReadKeys(ctx context.Context, p ring.PartitionID, body []byte) ([]byte, error) {
	keys, locks, err := decodeReadKeys(body)
	if err != nil {
		return nil, err
	}
	set, err := n.readKeysHere(ctx, p, keys, locks)
	if err != nil {
		return nil, err
	}
	return storage.AppendReadSet(nil, &set), nil
}

// appendReadKeys encodes: partition u16, the number of keys, the keys, the names of locks to the end.
func appendReadKeys(dst []byte, p ring.PartitionID, keys, locks [][]byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(p))
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, k := range keys {
		dst = appendString(dst, k)
	}
	for _, k := range locks {
		dst = appendString(dst, k)
	}
	return dst
}

// decodeReadKeys reads what appendReadKeys wrote behind the partition.
func decodeReadKeys(b []byte) (keys, locks [][]byte, err error) {
	r := wireReader{b: b}
	for n := r.upTo(uint64(len(b))); n > 0 && !r.bad; n-- {
		keys = append(keys, r.string())
	}
	for len(r.b) > 0 && !r.bad {
		locks = append(locks, r.string())
	}
	if r.bad {
		return nil, nil, errMalformed
	}
	return keys, locks, nil
}

// TxnState returns what partition p knows of a transaction, as of a moment between the call and the return.
// Errors: ErrUnavailable, ErrOverloaded.
func (n *Node) TxnState(ctx context.Context, p ring.PartitionID, t storage.TxnID) (storage.TxnStatus, error) {
	var st storage.TxnStatus
	err := n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) (err error) {
		if to == n.self() {
			st, err = n.txnStateHere(ctx, p, t)
			return err
		}
		resp, err := n.peers.Call(ctx, to, methodTxnState, appendTxnID(binary.BigEndian.AppendUint16(nil, uint16(p)), t))
		if err != nil {
			return decodeError(p, err)
		}
		st, err = storage.DecodeTxnStatus(resp)
		return err
	})
	return st, readError(err)
}

func (n *Node) txnStateHere(ctx context.Context, p ring.PartitionID, t storage.TxnID) (storage.TxnStatus, error) {
	v, err := n.viewHere(ctx, p, nil, nil)
	if err != nil {
		return storage.TxnStatus{}, err
	}
	defer v.Close()
	return storage.ReadTxn(v, p, t)
}

func (n *Node) handleTxnState(ctx context.Context, p ring.PartitionID, body []byte) ([]byte, error) {
	t, err := decodeTxnID(body)
	if err != nil {
		return nil, err
	}
	st, err := n.txnStateHere(ctx, p, t)
	if err != nil {
		return nil, err
	}
	return storage.AppendTxnStatus(nil, &st), nil
}

const txnIDBytes = 16

func appendTxnID(dst []byte, t storage.TxnID) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Node))
	dst = binary.BigEndian.AppendUint32(dst, t.Incarnation)
	return binary.BigEndian.AppendUint64(dst, t.Seq)
}

func decodeTxnID(b []byte) (storage.TxnID, error) {
	if len(b) != txnIDBytes {
		return storage.TxnID{}, errMalformed
	}
	return storage.TxnID{
		Node: ring.NodeID(binary.BigEndian.Uint32(b)), Incarnation: binary.BigEndian.Uint32(b[4:]), Seq: binary.BigEndian.Uint64(b[8:]),
	}, nil
}

// AskTxn asks the coordinator of another node, or of this one: Config.OnTxn answers there. Errors: ErrUnavailable where
// the node was certainly not asked, ErrUnknownOutcome where it may have been; what OnTxn returned, as text if it was another node's.
func (n *Node) AskTxn(ctx context.Context, to ring.NodeID, body []byte) ([]byte, error) {
	if to == n.self() {
		return n.askedTxn(ctx, to, body)
	}
	resp, err := n.peers.Call(ctx, to, methodAskTxn, append([]byte{0, 0}, body...))
	var status *transport.StatusError
	switch {
	case err == nil:
		return resp, nil
	case errors.As(err, &status):
		return nil, fmt.Errorf("ask node %d: %w", to, decodeError(0, err))
	case transport.Unsent(err):
		return nil, fmt.Errorf("ask node %d: %w: %w", to, ErrUnavailable, err)
	}
	return nil, fmt.Errorf("ask node %d: %w: %w", to, ErrUnknownOutcome, err)
}

func (n *Node) askedTxn(ctx context.Context, from ring.NodeID, body []byte) ([]byte, error) {
	if n.cfg.OnTxn == nil || !n.isMember() {
		return nil, ErrNotMember
	}
	return n.cfg.OnTxn(ctx, from, body)
}
