package api

import (
	"strconv"
	"time"
)

// Txn is the body of POST /v1/txn: a transaction over any keys, done wholly or not at all. Its JSON is the contract's;
// it is read strictly (see DecodeTxn).
type Txn struct {
	If       []TxnCondition // all must hold
	Then     []TxnOp        // done in order if they do; may be empty only beside a condition
	Else     []TxnOp        // done in order if one does not; nil means that there is no such branch, empty one that does nothing
	Protocol TxnProtocol    // "" means ProtocolAuto
	Timeout  time.Duration  // for all attempts, 1 ms to 60 s, rounded up to milliseconds; 0 means 5 s
}

// TxnProtocol is how a transaction commits.
type TxnProtocol string

// The protocols.
const (
	ProtocolAuto TxnProtocol = "auto" // the votes are the commit record; the default
	Protocol2PC  TxnProtocol = "2pc"  // an explicit decision record in one partition
	Protocol3PC  TxnProtocol = "3pc"  // a pre-commit round: locks do not wait for a lost partition
	Protocol1PC  TxnProtocol = "1pc"  // in answers only: one partition took part
)

// FencingToken is what a lock gives its holder: positive, under 2^53, larger than every earlier one of that name. 0
// stands for "free".
type FencingToken uint64

// TxnTest is what a condition looks at.
type TxnTest uint8

// The tests.
const (
	TestVersion TxnTest = iota + 1 // the key is at TxnCondition.Version
	TestExists                     // the key is there
	TestAbsent                     // the key is absent
	TestValue                      // the key is there and has exactly TxnCondition.Value
	TestToken                      // the lock named TxnCondition.Key is held with TxnCondition.Token
)

// TxnCondition is one condition of a transaction. As JSON: key or key_b64 (lock or lock_b64 with TestToken), and the
// one test.
type TxnCondition struct {
	Test    TxnTest
	Key     []byte       // of an item; the lock's name with TestToken
	Version Version      // TestVersion: 0 means absent
	Value   []byte       // TestValue
	Token   FencingToken // TestToken
}

// TxnOpKind is what an operation of a transaction does.
type TxnOpKind string

// The operations.
const (
	OpGet    TxnOpKind = "get"
	OpPut    TxnOpKind = "put"
	OpDelete TxnOpKind = "delete"
	OpAdd    TxnOpKind = "add" // to a decimal number in 64 bits; an absent key counts as 0; keeps the TTL
)

// TxnOp is one operation of a branch; it sees what those before it did. Fields that do not belong to Kind are ignored
// when it is encoded.
type TxnOp struct {
	Kind    TxnOpKind
	Key     []byte
	Value   []byte        // put
	TTL     time.Duration // put: 1 ms to 87600 h, rounded up to milliseconds; 0 means for ever
	KeepTTL bool          // put: keep the TTL that the key has; TTL is 0 then
	By      int64         // add
	Min     *int64        // add: the sum must not be smaller; nil means no bound
	Max     *int64        // add: the sum must not be larger; nil means no bound
}

// AppendJSON appends it as the contract's JSON.
func (t *Txn) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if len(t.If) > 0 {
		dst = append(dst, `"if":[`...)
		for i := range t.If {
			dst = append(t.If[i].AppendJSON(dst), ',')
		}
		dst[len(dst)-1] = ']'
		dst = append(dst, ',')
	}
	dst = appendOps(append(dst, `"then":`...), t.Then)
	if t.Else != nil {
		dst = appendOps(append(dst, `,"else":`...), t.Else)
	}
	if t.Protocol != "" {
		dst = append(dst, `,"protocol":`...)
		dst = appendString(dst, string(t.Protocol))
	}
	if t.Timeout != 0 {
		dst = append(dst, `,"timeout":"`...)
		dst = append(append(dst, t.Timeout.String()...), '"')
	}
	return append(dst, '}')
}

func appendOps(dst []byte, ops []TxnOp) []byte {
	dst = append(dst, '[')
	for i := range ops {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = ops[i].AppendJSON(dst)
	}
	return append(dst, ']')
}

// MarshalJSON implements json.Marshaler.
func (t Txn) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// AppendJSON appends it as one JSON object. Without a known Test it has none, and will be refused.
func (c *TxnCondition) AppendJSON(dst []byte) []byte {
	name := "key"
	if c.Test == TestToken {
		name = "lock"
	}
	dst = appendText(append(dst, '{'), name, c.Key)
	switch c.Test {
	case TestVersion:
		dst = strconv.AppendUint(append(dst, `,"version":`...), uint64(c.Version), 10)
	case TestExists:
		dst = append(dst, `,"exists":true`...)
	case TestAbsent:
		dst = append(dst, `,"exists":false`...)
	case TestValue:
		dst = appendText(append(dst, ','), "value", c.Value)
	case TestToken:
		dst = strconv.AppendUint(append(dst, `,"token":`...), uint64(c.Token), 10)
	}
	return append(dst, '}')
}

// MarshalJSON implements json.Marshaler.
func (c TxnCondition) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// AppendJSON appends it as one JSON object.
func (o *TxnOp) AppendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"op":`...), string(o.Kind))
	dst = appendText(append(dst, ','), "key", o.Key)
	switch o.Kind {
	case OpPut:
		dst = o.appendPut(dst)
	case OpAdd:
		dst = o.appendAdd(dst)
	}
	return append(dst, '}')
}

func (o *TxnOp) appendPut(dst []byte) []byte {
	dst = appendText(append(dst, ','), "value", o.Value)
	if o.TTL != 0 {
		dst = append(dst, `,"ttl":"`...)
		dst = append(append(dst, o.TTL.String()...), '"')
	}
	if o.KeepTTL {
		dst = append(dst, `,"keepttl":true`...)
	}
	return dst
}

func (o *TxnOp) appendAdd(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `,"by":`...), o.By, 10)
	if o.Min != nil {
		dst = strconv.AppendInt(append(dst, `,"min":`...), *o.Min, 10)
	}
	if o.Max != nil {
		dst = strconv.AppendInt(append(dst, `,"max":`...), *o.Max, 10)
	}
	return dst
}

// MarshalJSON implements json.Marshaler.
func (o TxnOp) MarshalJSON() ([]byte, error) { return o.AppendJSON(nil), nil }
