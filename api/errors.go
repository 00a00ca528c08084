package api

import (
	"cmp"
	"errors"
	"fmt"
)

// Sentinels shared by nodes and clients. Each has one wire code (see Code) and is matched with errors.Is.
var (
	// ErrInvalid is returned when a request is malformed; sending it again cannot help.
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound is returned when the key is absent.
	ErrNotFound = errors.New("key not found")
	// ErrNoRoute is returned when the path is none of the API's, as opposed to a key that is absent.
	ErrNoRoute = errors.New("no such route")
	// ErrMethod is returned when the path exists but not with this verb.
	ErrMethod = errors.New("method not allowed")
	// ErrRequestTimeout is returned when the client took too long to send its request. Nothing was done.
	ErrRequestTimeout = errors.New("request not received in time")
	// ErrConflict is returned when a conflict with other writers outlived the server's own retries. Nothing was done.
	ErrConflict = errors.New("conflict")
	// ErrConditionFailed is returned when If-Match or If-None-Match does not hold, or when a condition of a transaction
	// was false or one of its operations could not be done. Nothing was done.
	ErrConditionFailed = errors.New("condition failed")
	// ErrTxnNotFound is returned for the id of a transaction that was never given, is of a read-only one, or is forgotten.
	ErrTxnNotFound = errors.New("no such transaction")
	// ErrInFlight is returned while an earlier request with the same idempotency key is still running. The same request
	// may be sent again; what becomes of the earlier one, and so of what the key stands for, is not known yet.
	ErrInFlight = errors.New("a request with the same idempotency key is still running")
	// ErrKeyReused is returned when an idempotency key was used with another body before. Nothing was done by this one.
	ErrKeyReused = errors.New("the idempotency key was used with another request")
	// ErrLockHeld is returned when somebody else held a lock for as long as it was waited for. Nothing was done.
	ErrLockHeld = errors.New("the lock is held")
	// ErrLockLost is returned when a lock is not, or no longer, held under a token. Nothing was done.
	ErrLockLost = errors.New("the lock is not held under this token")
	// ErrLockNotFound is returned when nobody holds a lock.
	ErrLockNotFound = errors.New("nobody holds the lock")
	// ErrTooLarge is returned when a key, a value or a header is over its limit. Nothing was done.
	ErrTooLarge = errors.New("too large")
	// ErrCursorTooOld is returned for the cursor of a watch behind which changes are no longer kept. Read what is wanted
	// anew, and watch from then on.
	ErrCursorTooOld = errors.New("the cursor is too old")
	// ErrTooManyRequests is returned when a node takes no more of a kind of request at a time. Nothing was done.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrUnavailable is returned when the key's partition has no leader or no majority. Nothing was done.
	ErrUnavailable = errors.New("unavailable")
	// ErrOverloaded is returned when a bounded queue is full. Nothing was done.
	ErrOverloaded = errors.New("overloaded")
	// ErrNotReady is returned while a node has not caught up, or no longer serves. Nothing was done.
	ErrNotReady = errors.New("not ready")
	// ErrUnknownOutcome is returned when a write may or may not have been done, now or later.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrDiskFull is returned when a node refuses writes for want of disk; reads and deletes still work. Nothing was done.
	ErrDiskFull = errors.New("out of disk space")
	// ErrCorrupt is returned when data on a node's disk failed its checksum and was therefore not served.
	ErrCorrupt = errors.New("data is damaged on this node")
	// ErrInternal is returned when a node met a fault of its own. The outcome of a write is unknown then.
	ErrInternal = errors.New("internal error")
)

// ConditionError is ErrConditionFailed with what the key is now.
type ConditionError struct {
	Version Version // the present version, 0 if the key is absent
}

func (e *ConditionError) Error() string {
	if e.Version == 0 {
		return "condition failed: the key is absent"
	}
	return fmt.Sprintf("condition failed: the key is at version %d", e.Version)
}

// Is makes errors.Is(err, ErrConditionFailed) hold.
func (e *ConditionError) Is(target error) bool { return target == ErrConditionFailed }

// TxnFailedError is ErrConditionFailed of a transaction: what was false, or could not be done.
type TxnFailedError struct {
	Failed []TxnFailure // every false condition, or the operation, in order
}

func (e *TxnFailedError) Error() string {
	switch len(e.Failed) {
	case 0:
		return ErrConditionFailed.Error()
	case 1:
		return e.Failed[0].String()
	default:
		return fmt.Sprintf("%s (and %d more)", e.Failed[0].String(), len(e.Failed)-1)
	}
}

// Is makes errors.Is(err, ErrConditionFailed) hold.
func (e *TxnFailedError) Is(target error) bool { return target == ErrConditionFailed }

// TxnError is another error together with the transaction that it is about.
type TxnError struct {
	Txn string // the transaction's id, never ""
	Err error
}

func (e *TxnError) Error() string { return fmt.Sprintf("transaction %s: %v", e.Txn, e.Err) }

// Unwrap gives the error without the id.
func (e *TxnError) Unwrap() error { return e.Err }

// LimitError is ErrTooLarge with the numbers.
type LimitError struct {
	What   string // what is too large: "key", "value", "content type", "/then/3/key"
	Limit  int64  // in Unit
	Actual int64  // in Unit, 0 where it is not known
	Unit   string // "" means bytes
}

func (e *LimitError) Error() string {
	unit := cmp.Or(e.Unit, "bytes")
	if e.Actual == 0 {
		return fmt.Sprintf("%s is larger than %d %s", e.What, e.Limit, unit)
	}
	return fmt.Sprintf("%s of %d %s is larger than %d %s", e.What, e.Actual, unit, e.Limit, unit)
}

// Is makes errors.Is(err, ErrTooLarge) hold.
func (e *LimitError) Is(target error) bool { return target == ErrTooLarge }

// QuotaError is ErrTooManyRequests with the number.
type QuotaError struct {
	What  string // what there are so many of: "watches on this node"
	Limit int64
}

func (e *QuotaError) Error() string { return fmt.Sprintf("there are %d %s already", e.Limit, e.What) }

// Is makes errors.Is(err, ErrTooManyRequests) hold.
func (e *QuotaError) Is(target error) bool { return target == ErrTooManyRequests }

// InvalidError is ErrInvalid with what is wrong and where.
type InvalidError struct {
	Where  string // for example "query parameter limit", "header If-Match", "path", "/then/3/by"
	Detail string
}

func (e *InvalidError) Error() string { return e.Where + ": " + e.Detail }

// Is makes errors.Is(err, ErrInvalid) hold.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }
