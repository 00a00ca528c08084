package client

import (
	"bytes"
	"context"
	"errors"

	"github.com/ringkv/ringkv/api"
)

// Txn runs fn as one transaction: it reads through tx, and what it writes is kept back until fn returns nil. Then one
// request commits it, on condition that everything that fn has read is unchanged; absent keys count as read, too. If
// something has changed, nothing is done and fn is run again, after a short random pause, until ctx ends. So fn must be
// fit to be run several times; what it does besides is its own affair.
//
// A committed transaction is strictly serializable. Until then the reads of one run may be of different moments, and fn
// may see what never was true at once: it must bear that, and may call tx.Check to be sure. An error of fn ends the
// transaction without a request and is returned as it is. A transaction without writes ends with Check.
//
// For a counter that many change at a time use tx.Add, which reads nothing and so loses no race.
//
// Other errors: *Error; ErrConflict when ctx ended amid conflicts; a *TxnFailedError where an Add could not be done;
// ErrUnknownOutcome as with Transact: ExactlyOnce makes it rare.
func (c *Client) Txn(ctx context.Context, fn func(tx *Tx) error, opts ...TxnOption) error {
	for n := 1; ; n++ {
		tx := &Tx{client: c, opts: opts}
		err := fn(tx)
		if err == nil {
			err = tx.commit(ctx)
			tx.stale = lostRace(err)
		}
		if !tx.stale {
			return err
		}
		if !pauseForOthers(ctx, n) {
			return &Error{Op: opTxn, Attempts: n, Outcome: api.Aborted, Err: withCause(ctx, ErrConflict)}
		}
	}
}

const opTxn = "txn"

// lostRace reports whether err says that others were faster and nothing was done.
func lostRace(err error) bool {
	var refused *TxnFailedError
	if errors.As(err, &refused) {
		return len(refused.Failed) > 0 && refused.Failed[0].In == api.SectionIf
	}
	return errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknownOutcome)
}

// Tx is one run of a transaction. It is valid until the function that it was given to returns, and is used by one
// goroutine at a time.
type Tx struct {
	client *Client
	opts   []TxnOption

	seen    map[string]seen
	order   []string // the keys of seen, as they were read
	moments int      // how many requests have read
	stale   bool     // Check has found that something has changed
	own     map[string]own
	ops     []api.TxnOp
}

// seen is a key as it was read.
type seen struct {
	value   []byte // nil if absent
	version api.Version
}

// own is what this transaction has made of a key.
type own struct {
	value []byte // nil if deleted
	added bool   // an Add was the last: the value is not known before the commit
}

// errAdded is returned for the read of a key whose value depends on an Add that is yet to be done.
var errAdded = errors.New("the key has an Add in this transaction: its value is known when that is committed")

// Get returns the value of key, nil if it is absent: what this transaction has written, else what it has read before,
// else what the cluster has now. The slice is the caller's. Errors: *Error; also for a key with an Add.
func (tx *Tx) Get(ctx context.Context, key string) ([]byte, error) {
	if o, ok := tx.own[key]; ok {
		if o.added {
			return nil, &Error{Op: opTxn, Key: key, Err: errAdded}
		}
		return bytes.Clone(o.value), nil
	}
	if s, ok := tx.seen[key]; ok {
		return bytes.Clone(s.value), nil
	}
	item, err := tx.client.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	tx.moments++
	tx.see(key, seen{item.Value, item.Version})
	return bytes.Clone(item.Value), nil
}

// GetAll returns the values of keys, in their order, nil for those that are absent. Those that Get would ask the cluster
// for are read by one request, as they stood at one moment. Errors: *Error; also for a key with an Add.
func (tx *Tx) GetAll(ctx context.Context, keys ...string) ([][]byte, error) {
	t := NewTxn()
	for _, key := range keys {
		if _, ok := tx.own[key]; ok {
			continue
		}
		if _, ok := tx.seen[key]; !ok {
			t.Get(key)
		}
	}
	if len(t.req.Then) > 0 {
		r, err := tx.client.transact(ctx, opTxn, t)
		if err != nil {
			return nil, err
		}
		tx.moments++
		for i := range r.Results {
			tx.see(r.Results[i].Key, seen{r.Results[i].Value, r.Results[i].Version})
		}
	}
	values := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if values[i], err = tx.Get(ctx, key); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (tx *Tx) see(key string, s seen) {
	if tx.seen == nil {
		tx.seen = make(map[string]seen)
	}
	if _, again := tx.seen[key]; !again {
		tx.order = append(tx.order, key)
	}
	tx.seen[key] = s
}

// Put stores value under key when the transaction commits. Without TTL or KeepTTL the key then lives for ever. The value
// must not be changed before that.
func (tx *Tx) Put(key string, value []byte, life ...Lifetime) {
	if value == nil {
		value = []byte{}
	}
	tx.write(putOp(key, value, life), own{value: value})
}

// Delete removes key when the transaction commits, whether or not it exists.
func (tx *Tx) Delete(key string) { tx.write(deleteOp(key), own{}) }

// Add adds by to the number that key holds when the transaction commits; see Txn.Add.
func (tx *Tx) Add(key string, by int64, bounds ...Bound) {
	tx.write(addOp(key, by, bounds), own{added: true})
}

func (tx *Tx) write(op api.TxnOp, o own) {
	if tx.own == nil {
		tx.own = make(map[string]own)
	}
	tx.own[string(op.Key)] = o
	tx.ops = append(tx.ops, op)
}

// Check makes sure that everything that was read so far was true at one moment. If it was not, Check fails, and so does
// the run: whatever the transaction's function returns, it is run again. Errors: *Error.
func (tx *Tx) Check(ctx context.Context) error {
	if tx.moments <= 1 { // a single request reads at one moment
		return nil
	}
	_, err := tx.client.transact(ctx, opTxn, tx.demand(NewTxn()))
	tx.stale = lostRace(err)
	return err
}

// demand adds to t that everything read is unchanged.
func (tx *Tx) demand(t *Txn) *Txn {
	for _, key := range tx.order {
		t.IfVersion(key, tx.seen[key].version)
	}
	return t
}

// commit does what the run has asked for. Errors: as Txn, or a lost race.
func (tx *Tx) commit(ctx context.Context) error {
	if len(tx.ops) == 0 {
		return tx.Check(ctx)
	}
	t := tx.demand(NewTxn(tx.opts...))
	t.req.Then = tx.ops
	_, err := tx.client.transact(ctx, opTxn, t)
	return err
}
