package storage

import (
	"cmp"
	"fmt"

	"github.com/ringkv/ringkv/ring"
)

// The participant's side of the commit protocol: its section 2 as types. Rules (R…) and invariants (I…) are those of the
// protocol's page; DESIGN.md has the table of guards.

// TxnID names a transaction: the node that coordinates it, that node's incarnation and a counter from 1.
type TxnID struct {
	Node        ring.NodeID
	Incarnation uint32
	Seq         uint64
}

// Compare orders by node, incarnation and counter.
func (t TxnID) Compare(o TxnID) int {
	return cmp.Or(cmp.Compare(t.Node, o.Node), cmp.Compare(t.Incarnation, o.Incarnation), cmp.Compare(t.Seq, o.Seq))
}

// IsZero reports whether t names no transaction.
func (t TxnID) IsZero() bool { return t == TxnID{} }

// String is for logs; clients see an id with check digits instead.
func (t TxnID) String() string { return fmt.Sprintf("%d.%d.%d", t.Node, t.Incarnation, t.Seq) }

// Attempt numbers the attempts of a transaction, from 1.
type Attempt uint32

// Sealed is the attempt ∞ of the protocol: no attempt of the transaction will ever be prepared here.
const Sealed Attempt = 1<<32 - 1

// Protocol is how a transaction commits.
type Protocol uint8

// The protocols. The numbers are on disk: append only.
const (
	OnePhase   Protocol = 1 // one group, one entry
	Auto       Protocol = 2 // the votes are the commit record
	TwoPhase   Protocol = 3 // a decision record in the home group
	ThreePhase Protocol = 4 // ballots, a majority of groups
)

// Decision is what becomes of an attempt: which branch is executed, or none. The numbers are on disk: append only.
type Decision uint8

// The decisions. DecideNothing commits, but no branch could be executed: a condition was false and there is no else, or
// an operation of the branch broke a bound.
const (
	Undecided     Decision = 0
	DecideThen    Decision = 1
	DecideElse    Decision = 2
	DecideNothing Decision = 3
	DecideAbort   Decision = 4
)

// Commits reports whether d is one of the committing decisions.
func (d Decision) Commits() bool { return d == DecideThen || d == DecideElse || d == DecideNothing }

// Ballot orders the proposers of 3pc. The zero Ballot is the coordinator's, every recoverer's is larger and its own.
type Ballot struct {
	Round uint64
	Node  ring.NodeID
	Nonce uint64 // unique among the recoverers of Node, for ever
}

// Compare orders ballots.
func (b Ballot) Compare(o Ballot) int {
	return cmp.Or(cmp.Compare(b.Round, o.Round), cmp.Compare(b.Node, o.Node), cmp.Compare(b.Nonce, o.Nonce))
}

// Reason is why a group voted NO. The numbers are on disk: append only.
type Reason uint8

// The reasons.
const (
	NoReason       Reason = 0
	Conflict       Reason = 1 // another transaction holds a lock; the next attempt may have more luck
	WrongPartition Reason = 2 // a key does not belong here under the group's mapping
	TokenReused    Reason = 3 // the idempotency token's record has another body
	TokenAnswered  Reason = 4 // the idempotency token is answered; the reply has the answer
	TokenBusy      Reason = 5 // another transaction holds the idempotency token, or its answer is not stored yet
	Refused        Reason = 6 // recovery or an abort closed it
	Closed         Reason = 7 // the coordinator's incarnation is closed
	TooLarge       Reason = 8 // what it reads and writes here does not fit one batch
	DiskFull       Reason = 9 // the leader has no room for it
)

// TxnState is where a group stands with one attempt. The numbers are on disk: append only.
type TxnState uint8

// The states of the protocol's table. TxnAbsent is never stored.
const (
	TxnAbsent    TxnState = 0
	TxnYes       TxnState = 1
	TxnNo        TxnState = 2
	TxnCommitted TxnState = 3
	TxnGone      TxnState = 4
)

// TxnCondition is one condition of a transaction that this group judges: exactly one test. S lock on its name.
type TxnCondition struct {
	Index uint32 // its place in the client's list
	Test  Test
	Key   []byte  // of an item, or the name of a lock where Test is TestToken
	Want  Version // TestVersion: 0 means absent; TestToken: the fencing token
	Value []byte  // TestValue
}

// Test is what a condition looks at. The numbers are on disk: append only.
type Test uint8

// The tests.
const (
	TestVersion Test = 1
	TestExists  Test = 2
	TestAbsent  Test = 3
	TestValue   Test = 4
	TestToken   Test = 5 // the lock named Key is held with fencing token Want
)

// OpKind is what an operation of a transaction does. The numbers are on disk: append only.
type OpKind uint8

// The operations: get takes an S lock, the others X.
const (
	OpGet    OpKind = 1
	OpPut    OpKind = 2
	OpDelete OpKind = 3
	OpAdd    OpKind = 4
)

// TxnOp is one operation of a branch that this group executes, each seeing those before it.
type TxnOp struct {
	Index   uint32 // its place in the client's list
	Kind    OpKind
	Key     []byte
	Value   []byte // put
	TTL     Millis // put: 0 means for ever
	KeepTTL bool   // put
	By      int64  // add
	Min     *int64 // add: inclusive; nil means no bound
	Max     *int64 // add
}

// Token is an idempotency token that this group keeps the record of. X lock on the record.
type Token struct {
	Key  [16]byte // hash of principal and token
	Body [32]byte // hash of the request's body
}

// Prepare is one group's part of a transaction: of KindPrepare and KindSingle.
type Prepare struct {
	Protocol     Protocol
	Participants []PartitionID // all of the transaction, ascending; the first is TxnCommand.Home
	Partitions   uint32        // Q under which the coordinator mapped the keys
	If           []TxnCondition
	Then, Else   []TxnOp
	HasElse      bool   // the transaction has an else branch, be it empty here
	Token        *Token // nil unless the record is kept here

	// Who waits for whom; nothing of it decides an outcome.
	Age     Millis // the coordinator's clock at attempt 1: smaller is older
	Ordered bool   // the attempt takes its groups one after another
	Deny    Reason // set by the leader (DenyCommand): vote NO for this reason
}

// TxnCommand is what the transaction kinds of Command carry.
type TxnCommand struct {
	ID      TxnID
	Attempt Attempt
	Home    PartitionID // of every command about one transaction, so that home knows what it is even without the prepare
	Mark    uint64      // transactions of ID's node and incarnation below it are finished everywhere; 0 says nothing

	Prepare  *Prepare // KindPrepare, KindSingle
	Ballot   Ballot   // KindPropose, KindInquire
	Decision Decision // KindDecide, KindCommit: the branch; KindPropose: the value
	Final    bool     // KindAbort: no further attempt will come
	Answer   []byte   // KindCommit: what the idempotency token's record is to keep; nil if this is not its group or it is not known yet
}

// Seen is what a condition found.
type Seen struct {
	Index   uint32
	Holds   bool
	Version Version // of the key, 0 if absent; TestToken: the token held, 0 if free
}

// OpResult is what an operation answers.
type OpResult struct {
	Index   uint32
	Kind    OpKind
	Key     []byte
	Exists  bool // the key is there after the operation: always for put and add, never for delete
	Value   []byte
	Version Version // 0 where absent or deleted
}

// OpFailure is why an operation cannot be executed. The numbers are on disk: append only.
type OpFailure uint8

// The failures.
const (
	OpBound    OpFailure = 1
	OpOverflow OpFailure = 2
	OpNoNumber OpFailure = 3
)

// FailedOp is an operation that makes its branch impossible.
type FailedOp struct {
	Index   uint32
	Key     []byte
	Failure OpFailure
	Version Version // of the key as the operation found it, 0 if absent
}

// BranchVote is what a group says about one branch: its results, or the first operation that fails.
type BranchVote struct {
	Results []OpResult
	Failed  *FailedOp
}

// Vote is what a YES reports: with all of them the decision is a pure function.
type Vote struct {
	If         []Seen
	Then, Else BranchVote
	HasElse    bool // the transaction has an else branch: of the prepare
	Token      bool // this group keeps the transaction's idempotency record
}

// ReplyKind is what a participant answers. The numbers travel between nodes: append only.
type ReplyKind uint8

// The replies of the protocol's table.
const (
	ReplyYes        ReplyKind = 1
	ReplyNo         ReplyKind = 2 // Sealed tells whether for ever; Superseded whether a later attempt is known
	ReplyCommitted  ReplyKind = 3
	ReplyGone       ReplyKind = 4
	ReplyAck        ReplyKind = 5
	ReplyAccepted   ReplyKind = 6 // Ballot
	ReplyPromise    ReplyKind = 7 // Ballot; Accepted, AcceptedBallot
	ReplyNack       ReplyKind = 8 // Ballot: what was promised instead
	ReplySuperseded ReplyKind = 9 // of Abort
	ReplyOpen       ReplyKind = 10
	ReplyAlarm      ReplyKind = 11 // an invariant is broken: nothing was done; Alarm names it
	ReplyBlocked    ReplyKind = 12 // of a plain write: nothing was done, Holder has a lock
	ReplyAbsent     ReplyKind = 13 // of Decide: no record of the transaction
)

// TxnReply is what applying a transaction command answered; it is the same on every replica. It is about the ID of the
// command and the Attempt given here (R2).
type TxnReply struct {
	Kind       ReplyKind
	Attempt    Attempt
	Sealed     bool // no, and the ack of an abort: no attempt will ever be prepared here; an ack without it may be of a GONE (R8)
	Superseded bool
	Reason     Reason
	Decision   Decision   // committed: the branch
	Vote       *Vote      // yes, promise; committed: all but the results of a branch that was not taken
	Holder     *OpenTxn   // no by conflict or a busy token, blocked: one that is in the way
	Answer     []byte     // no, TokenAnswered: what was stored
	Ballot     Ballot     // accepted, promise, nack
	Accepted   Decision   // promise
	AcceptedAt Ballot     // promise
	Open       []*OpenTxn // of Close: YES, and COMMITTED whose token lacks its answer (R11)
	Alarm      string     // "I1", "I2", "I9": the invariant that was found broken; of any kind of reply
}

// OpenTxn is a transaction in doubt: all that a recoverer needs to finish it.
type OpenTxn struct {
	ID           TxnID
	Attempt      Attempt
	Protocol     Protocol
	Home         PartitionID
	Participants []PartitionID
	Token        bool // this group keeps its idempotency record

	// Decision is Undecided while the transaction is in doubt here. Otherwise it is committed here and all that is
	// missing is the answer of its token, which a Commit of it may bring.
	Decision Decision

	// Of its Prepare: who may wait for it. They travel with it and outlive a change of leader.
	Age     Millis
	Ordered bool
}
