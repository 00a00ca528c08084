package txn

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// Event is what a Coordinator, a Recovery or a Sweep is told by its owner: Start, Reply, Failed, Tick, and for some of
// them Cancel or Recovered. One that makes no sense in the present state is ignored.
type Event interface{ event() }

// Start begins. It is the first event, once.
type Start struct{}

// Reply is a group's answer to a command of Effects.Send, read from applied state. A machine does not keep it.
type Reply struct {
	From  storage.PartitionID
	Ref   Ref // of the Send that it answers
	Reply *storage.TxnReply
}

// Failed says that a command of Effects.Send got no answer. It is no vote (R3); the core sends again after a pause.
type Failed struct {
	From    storage.PartitionID
	Ref     Ref
	NotSent bool // the command was surely not proposed, and never will be
}

// Tick says that the time of Effects.Wake has come. A tick too many does no harm.
type Tick struct{}

// Cancel says that nobody waits for a Coordinator's answer any more. What runs is finished, nothing new is begun.
type Cancel struct{}

// Recovered tells a Sweep that the recovery of a transaction has ended, however it did.
type Recovered struct {
	ID      storage.TxnID
	Attempt storage.Attempt
}

func (Start) event()     {}
func (*Reply) event()    {}
func (Failed) event()    {}
func (Tick) event()      {}
func (Cancel) event()    {}
func (Recovered) event() {}

// Ref tells apart the commands that one core sends to one group, so that an answer is not taken for that of another
// command: the ack of an abort that is not final is not that of the final one (R9). The owner gives it back unread.
type Ref struct {
	Kind    storage.Kind
	Attempt storage.Attempt
	Final   bool
	Answer  bool   // with the idempotency token's answer
	Round   uint64 // of the ballot
}

// Send is a command for a group's leader. It may be repeated freely, lost, late or answered twice: nothing but liveness
// depends on how it is carried.
type Send struct {
	To    storage.PartitionID
	Ref   Ref
	Kind  storage.Kind
	Txn   storage.TxnCommand // Mark is left for the owner, who keeps the Ledger
	Until time.Time          // an answer after it is of little use: the owner may give up and say Failed
}

// Effects are what the owner does after a Step, in any order. They are valid until the next Step.
type Effects struct {
	Send     []Send
	Wake     time.Time // give a Tick then; zero: nothing to wait for but replies
	Finished bool      // all is done, nothing is sent any more: of a coordinator, its seq is finished (R9)
	Alarm    string    // an invariant is broken, named by its number; to be logged

	// Of a Coordinator.
	Answer  *Answer           // at most once: what the client is told
	Restart bool              // instead of an Answer: run the request again as a new transaction, with a new plan
	Suspect []storage.OpenTxn // in the way: ask their coordinators, recover them if abandoned

	// Of a Recovery.
	Conclusion Conclusion // at most once
	Outcome    *Outcome   // at most once, after ConcludeCommitted, when all results are at hand; without keys

	// Of a Sweep.
	Recover []storage.OpenTxn // recover these and say Recovered
}

func (e *Effects) reset() {
	clear(e.Send) // what was sent keeps no memory
	*e = Effects{Send: e.Send[:0]}
}

// Answer is what a coordinator tells its client: an Outcome, or an *Error.
type Answer struct {
	Outcome *Outcome
	Err     error
}

// Conclusion is what a Recovery has found out.
type Conclusion uint8

// The conclusions.
const (
	Inconclusive       Conclusion = iota
	ConcludeCommitted             // the attempt is committed: Recovery.Decision is the branch
	ConcludeAborted               // a group has sealed the transaction: no attempt ever commits (R7)
	ConcludeGone                  // finished everywhere and forgotten; nobody knows how any more (R8)
	ConcludeSuperseded            // the attempt is dead, but the transaction may live: look at it again
)

// String names the conclusion for logs and tests.
func (c Conclusion) String() string {
	switch c {
	case Inconclusive:
		return "inconclusive"
	case ConcludeCommitted:
		return "committed"
	case ConcludeAborted:
		return "aborted"
	case ConcludeGone:
		return "gone"
	case ConcludeSuperseded:
		return "superseded"
	}
	return "unknown"
}
