package worker

import (
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Kind tells what an Op asks for.
type Kind uint8

// The kinds of Op.
const (
	Write Kind = iota + 1 // append Data to the group's log and apply it
	Read                  // the right to read the group's state as of now
)

// Op is one request to a group. It goes in by Submit and comes out exactly once by Done, on the worker's goroutine;
// the fields below Done are valid from then on.
type Op struct {
	Group ring.PartitionID
	Kind  Kind
	Data  []byte    // Write: the encoded command, owned by the worker from Submit on; the worker stamps the clock
	Done  func(*Op) // must not block

	Result storage.Result // Write
	Clock  storage.Millis // Read: the partition's clock
	// Err is nil, a *replica.NotLeaderError or replica.ErrDropped (nothing was done, try again), or
	// replica.ErrOutcomeUnknown (Write only).
	Err error
}

func (o *Op) finish(err error) {
	o.Err = err
	o.Done(o)
}
