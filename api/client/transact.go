package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ringkv/ringkv/api"
)

// TxnResult is what a transaction did.
type TxnResult struct {
	ID         string            // what TxnStatus takes, unless the transaction could not write
	Branch     api.TxnSection    // api.SectionThen or api.SectionElse
	Results    []OpResult        // one for each operation of the branch, in order
	Protocol   api.TxnProtocol   // the one used: api.Protocol1PC where one partition took part
	Partitions []api.PartitionID // all that took part, ascending
	Attempts   int               // how many it took on the node; more than one after conflicts
	Replayed   bool              // the stored answer of an earlier request with the same idempotency key

	// Truncated says that a stored answer is without its results: they were more than the 2 MiB that are kept with an
	// idempotency key. The transaction is done; what it read must be read again.
	Truncated bool

	// Lost says that the transaction is committed, and that no answer told more than that: it came from TxnStatus.
	// Only ID is set then, and Branch if there is but one. ExactlyOnce prevents it.
	Lost bool
}

// Transact carries t out: all of it or nothing.
//
// A request that is known to have done nothing is repeated as the other calls' are. If the outcome is unknown, then with
// ExactlyOnce or IdempotencyKey the request is sent again under the same key; without, but with the transaction's id in
// hand, the cluster is asked what became of it: see TxnResult.Lost. Both go on for up to a minute, or until ctx ends.
//
// Where ctx has a deadline and t neither a TxnTimeout nor an IdempotencyKey, the node is told to give up before that, so
// that it still can say so.
//
// Errors: *Error; a *TxnFailedError where a condition was false and t has no else branch, or where an operation could
// not be done; ErrConflict; ErrUnknownOutcome, where Error.Txn is the id if any node told it.
func (c *Client) Transact(ctx context.Context, t *Txn) (*TxnResult, error) {
	return c.transact(ctx, "transact", t)
}

// transact is Transact, and op is what errors call it.
func (c *Client) transact(ctx context.Context, op string, t *Txn) (*TxnResult, error) {
	cl := t.call(ctx, op)
	if err := checkHeader(cl.req.header); err != nil {
		return nil, &Error{Op: op, Outcome: api.Aborted, Err: err}
	}
	for n := 1; ; n++ {
		resp, err := c.do(ctx, cl)
		if err == nil {
			return resultFrom(op, resp)
		}
		id, open := inDoubt(err)
		if !open || cl.replayable {
			return nil, err
		}
		state, asked := c.settle(ctx, id)
		switch {
		case asked != nil: // still in doubt; the first error says more
			return nil, withStatusError(err, asked)
		case state == api.TxnCommitted:
			return t.lost(id), nil
		case n >= c.cfg.MaxAttempts || !pauseForOthers(ctx, n):
			return nil, settledAborted(err)
		}
	}
}

// call is how t is sent.
func (t *Txn) call(ctx context.Context, op string) *call {
	const slack = 5 * time.Second // for the node to say how it ended
	cl := &call{op: op, near: t.near(), write: !t.readOnly(), req: request{
		method: http.MethodPost, target: api.PathTxn, body: t.raw,
		header: http.Header{api.HeaderContentType: {api.TypeJSON}},
	}}
	if t.raw == nil {
		req := t.req
		req.Timeout = t.timeout(ctx)
		cl.req.body = req.AppendJSON(nil)
		cl.patience = cmp.Or(req.Timeout, api.DefaultTxnTimeout) + slack
	} else {
		cl.patience = api.MaxTxnTimeout + slack
	}
	key := t.key
	if key == "" && t.exactlyOnce {
		key = rand.Text()
	}
	if key != "" {
		cl.req.header[api.HeaderIdempotencyKey] = []string{key}
		cl.replayable = true
	}
	return cl
}

// timeout is what the node is told, 0 for its default. A caller's own idempotency key stands for the same bytes each
// time that it is used, so these must not depend on ctx.
func (t *Txn) timeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok || t.req.Timeout != 0 || t.key != "" {
		return t.req.Timeout
	}
	left := time.Until(deadline)
	left -= left / 5 // for the ways
	if left >= api.DefaultTxnTimeout {
		return 0
	}
	return max(left.Truncate(time.Millisecond), api.MinTxnTimeout)
}

// readOnly reports whether t can change nothing, so that it is repeated like a read.
func (t *Txn) readOnly() bool {
	writes := func(op api.TxnOp) bool { return op.Kind != api.OpGet }
	return t.raw == nil && t.key == "" && !t.exactlyOnce &&
		!slices.ContainsFunc(t.req.Then, writes) && !slices.ContainsFunc(t.req.Else, writes)
}

// resultFrom reads the answer to a transaction.
func resultFrom(op string, resp *response) (*TxnResult, error) {
	w, err := api.DecodeTxnResult(resp.body)
	if err != nil { // it is done, but what did it?
		return nil, &Error{Op: op, Outcome: api.Committed, Err: fmt.Errorf("%w: %w", errMalformed, err)}
	}
	r := &TxnResult{
		ID: w.Txn, Branch: w.Branch, Protocol: w.Protocol, Partitions: w.Partitions, Attempts: w.Attempts,
		Replayed: resp.replayed == "true", Truncated: w.ResultsTruncated, Results: make([]OpResult, len(w.Results)),
	}
	for i := range w.Results {
		op := &w.Results[i]
		r.Results[i] = OpResult{Key: string(op.Key), Exists: op.Exists, Value: op.Value, Version: op.Version}
	}
	return r, nil
}

// lost is the result of t if nothing is known but that the transaction id is committed.
func (t *Txn) lost(id string) *TxnResult {
	r := &TxnResult{ID: id, Lost: true}
	if t.raw == nil && t.req.Else == nil {
		r.Branch = api.SectionThen
	}
	return r
}

// inDoubt reports whether err leaves open what became of a transaction whose id it tells.
func inDoubt(err error) (id string, open bool) {
	var failed *Error
	if !errors.As(err, &failed) || failed.Outcome != api.Unknown {
		return "", false
	}
	return failed.Txn, failed.Txn != ""
}

// settledAborted is err, whose outcome was unknown, after it has turned out that nothing was done.
func settledAborted(err error) error {
	var failed *Error
	errors.As(err, &failed)
	return &Error{
		Op: failed.Op, Node: failed.Node, Txn: failed.Txn, Attempts: failed.Attempts, Outcome: api.Aborted,
		Err: ErrConflict,
	}
}

// withStatusError is err, whose outcome is unknown, with why that could not be cleared up.
func withStatusError(err, asked error) error {
	var failed *Error
	errors.As(err, &failed)
	more := *failed
	more.Err = fmt.Errorf("%w (%w)", failed.Err, asked)
	return &more
}

// TxnStatus returns what became of the transaction called id, as it stands now. It is known for at least 15 minutes.
// Errors: *Error; api.ErrTxnNotFound for an id that was never given, is of a read-only transaction, or is forgotten.
func (c *Client) TxnStatus(ctx context.Context, id string) (api.TxnState, error) {
	const op = "txn status"
	if id == "" {
		return "", &Error{Op: op, Err: &api.InvalidError{Where: "transaction id", Detail: "is empty"}}
	}
	var v api.TxnStatus
	target := string(api.AppendKeyPath([]byte(api.PathTxn+"/"), []byte(id)))
	if err := c.getJSON(ctx, op, "", target, &v); err != nil {
		return "", err
	}
	return v.Status, nil
}

// The pause between two looks at a transaction that is still pending.
const (
	firstStatusPause = 20 * time.Millisecond
	maxStatusPause   = time.Second
)

// settle asks for the status of the transaction called id until it is decided. Errors: why it is not known yet.
func (c *Client) settle(ctx context.Context, id string) (api.TxnState, error) {
	ctx, cancel := context.WithTimeout(ctx, maxDoubt)
	defer cancel()
	for pause := firstStatusPause; ; pause = min(2*pause, maxStatusPause) {
		state, err := c.TxnStatus(ctx, id)
		switch {
		case err == nil && state != api.TxnPending:
			return state, nil
		case errors.Is(err, api.ErrTxnNotFound), errors.Is(err, ErrClosed):
			return "", err
		}
		if !wait(ctx, pause) {
			return "", cmp.Or(err, errPending)
		}
	}
}

// errPending is wrapped where a transaction was still undecided when time was up.
var errPending = errors.New("the transaction is still pending")
