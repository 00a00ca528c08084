package storage

import "encoding/binary"

// column names what a key under a partition is about. The numbers are on disk: append only.
type column uint8

const (
	colMeta       column = 0x00 // bookkeeping of this replica; never part of a snapshot
	colData       column = 0x10 // [key] → item
	colOverflow   column = 0x18 // [key][chunk u32 BE] → the next bytes of a value longer than one cell
	colExpiry     column = 0x20 // [deadline u64 BE][key] → length of the value
	colHeld       column = 0x21 // [key] → nothing: it was locked when the horizon passed it
	colTxn        column = 0x30 // [node u32 BE][incarnation u32 BE][seq u64 BE] → transaction record
	colTxnBody    column = 0x31 // [node][incarnation][seq][chunk u32 BE] → the next bytes of a record's long body
	colMarks      column = 0x34 // [node u32 BE] → closed, forgotten; [node][incarnation u32 BE] → mark
	colToken      column = 0x38 // [hash, 16 bytes] → idempotency token's record
	colAnswer     column = 0x39 // [hash][chunk u32 BE] → the next bytes of its long answer
	colTokenDue   column = 0x3A // [due u64 BE][hash] → nothing
	colLease      column = 0x40 // [name] → lease
	colWaiter     column = 0x41 // [node u32 BE][incarnation u32 BE][number u64 BE] → who waits for a lease
	colWaiterDone column = 0x42 // [node][incarnation][number] → until when it is remembered that the waiter has ended
	colLeaseDue   column = 0x43 // [time u64 BE][kind u8][name, or waiter] → nothing
)

// The keys of the meta column.
const (
	metaRecord = 'm' // → Meta
	metaMarker = 'p' // → an unfinished install or drop
	metaLog    = 'l' // of MetaPartition: → the last record known to be in the node's raft log; the node's, not the replica's
)

const prefixBytes = 3 // [partition u16 BE][column u8]

func appendPrefix(dst []byte, id PartitionID, c column) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(id))
	return append(dst, byte(c))
}

func metaKey(id PartitionID, which byte) []byte {
	return appendMetaKey(make([]byte, 0, prefixBytes+1), id, which)
}

func appendMetaKey(dst []byte, id PartitionID, which byte) []byte {
	return append(appendPrefix(dst, id, colMeta), which)
}

func appendDataKey(dst []byte, id PartitionID, key []byte) []byte {
	return append(appendPrefix(dst, id, colData), key...)
}

func overflowKey(id PartitionID, key []byte, chunk uint32) []byte {
	k := append(appendPrefix(make([]byte, 0, prefixBytes+len(key)+4), id, colOverflow), key...)
	return binary.BigEndian.AppendUint32(k, chunk)
}

func expiryKey(id PartitionID, deadline Millis, key []byte) []byte {
	k := appendPrefix(make([]byte, 0, prefixBytes+8+len(key)), id, colExpiry)
	k = binary.BigEndian.AppendUint64(k, uint64(deadline))
	return append(k, key...)
}

// splitExpiryKey takes a whole engine key apart; key aliases k.
func splitExpiryKey(k []byte) (deadline Millis, key []byte, err error) {
	if len(k) < prefixBytes+8+1 {
		return 0, nil, corruptf("expiry key of %d bytes", len(k))
	}
	return Millis(binary.BigEndian.Uint64(k[prefixBytes:])), k[prefixBytes+8:], nil
}

// columnRange is the range [start, end) of one column.
func columnRange(id PartitionID, c column) (start, end []byte) {
	return appendPrefix(nil, id, c), appendPrefix(nil, id, c+1)
}

// stateRange is the range of everything that a snapshot holds: all columns but the meta column. The end is nil for the
// last id.
func stateRange(id PartitionID) (start, end []byte) {
	start = appendPrefix(nil, id, colMeta+1)
	if id == MetaPartition {
		return start, nil
	}
	return start, appendPrefix(nil, id+1, 0)
}
