package server

import (
	"errors"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// txnResult is an outcome that did something, as clients see it.
func txnResult(out *txn.Outcome) *api.TxnResult {
	r := &api.TxnResult{
		Txn: out.ID, Committed: true, Branch: api.SectionThen, Protocol: wireProtocol(out.Protocol),
		Results: make([]api.TxnOpResult, len(out.Results)), Partitions: out.Participants, Attempts: int(out.Attempts),
		ResultsTruncated: out.Truncated,
	}
	if out.Decision == storage.DecideElse {
		r.Branch = api.SectionElse
	}
	for i := range out.Results {
		r.Results[i] = opResult(&out.Results[i])
	}
	return r
}

// opResult is what one operation answers: the value only of those that tell it.
func opResult(o *storage.OpResult) api.TxnOpResult {
	r := api.TxnOpResult{Key: o.Key, Exists: o.Exists && o.Kind != storage.OpDelete, Version: api.Version(o.Version)}
	if r.Exists && o.Kind != storage.OpPut {
		r.Value = o.Value
		if r.Value == nil {
			r.Value = []byte{}
		}
	}
	return r
}

func wireProtocol(p storage.Protocol) api.TxnProtocol {
	switch p {
	case storage.OnePhase:
		return api.Protocol1PC
	case storage.TwoPhase:
		return api.Protocol2PC
	case storage.ThreePhase:
		return api.Protocol3PC
	default:
		return api.ProtocolAuto
	}
}

func txnState(s txn.Status) api.TxnState {
	switch s {
	case txn.StatusCommitted:
		return api.TxnCommitted
	case txn.StatusAborted:
		return api.TxnAborted
	default:
		return api.TxnPending
	}
}

// txnFailed is an outcome that did nothing, as an error.
func txnFailed(out *txn.Outcome) error {
	failed := make([]api.TxnFailure, len(out.Failed))
	for i := range out.Failed {
		failed[i] = txnFailure(&out.Failed[i])
	}
	return &txn.Error{ID: out.ID, Err: &api.TxnFailedError{Failed: failed}}
}

func txnFailure(f *txn.Failure) api.TxnFailure {
	w := api.TxnFailure{In: wireSection(f.In), Index: int(f.Index), Code: failureCode(f.Op)}
	if f.Lock {
		w.Lock, w.Token = f.Key, api.FencingToken(f.Version)
	} else {
		w.Key, w.Version = f.Key, api.Version(f.Version)
	}
	return w
}

func wireSection(s txn.Section) api.TxnSection {
	switch s {
	case txn.InThen:
		return api.SectionThen
	case txn.InElse:
		return api.SectionElse
	default:
		return api.SectionIf
	}
}

func failureCode(f storage.OpFailure) api.TxnFailureCode {
	switch f {
	case storage.OpBound:
		return api.FailedBound
	case storage.OpOverflow:
		return api.FailedOverflow
	case storage.OpNoNumber:
		return api.FailedNotANumber
	default:
		return ""
	}
}

// txnError is a Transactor's error as clients know it, with the transaction's id if there is one. A read whose outcome is
// not known has changed nothing, and is merely without an answer.
func txnError(err error, read bool) error {
	cause := err
	var e *txn.Error
	if errors.As(err, &e) {
		cause = e.Err
	}
	cause = settle(txnCause(cause), !read)
	if read && errors.Is(cause, api.ErrUnknownOutcome) {
		cause = errNoAnswerToRead
	}
	// Where another request's idempotency key was met, the id is not of the transaction that the key stands for: what
	// became of it would mislead.
	if e == nil || e.ID == "" || errors.Is(cause, api.ErrInFlight) || errors.Is(cause, api.ErrKeyReused) {
		return cause
	}
	return &api.TxnError{Txn: e.ID, Err: cause}
}

// txnCause turns the sentinels of package txn into those of package api. Unknown outcomes come first: what claims to
// know more beside one does not.
func txnCause(err error) error {
	for _, m := range []struct{ from, to error }{
		{txn.ErrUnknownOutcome, api.ErrUnknownOutcome},
		{txn.ErrConflict, api.ErrConflict},
		{txn.ErrInFlight, api.ErrInFlight},
		{txn.ErrTokenReused, api.ErrKeyReused},
		{txn.ErrTimeout, api.ErrUnavailable},
		{txn.ErrUnavailable, api.ErrUnavailable},
		{txn.ErrOverloaded, api.ErrOverloaded},
		{txn.ErrDiskFull, api.ErrDiskFull},
		{txn.ErrNotFound, api.ErrTxnNotFound},
	} {
		if errors.Is(err, m.from) {
			return detailed{m.to, m.from.Error()}
		}
	}
	if errors.Is(err, txn.ErrTooLarge) {
		return &api.LimitError{What: "one partition's part of the transaction, with what it reads,", Limit: api.MaxTxnBytes}
	}
	return nodeError(err)
}
