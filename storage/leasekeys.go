package storage

import (
	"encoding/binary"

	"github.com/ringkv/ringkv/ring"
)

const waiterIDBytes = 4 + 4 + 8

// What a time in the index of colLeaseDue is of. The numbers are on disk: append only.
const (
	dueLease  = 1 // [name]: a lease's
	dueWaiter = 2 // [waiter]: a wait's
	dueDone   = 3 // [waiter]: the memory of a waiter's end
)

func leaseKey(id PartitionID, name []byte) []byte {
	return append(appendPrefix(make([]byte, 0, prefixBytes+len(name)), id, colLease), name...)
}

func fixedWaiterID(dst []byte, w WaiterID) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(w.Node))
	dst = binary.BigEndian.AppendUint32(dst, w.Incarnation)
	return binary.BigEndian.AppendUint64(dst, w.Number)
}

func waiterKey(id PartitionID, c column, w WaiterID) []byte {
	return fixedWaiterID(appendPrefix(make([]byte, 0, prefixBytes+waiterIDBytes), id, c), w)
}

func splitWaiterID(b []byte) (WaiterID, error) {
	if len(b) != waiterIDBytes {
		return WaiterID{}, corruptf("waiter's id of %d bytes", len(b))
	}
	return WaiterID{
		Node: ring.NodeID(binary.BigEndian.Uint32(b)), Incarnation: binary.BigEndian.Uint32(b[4:]), Number: binary.BigEndian.Uint64(b[8:]),
	}, nil
}

func leaseDueKey(id PartitionID, at Millis, kind byte, of []byte) []byte {
	k := appendPrefix(make([]byte, 0, prefixBytes+9+len(of)), id, colLeaseDue)
	k = append(binary.BigEndian.AppendUint64(k, uint64(at)), kind)
	return append(k, of...)
}

func waiterDueKey(id PartitionID, at Millis, kind byte, w WaiterID) []byte {
	return leaseDueKey(id, at, kind, fixedWaiterID(make([]byte, 0, waiterIDBytes), w))
}

// leaseDue is one time in the index, and what it is of: a name, or a waiter's id.
type leaseDue struct {
	at   Millis
	kind byte
	of   []byte
}

// splitLeaseDueKey takes a whole engine key apart; of aliases k.
func splitLeaseDueKey(k []byte) (leaseDue, error) {
	if len(k) < prefixBytes+9+1 {
		return leaseDue{}, corruptf("key of %d bytes in the index of leases", len(k))
	}
	d := leaseDue{at: Millis(binary.BigEndian.Uint64(k[prefixBytes:])), kind: k[prefixBytes+8], of: k[prefixBytes+9:]}
	if d.kind < dueLease || d.kind > dueDone || d.kind != dueLease && len(d.of) != waiterIDBytes {
		return leaseDue{}, corruptf("key %x in the index of leases", k)
	}
	return d, nil
}
