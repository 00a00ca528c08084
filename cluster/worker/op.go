package worker

import (
	"errors"
	"time"

	"github.com/ringkv/ringkv/cluster/worker/waitline"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Kind tells what an Op asks for.
type Kind uint8

// The kinds of Op.
const (
	Write Kind = iota + 1 // append Data to the group's log and apply it
	Read                  // look at the group's state, at a leader that was found to still be one
)

// ErrLocked is returned when a transaction held a key for as long as the request could wait, or too many wait already.
// Nothing was done.
var ErrLocked = errors.New("a transaction holds the key")

// Op is one request to a group. It goes in by Submit and comes out exactly once by Done, on the worker's goroutine;
// the fields below Done are valid from then on.
type Op struct {
	Group ring.PartitionID
	Kind  Kind
	Data  []byte // Write: the encoded command, owned by the worker from Submit on; the worker stamps the clock

	Term uint64 // Read: of the leadership that package readindex has granted the right to read to
	// Read: the right is given at a moment when no transaction holds one of Keys, or of the locks called Names,
	// exclusively. Whoever looks at the state later sees that moment or a newer one of each key.
	Keys, Names [][]byte
	Span        *Span  // Read: Locked is wanted
	Exact       bool   // Read: View is wanted
	LeaseName   []byte // Read: Lease is wanted; Err is storage.ErrNotFound if nobody has it

	// Wish is of a Write that is an acquire with a wait: where the lease is held, the answer comes when the wait ends.
	Wish *Wish

	// Deadline is how long the op may wait for locks, on the clock of Turn; 0 or one too far away means MaxWait.
	Deadline time.Duration
	Done     func(*Op) // must not block

	Result storage.Result // Write
	Clock  storage.Millis // Read: the partition's clock
	// Locked are the keys of Span that transactions hold exclusively: what the state says of them may be over already.
	Locked [][]byte
	// View is the state of the very moment, so that several keys are read as of one; the receiver closes it.
	View  storage.View
	Lease storage.Lease // of LeaseName
	// Err is nil, a *replica.NotLeaderError, replica.ErrDropped or ErrLocked (nothing was done), or
	// replica.ErrOutcomeUnknown (Write only).
	Err error

	ends  storage.TxnID     // it is the commit of this transaction
	turn  *waitline.Request // its place in the wait line, if it ever had one
	also  *Op               // a duplicate that is answered with it
	begun time.Duration     // when it was last proposed
}

// Span is a range of keys; a nil End means no bound.
type Span struct {
	Start, End []byte
}

// MaxWait is the longest that an op waits for locks.
const MaxWait = 10 * time.Second

// finish answers the op, which may be in use again from then on, and its duplicates.
func (o *Op) finish(err error) {
	also, res := o.also, o.Result
	o.also, o.turn = nil, nil
	o.Err = err
	o.Done(o)
	if also != nil {
		also.Result = res
		also.finish(err)
	}
}

// maxDuplicates bounds how often one transaction's prepare is answered at once.
const maxDuplicates = 8

// attach has a duplicate answered with o; false if there are too many.
func (o *Op) attach(dup *Op) bool {
	n := 0
	for ; o.also != nil; o = o.also {
		n++
	}
	if n >= maxDuplicates {
		return false
	}
	o.also = dup
	return true
}
