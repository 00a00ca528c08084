package txn

import "github.com/ringkv/ringkv/storage"

// Outcome is what became of a transaction whose fate is known: the same for whoever computes it from the votes, and what
// an idempotency token's record keeps.
type Outcome struct {
	ID           string                // as clients see it, never empty: a read-only one has an id too, of which nothing is kept
	Decision     storage.Decision      // DecideThen, DecideElse or DecideNothing
	Protocol     storage.Protocol      // OnePhase whenever one partition took part
	Participants []storage.PartitionID // ascending
	Attempts     uint32
	Results      []storage.OpResult // of the branch, in the client's order; nil with DecideNothing
	Failed       []Failure          // DecideNothing: in order; nil otherwise
	Replayed     bool               // an idempotency token's stored answer; not stored itself
	Truncated    bool               // replayed: the results were too much to keep, see AppendOutcome
}

// Failure is a condition that was false, or an operation that made the branch impossible.
type Failure struct {
	In      Section
	Index   uint32
	Key     []byte            // of the item, or the name of the lock where Lock is set
	Lock    bool              // the condition was about a lock
	Version storage.Version   // as found: of the key, 0 if absent; of a lock: the token held, 0 if free
	Op      storage.OpFailure // of an operation; 0 for a condition
}

// Section is a part of a request.
type Section uint8

// The sections.
const (
	InIf Section = iota + 1
	InThen
	InElse
)

// Status is what GET /v1/txn/{id} says.
type Status uint8

// The statuses.
const (
	StatusPending Status = iota + 1
	StatusCommitted
	StatusAborted
)

// Counts is how a node's transactions stand.
type Counts struct {
	Running    int    // that this node coordinates, those that are only to be acknowledged included
	Recovering int    // of others
	Recoveries uint64 // begun since the start
	Alarms     uint64 // broken invariants met since the start: anything but 0 is a bug
}
