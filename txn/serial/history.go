package serial

import (
	"fmt"
	"math"
	"strings"
)

// TxnID names a transaction within a history. Ids are not negative, except for FinalState.
type TxnID int64

// FinalState is the transaction that CheckFinal adds.
const FinalState TxnID = -1

func (id TxnID) String() string {
	if id == FinalState {
		return "the final state"
	}
	return fmt.Sprintf("T%d", int64(id))
}

// Client names who ran a transaction. It is only shown: the order of a client's transactions is that of their times.
type Client int64

// Key names a list. Every list begins empty.
type Key string

// Value is an element of a list. A value is appended to a key at most once in a history.
type Value int64

// Time is a moment in nanoseconds on one monotonic clock, real or virtual, from any origin.
type Time int64

// Never is later than every moment.
const Never Time = math.MaxInt64

// Outcome is what the client knows of how its transaction ended.
type Outcome uint8

// The outcomes. Nothing is known until something is.
const (
	Unknown   Outcome = iota // may have taken effect, may still do so at any later time, or never
	Committed                // took effect between invocation and return
	Aborted                  // certainly never takes effect
)

func (o Outcome) String() string {
	switch o {
	case Unknown:
		return "unknown"
	case Committed:
		return "committed"
	case Aborted:
		return "aborted"
	default:
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
}

// OpKind is what an operation does.
type OpKind uint8

// The kinds of operation.
const (
	OpAppend OpKind = iota + 1
	OpRead
)

// Op is one step of a transaction, made by Append or Read.
type Op struct {
	Kind  OpKind
	Key   Key
	Value Value   // what an append appends
	Seen  []Value // the whole list as a read saw it, own appends included; nil is empty. Only a committed one's count
}

// Append puts v at the end of the list of key.
func Append(key Key, v Value) Op { return Op{Kind: OpAppend, Key: key, Value: v} }

// Read saw exactly these values in the list of key, in this order.
func Read(key Key, seen ...Value) Op { return Op{Kind: OpRead, Key: key, Seen: seen} }

func (op Op) String() string {
	if op.Kind == OpAppend {
		return fmt.Sprintf("append %s %d", op.Key, op.Value)
	}
	return fmt.Sprintf("read %s %s", op.Key, list(op.Seen))
}

// Txn is a transaction as its client saw it. A plain operation on one key is a transaction of one operation. Checking
// keeps and changes nothing of it.
type Txn struct {
	ID       TxnID
	Client   Client
	Invoked  Time // before anything was sent
	Returned Time // after the outcome was known; not looked at if it is Unknown
	Outcome  Outcome
	Ops      []Op // in the order of their effects
}

// String is one line, for example: T7 client 2 [10, 25] committed: append x 1, read y [3 4].
func (t Txn) String() string {
	end := fmt.Sprint(int64(t.Returned))
	if t.end() == Never {
		end = "?"
	}
	ops := make([]string, len(t.Ops))
	for i, op := range t.Ops {
		ops[i] = op.String()
	}
	return fmt.Sprintf("%v client %d [%d, %s] %v: %s", t.ID, t.Client, t.Invoked, end, t.Outcome, strings.Join(ops, ", "))
}

// end is the moment by which t has taken effect if it ever does.
func (t Txn) end() Time {
	if t.Outcome == Unknown {
		return Never
	}
	return t.Returned
}

// list shows values, of a long list the end only: that is where readers differ.
func list(vs []Value) string {
	const most, kept = 12, 8
	if len(vs) <= most {
		return fmt.Sprint(vs)
	}
	end := fmt.Sprint(vs[len(vs)-kept:])
	return fmt.Sprintf("[… %s (%d values)", end[1:], len(vs))
}
