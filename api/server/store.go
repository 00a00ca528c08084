package server

import (
	"context"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Store is the cluster as the HTTP server needs it. Its methods may be called by any number of goroutines, honour the
// context's deadline, and return errors that match the sentinels of package api; an error that matches none is taken
// for a fault of the node (500, outcome unknown). A context error counts as "nothing learnt": 503 for a read, outcome
// unknown for a write.
type Store interface {
	// Get returns the item under key. Errors: api.ErrNotFound, api.ErrUnavailable, api.ErrOverloaded.
	// The server reads Item.Value until the request has ended and never changes it.
	Get(ctx context.Context, key []byte, consistency api.Consistency) (Item, error)
	// Put stores a value. Errors: *api.ConditionError, *api.LimitError, api.ErrUnavailable, api.ErrOverloaded,
	// api.ErrDiskFull, api.ErrUnknownOutcome.
	Put(ctx context.Context, p Put) (WriteResult, error)
	// Delete removes a key; that it was absent is no error. Errors: as Put.
	Delete(ctx context.Context, d Delete) (WriteResult, error)
	// List returns one page, in byte order over all partitions. It sees every write acknowledged before the call.
	// Errors: as Get.
	List(ctx context.Context, q ListQuery) (ListResult, error)

	Locker

	Cluster(ctx context.Context) (api.Cluster, error)
	Ring(ctx context.Context) (api.Ring, error)
	Locate(key []byte) (api.Location, error)

	// Ready returns nil if the node has caught up and serves, else an error whose text says what is missing.
	Ready(ctx context.Context) error
	// Stats returns what /metrics shows of the node. It is called once for each scrape.
	Stats() Stats
}

// Item is a key with its value as a Store found it.
type Item struct {
	Key         []byte
	Value       []byte // ignored where only keys were asked for
	ContentType string // "" means api.TypeOctetStream
	Version     storage.Version
	TTL         time.Duration // left; 0 if it never expires
	Partition   ring.PartitionID
}

// Put is one PUT. Key and Value were allocated for this call: they are the Store's to keep, also after it returned.
type Put struct {
	Key         []byte
	Value       []byte
	ContentType string // never ""
	Cond        storage.Condition
	TTL         time.Duration // in whole milliseconds; 0 means for ever
	KeepTTL     bool          // keep the TTL that the key has; TTL is 0 then
}

// Delete is one DELETE. Key is the Store's to keep.
type Delete struct {
	Key  []byte
	Cond storage.Condition
}

// WriteResult is what became of a write that succeeded.
type WriteResult struct {
	Version   storage.Version // the key's new version; 0 after a delete that found nothing
	Created   bool            // put: the key did not exist before
	Partition ring.PartitionID
}

// ListQuery asks for one page of the keys in [Start, End).
type ListQuery struct {
	Start    []byte
	End      []byte // nil means no upper bound
	Limit    int    // items, at least 1
	MaxBytes int    // stop after the item with which keys and values reach this sum
	KeysOnly bool   // leave Item.Value nil
}

// ListResult is one page.
type ListResult struct {
	Items []Item // in byte order of Key; may be fewer than asked for, or none, though Next is given
	Next  []byte // Start of the next page, above every key of this one and above this page's Start; nil at the end
}

// Role is what a replica is in its raft group.
type Role string

// The roles.
const (
	RoleLeader    Role = "leader"
	RoleFollower  Role = "follower"
	RoleCandidate Role = "candidate"
	RoleLearner   Role = "learner"
)

// Stats is a snapshot of a node for /metrics.
type Stats struct {
	Partitions    []PartitionStats // one for each replica that this node holds
	GossipAlive   int              // members that gossip believes alive, this node among them
	GossipSuspect int
	GossipDead    int
	Epoch         uint64 // of the metadata that this node knows

	Fsync Latency // of the raft log's batches
	Apply Latency // of a batch of committed entries, the engine's commit included

	ExpiredKeys   uint64        // that went away because their time was over, in partitions that this node led
	ExpiryOverdue time.Duration // of the partitions that it leads: how long ago the first key that is still there was due
	LocksHeld     int           // of the partitions that it leads
	LockWaiters   int           // likewise

	EngineDiskBytes int64
	LogDiskBytes    int64
	DiskFreeBytes   int64 // of the file system under the data directory
	ScrubPasses     uint64
	ScrubLastEnd    time.Time // zero before the first
	ScrubRefilled   uint64    // replicas replaced because of damage
	ScrubDamaged    int       // replicas damaged now
	DiskFullness    uint8     // 0: room; 1: puts refused where too few replicas have room; 2: all puts; 3: all writes
}

// PartitionStats is one replica.
type PartitionStats struct {
	ID       ring.PartitionID
	Role     Role
	Term     uint64
	Commit   uint64 // index
	Applied  uint64 // index
	Lag      uint64 // entries: on a leader, how far its slowest replica is behind; else how far this one is
	Keys     uint64 // that are there for readers
	Unpurged uint64 // expired keys whose space is yet to be given back
	Bytes    uint64 // of those keys and their values
}

// Latency is a cumulative histogram since the node started.
type Latency struct {
	Bounds []time.Duration // upper bounds, ascending
	Counts []uint64        // observations at or below Bounds[i] and above Bounds[i-1]; one more for those above all
	Sum    time.Duration
}
