package client

import (
	"strconv"
	"time"

	"github.com/ringkv/ringkv/api"
)

// Txn is a transaction being put together: conditions, what is done if all of them hold, and what is done otherwise.
// Its methods add to it, in order, and return it. Transact carries it out, as a whole or not at all; it can be carried
// out again afterwards. A Txn is used by one goroutine at a time.
//
// Byte slices given to it must not be changed before Transact has returned. A transaction holds up to 1,024 conditions
// and operations, and 8 MiB of keys and values. What is malformed or too large is refused by Transact.
type Txn struct {
	req         api.Txn
	raw         []byte // the request's body, in place of req
	key         string // the idempotency key; "" for none
	exactlyOnce bool   // make a key for each Transact
}

// NewTxn returns a transaction that does nothing yet.
func NewTxn(opts ...TxnOption) *Txn {
	t := &Txn{}
	for _, o := range opts {
		o.forTxn(t)
	}
	return t
}

// TxnFromJSON returns the transaction that body describes, in the JSON of the HTTP API. It is sent as it is: the node
// judges it, and its error says where it is wrong. Nothing can be added to it.
func TxnFromJSON(body []byte, opts ...TxnOption) *Txn {
	t := NewTxn(opts...)
	t.raw = body
	return t
}

// IfVersion demands that key has this version; 0 stands for "absent".
func (t *Txn) IfVersion(key string, version api.Version) *Txn {
	return t.when(api.TxnCondition{Test: api.TestVersion, Key: []byte(key), Version: version})
}

// IfExists demands that key exists.
func (t *Txn) IfExists(key string) *Txn {
	return t.when(api.TxnCondition{Test: api.TestExists, Key: []byte(key)})
}

// IfAbsent demands that key does not exist.
func (t *Txn) IfAbsent(key string) *Txn {
	return t.when(api.TxnCondition{Test: api.TestAbsent, Key: []byte(key)})
}

// IfValue demands that key holds exactly value.
func (t *Txn) IfValue(key string, value []byte) *Txn {
	return t.when(api.TxnCondition{Test: api.TestValue, Key: []byte(key), Value: value})
}

// IfLock demands that the lock called name is held with this fencing token.
func (t *Txn) IfLock(name string, token api.FencingToken) *Txn {
	return t.when(api.TxnCondition{Test: api.TestToken, Key: []byte(name), Token: token})
}

func (t *Txn) when(c api.TxnCondition) *Txn {
	t.req.If = append(t.req.If, c)
	return t
}

// Get reads key: its result has the value and version, also if an operation before it in this transaction made them.
func (t *Txn) Get(key string) *Txn { return t.then(getOp(key)) }

// Put stores value under key. Without TTL or KeepTTL the key lives for ever.
func (t *Txn) Put(key string, value []byte, life ...Lifetime) *Txn {
	return t.then(putOp(key, value, life))
}

// Delete removes key, whether or not it exists.
func (t *Txn) Delete(key string) *Txn { return t.then(deleteOp(key)) }

// Add adds by to the decimal number that key holds; an absent key counts as 0. A broken bound, a sum beyond 64 bits or
// a value that is no number fails the whole transaction. The result has the new number.
func (t *Txn) Add(key string, by int64, bounds ...Bound) *Txn { return t.then(addOp(key, by, bounds)) }

func (t *Txn) then(op api.TxnOp) *Txn {
	t.req.Then = append(t.req.Then, op)
	return t
}

// Else gives the transaction an else branch, be it empty: where the conditions do not hold it is carried out, and
// Transact succeeds. The methods that add to the branch call it themselves.
func (t *Txn) Else() *Txn {
	if t.req.Else == nil {
		t.req.Else = []api.TxnOp{}
	}
	return t
}

// ElseGet is Get in the else branch.
func (t *Txn) ElseGet(key string) *Txn { return t.otherwise(getOp(key)) }

// ElsePut is Put in the else branch.
func (t *Txn) ElsePut(key string, value []byte, life ...Lifetime) *Txn {
	return t.otherwise(putOp(key, value, life))
}

// ElseDelete is Delete in the else branch.
func (t *Txn) ElseDelete(key string) *Txn { return t.otherwise(deleteOp(key)) }

// ElseAdd is Add in the else branch.
func (t *Txn) ElseAdd(key string, by int64, bounds ...Bound) *Txn {
	return t.otherwise(addOp(key, by, bounds))
}

func (t *Txn) otherwise(op api.TxnOp) *Txn {
	t.req.Else = append(t.req.Else, op)
	return t
}

// IdempotencyKey names the transaction, in 1 to 256 bytes of visible ASCII: for 24 hours, whatever client sends the same
// transaction under this name gets the answer of the first one, and nothing is done again. Another transaction under the
// same name fails with api.ErrKeyReused. It has the price of ExactlyOnce.
func (t *Txn) IdempotencyKey(key string) *Txn {
	t.key = key
	return t
}

func getOp(key string) api.TxnOp { return api.TxnOp{Kind: api.OpGet, Key: []byte(key)} }

func deleteOp(key string) api.TxnOp { return api.TxnOp{Kind: api.OpDelete, Key: []byte(key)} }

func putOp(key string, value []byte, life []Lifetime) api.TxnOp {
	op := api.TxnOp{Kind: api.OpPut, Key: []byte(key), Value: value}
	for _, l := range life {
		op.TTL, op.KeepTTL = l.ttl, l.keep
	}
	return op
}

func addOp(key string, by int64, bounds []Bound) api.TxnOp {
	op := api.TxnOp{Kind: api.OpAdd, Key: []byte(key), By: by}
	for _, b := range bounds {
		if b.least {
			op.Min = &b.bound
		} else {
			op.Max = &b.bound
		}
	}
	return op
}

// Bound is what the sum of an Add must keep within.
type Bound struct {
	bound int64
	least bool
}

// AtLeast demands a sum of n or more.
func AtLeast(n int64) Bound { return Bound{n, true} }

// AtMost demands a sum of n or less.
func AtMost(n int64) Bound { return Bound{n, false} }

// TxnOption changes how a transaction is carried out.
type TxnOption interface{ forTxn(t *Txn) }

type protocolOption api.TxnProtocol

// Protocol chooses the commit protocol of a transaction over several partitions; the default is api.ProtocolAuto.
func Protocol(p api.TxnProtocol) TxnOption { return protocolOption(p) }

func (o protocolOption) forTxn(t *Txn) { t.req.Protocol = api.TxnProtocol(o) }

type timeoutOption time.Duration

// TxnTimeout is how long the node may try to get the transaction done: 1ms to 60s, default 5s.
func TxnTimeout(d time.Duration) TxnOption { return timeoutOption(d) }

func (o timeoutOption) forTxn(t *Txn) { t.req.Timeout = time.Duration(o) }

type onceOption struct{}

// ExactlyOnce makes sure that the caller learns whether the transaction was done, also if the node that it was sent to
// dies meanwhile: the client makes up an idempotency key, and when an answer stays away it sends the same request again
// under the same key, which is answered but not done again. It tries for up to a minute, or until the context ends.
//
// The price: the cluster keeps a record of the answer for 24 hours, in a partition that the key chooses, so that nearly
// every transaction involves one partition more, and one that would have needed a single log entry needs a vote.
func ExactlyOnce() TxnOption { return onceOption{} }

func (onceOption) forTxn(t *Txn) { t.exactlyOnce = true }

// near returns a key whose partition takes part in t, "" if none is known.
func (t *Txn) near() string {
	switch {
	case len(t.req.Then) > 0:
		return string(t.req.Then[0].Key)
	case len(t.req.If) > 0:
		return string(t.req.If[0].Key)
	default:
		return ""
	}
}

// OpResult is what one operation answered.
type OpResult struct {
	Key     string
	Exists  bool        // false after a delete, and for a get of an absent key
	Value   []byte      // of a get or an add; nil otherwise
	Version api.Version // of the key as the operation left it; 0 if it does not exist
}

// Int returns the number that a get or an add gave; 0 for an absent key. Errors: a value that is no decimal number in
// 64 bits.
func (r *OpResult) Int() (int64, error) {
	if !r.Exists {
		return 0, nil
	}
	return strconv.ParseInt(string(r.Value), 10, 64)
}
