package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// The methods that nodes call on each other. The numbers travel between nodes: append only. Every body begins with
// the partition, u16 big-endian.
const (
	methodWrite  uint8 = 1 // partition, command → result
	methodGet    uint8 = 2 // partition, flags, key → item
	methodScan   uint8 = 3 // scanRequest → scanResponse
	methodMember uint8 = 4 // partition, replica u64 → 0 or 1

	methodTransact uint8 = 5 // partition, command of the commit protocol → result
	methodReadKeys uint8 = 6 // see appendReadKeys → read set
	methodTxnState uint8 = 7 // partition, transaction id → transaction status
	methodAskTxn   uint8 = 8 // two unused bytes, Config.OnTxn's request → its answer

	methodLease     uint8 = 9  // partition, command about a lease → result; an acquire is answered when its wait ends
	methodReadLease uint8 = 10 // partition, name → lease

	methodVouch uint8 = 11 // two unused bytes, readindex.Question → readindex.Answer

	methodHead    uint8 = 16 // partition → index u64
	methodHistory uint8 = 17 // see appendHistoryQuery → appendHistoryAnswers
)

// The statuses of their answers beside transport.StatusOK. Append only.
const (
	statusNotLeader  uint8 = 1 // body: the node to ask instead, u32, 0 if not known
	statusDropped    uint8 = 2 // nothing was done, ask again
	statusUnknown    uint8 = 3 // outcome unknown
	statusNotFound   uint8 = 4
	statusOverloaded uint8 = 5
	statusDiskFull   uint8 = 6
	statusMalformed  uint8 = 7
	statusFailed     uint8 = 8 // body: the reason
	statusLocked     uint8 = 9
)

// HandleRequest answers another node's call: always from what this node itself leads or holds, never by asking on.
func (n *Node) HandleRequest(ctx context.Context, from ring.NodeID, method uint8, body []byte) (uint8, []byte) {
	if len(body) < 2 {
		return statusMalformed, nil
	}
	p := ring.PartitionID(binary.BigEndian.Uint16(body))
	resp, err := n.handle(ctx, from, method, p, body[2:])
	if err != nil {
		return encodeError(err)
	}
	return transport.StatusOK, resp
}

func (n *Node) handle(ctx context.Context, from ring.NodeID, method uint8, p ring.PartitionID, body []byte) ([]byte, error) {
	switch method {
	case methodAskTxn:
		return n.askedTxn(ctx, from, body)
	case methodWrite:
		return encodeResult(n.writeHere(ctx, p, body))
	case methodTransact:
		return encodeResult(n.transactHere(ctx, p, body))
	case methodReadKeys:
		return n.handleReadKeys(ctx, p, body)
	case methodLease:
		return encodeResult(n.leaseHere(ctx, p, body))
	case methodReadLease:
		return n.handleReadLease(ctx, p, body)
	case methodTxnState:
		return n.handleTxnState(ctx, p, body)
	case methodGet:
		if len(body) < 1 {
			return nil, errMalformed
		}
		item, err := n.getHere(ctx, p, body[1:], body[0] == 1)
		if err != nil {
			return nil, err
		}
		return appendItem(nil, &item), nil
	case methodScan:
		return n.handleScan(ctx, body)
	case methodMember:
		return n.handleMember(ctx, p, body)
	case methodHead:
		return n.handleHead(ctx, p)
	case methodHistory:
		return n.handleHistory(ctx, body)
	}
	return nil, errMalformed
}

func encodeResult(res storage.Result, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return storage.AppendResult(nil, res), nil
}

var errMalformed = errors.New("malformed request of another node")

// encodeError is an error's form in an answer; decodeError turns it back.
func encodeError(err error) (uint8, []byte) {
	var notLeader *replica.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		return statusNotLeader, binary.BigEndian.AppendUint32(nil, uint32(notLeader.Leader.Node()))
	case errors.Is(err, replica.ErrDropped), errors.Is(err, ErrNotMember), errors.Is(err, ErrClosed):
		return statusDropped, nil
	case errors.Is(err, ErrNotFound):
		return statusNotFound, nil
	case errors.Is(err, ErrOverloaded):
		return statusOverloaded, nil
	case errors.Is(err, ErrDiskFull):
		return statusDiskFull, nil
	case errors.Is(err, ErrLocked):
		return statusLocked, nil
	case errors.Is(err, errMalformed):
		return statusMalformed, nil
	case errors.Is(err, replica.ErrOutcomeUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return statusUnknown, nil
	}
	return statusFailed, []byte(err.Error())
}

func decodeError(p ring.PartitionID, err error) error {
	var s *transport.StatusError
	if !errors.As(err, &s) {
		return err
	}
	switch s.Status {
	case statusNotLeader:
		e := &replica.NotLeaderError{Partition: p}
		if len(s.Body) == 4 {
			e.Leader = replica.MakeID(ring.NodeID(binary.BigEndian.Uint32(s.Body)), 0)
		}
		return e
	case statusDropped:
		return replica.ErrDropped
	case statusUnknown:
		return replica.ErrOutcomeUnknown
	case statusNotFound:
		return ErrNotFound
	case statusOverloaded:
		return ErrOverloaded
	case statusDiskFull:
		return ErrDiskFull
	case statusLocked:
		return ErrLocked
	}
	return fmt.Errorf("answer of another node: status %d: %s", s.Status, s.Body)
}

// handleMember answers whether a replica is or will be a member of a group that this node leads.
func (n *Node) handleMember(ctx context.Context, p ring.PartitionID, body []byte) ([]byte, error) {
	if len(body) != 8 {
		return nil, errMalformed
	}
	if _, err := n.readHere(ctx, p); err != nil { // only a leader that is known to still be one may answer
		return nil, err
	}
	var member, ok bool
	err := n.loop.ask(ctx, func(w *worker.Worker) {
		member, ok = w.Member(p, replica.ID(binary.BigEndian.Uint64(body)))
	})
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, &replica.NotLeaderError{Partition: p}
	case member:
		return []byte{1}, nil
	}
	return []byte{0}, nil
}
