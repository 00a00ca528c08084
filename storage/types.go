package storage

import "github.com/ringkv/ringkv/ring"

// PartitionID names a partition; the metadata group's state lives under MetaPartition in the same engine.
type PartitionID = ring.PartitionID

// MetaPartition is the id under which a node keeps the metadata group's replica. It is no partition of the ring.
const MetaPartition PartitionID = 0xFFFF

// Version counts the changes of a partition. Each change of a key gives the key a new, larger version; versions are
// never reused for a key, not even after it was deleted. Always under 2^53.
type Version uint64

// Millis is a time on a partition's own clock, in milliseconds. That clock is part of the replicated state: it is
// moved forward only by applied entries, never runs faster than real time, and has no relation to any wall clock.
type Millis uint64

// Item is what is stored under one key.
type Item struct {
	Key         []byte
	Value       []byte // nil where only keys were asked for
	ContentType string
	Version     Version
	Deadline    Millis // when it expires, on the partition's clock; 0 means never
}

// Condition is what a write demands of the key's present state, after the HTTP headers of the same names.
// The zero Condition always holds.
type Condition struct {
	IfMatch        []Version // non-nil: the key exists and has one of these versions (an empty list never holds)
	IfMatchAny     bool      // the key exists
	IfNoneMatch    []Version // non-nil: the key is absent or has none of these versions
	IfNoneMatchAny bool      // the key is absent
}

// Kind tells what a command does.
type Kind uint8

// The kinds of commands. The numbers are on disk: append only.
const (
	KindInvalid Kind = 0
	KindPut     Kind = 1
	KindDelete  Kind = 2
	KindExpire  Kind = 3 // keys whose deadline Clock has reached become absent, at most Limit

	// The commands of the commit protocol's section 2.
	KindPrepare Kind = 4
	KindSingle  Kind = 5
	KindRefuse  Kind = 6
	KindDecide  Kind = 7
	KindPropose Kind = 8 // with the zero Ballot: PreCommit
	KindInquire Kind = 9
	KindCommit  Kind = 10
	KindAbort   Kind = 11
	KindMark    Kind = 12
	KindClose   Kind = 13 // of ID.Node's incarnations below ID.Incarnation
	KindForget  Kind = 14 // of the same
	KindSweep   Kind = 15 // remove status stubs and idempotency records whose time is over, at most Limit

	// The commands about leases, which clients call locks.
	KindAcquire Kind = 16
	KindCancel  Kind = 17 // the waiter has gone: it neither waits nor holds
	KindRenew   Kind = 18
	KindRelease Kind = 19
	KindLapse   Kind = 20 // end leases and waits whose time is over at Clock, at most Limit

	KindPurge Kind = 21 // give back what expired keys occupy, at most Limit
)

// Command is one entry of a partition's log, decoded.
type Command struct {
	Kind  Kind
	Clock Millis // the leader's reading of the partition clock when it proposed

	Key         []byte
	Value       []byte
	ContentType string
	Cond        Condition
	TTL         Millis // put: lives this long from Clock; 0 means for ever
	KeepTTL     bool   // put: keep the deadline that the key has

	Limit uint32 // expire, purge, sweep, lapse

	Txn   *TxnCommand   // the transaction kinds; nil for the others
	Lease *LeaseCommand // acquire, cancel, renew, release; nil for the others
}

// Status tells how a command ended.
type Status uint8

// The statuses of a Result. The numbers travel between nodes: append only.
const (
	StatusInvalid         Status = 0
	StatusCreated         Status = 1  // put: the key did not exist before
	StatusReplaced        Status = 2  // put: it did
	StatusDeleted         Status = 3  // delete: it existed
	StatusAbsent          Status = 4  // delete: it did not; nothing changed
	StatusConditionFailed Status = 5  // nothing changed; Version is the present one, 0 if absent
	StatusExpired         Status = 6  // expire: Count keys became absent
	StatusBlocked         Status = 7  // put, delete, acquire, cancel, release: a transaction holds a lock; nothing changed, Txn.Holder names it
	StatusTxn             Status = 8  // a transaction command: Txn has the reply
	StatusSwept           Status = 9  // sweep: Count records removed
	StatusLease           Status = 10 // a command about a lease: Lease has the reply; lapse: Count things ended
	StatusPurged          Status = 11 // purge: Count keys removed
)

// Result is what applying a command answered. It is the same on every replica. What Apply returned points into memory of the
// Partition that the next Apply uses again: see Clone.
type Result struct {
	Status  Status
	Version Version
	Count   uint32
	Txn     *TxnReply   // StatusTxn, StatusBlocked
	Lease   *LeaseReply // StatusLease
}

// Meta is a partition replica's bookkeeping; it changes in the same batch as the data it describes.
type Meta struct {
	Applied     uint64  // index of the last applied log entry
	AppliedTerm uint64  // its term
	Conf        []byte  // the raft configuration as of Applied, opaque here
	Revision    Version // the last version given
	LastRemoval Version // revision at which a key last went away: the version that absent keys have at most
	Clock       Millis  // the partition clock as of Applied
	Keys        uint64  // keys that are stored, expired ones that are not purged yet among them
	Bytes       uint64  // their keys' and values' lengths
	Longest     uint64  // no value is longer

	Horizon      Horizon // which keys have expired; owned by the Meta, not to be written to
	Expired      uint64  // of Keys
	ExpiredBytes uint64  // of Bytes
}

// Live returns how many keys there are for a reader, and the bytes of keys and values.
func (m *Meta) Live() (keys, bytes uint64) { return m.Keys - m.Expired, m.Bytes - m.ExpiredBytes }
