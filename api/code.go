package api

import (
	"errors"
	"net/http"
)

// Code names a kind of error on the wire. Codes are append-only and never change their meaning.
type Code string

// The codes. PROBLEMS.md describes each for users.
const (
	CodeInvalid         Code = "invalid_request"
	CodeNotFound        Code = "not_found"
	CodeNoRoute         Code = "no_route"
	CodeMethod          Code = "method_not_allowed"
	CodeRequestTimeout  Code = "request_timeout"
	CodeConflict        Code = "conflict"
	CodeConditionFailed Code = "condition_failed"
	CodeTooLarge        Code = "too_large"
	CodeUnavailable     Code = "unavailable"
	CodeOverloaded      Code = "overloaded"
	CodeNotReady        Code = "not_ready"
	CodeUnknownOutcome  Code = "unknown_outcome"
	CodeDiskFull        Code = "disk_full"
	CodeCorrupt         Code = "corrupt"
	CodeInternal        Code = "internal"

	CodeTxnNotFound          Code = "txn_not_found"
	CodeIdempotencyInFlight  Code = "idempotency_in_flight"
	CodeIdempotencyKeyReused Code = "idempotency_key_reused"

	CodeLockHeld     Code = "lock_held"
	CodeLockLost     Code = "lock_lost"
	CodeLockNotFound Code = "lock_not_found"

	CodeCursorTooOld    Code = "cursor_too_old"
	CodeTooManyRequests Code = "too_many_requests"
)

// Outcome says what became of a write that was answered with an error.
type Outcome string

// The outcomes.
const (
	Committed Outcome = "committed" // it was done
	Aborted   Outcome = "aborted"   // nothing happened, and nothing will
	Unknown   Outcome = "unknown"   // it may have been done, or may be done later
)

// kind is one row of the table that ties a code to its status and sentinel.
type kind struct {
	code      Code
	status    int
	title     string
	retryable bool
	outcome   Outcome // of a write
	err       error
}

// kindTable lists every code once and never changes. An error that matches several sentinels takes the first row that
// it matches, so a row whose outcome is unknown stands before any that claims to know it.
var kindTable = [...]kind{
	{CodeUnknownOutcome, http.StatusGatewayTimeout, "The outcome is not known", false, Unknown, ErrUnknownOutcome},
	{CodeInternal, http.StatusInternalServerError, "Internal error", false, Unknown, ErrInternal},
	{CodeCorrupt, http.StatusInternalServerError, "Data is damaged on this node", false, Unknown, ErrCorrupt},
	{CodeIdempotencyInFlight, http.StatusConflict, "Still running", true, Unknown, ErrInFlight},
	{CodeIdempotencyKeyReused, http.StatusUnprocessableEntity, "Idempotency key reused", false, Aborted, ErrKeyReused},
	{CodeTxnNotFound, http.StatusNotFound, "Transaction not found", false, Aborted, ErrTxnNotFound},
	{CodeLockHeld, http.StatusLocked, "Lock held", true, Aborted, ErrLockHeld},
	{CodeLockLost, http.StatusGone, "Lock lost", false, Aborted, ErrLockLost},
	{CodeLockNotFound, http.StatusNotFound, "Lock not held", false, Aborted, ErrLockNotFound},
	{CodeCursorTooOld, http.StatusGone, "Cursor too old", false, Aborted, ErrCursorTooOld},
	{CodeTooManyRequests, http.StatusTooManyRequests, "Too many requests", true, Aborted, ErrTooManyRequests},
	{CodeNotFound, http.StatusNotFound, "Key not found", false, Aborted, ErrNotFound},
	{CodeConditionFailed, http.StatusPreconditionFailed, "Condition failed", false, Aborted, ErrConditionFailed},
	{CodeInvalid, http.StatusBadRequest, "Malformed request", false, Aborted, ErrInvalid},
	{CodeTooLarge, http.StatusRequestEntityTooLarge, "Over a limit", false, Aborted, ErrTooLarge},
	{CodeConflict, http.StatusConflict, "Conflict with other writers", true, Aborted, ErrConflict},
	{CodeUnavailable, http.StatusServiceUnavailable, "No quorum", true, Aborted, ErrUnavailable},
	{CodeOverloaded, http.StatusServiceUnavailable, "Overloaded", true, Aborted, ErrOverloaded},
	{CodeNotReady, http.StatusServiceUnavailable, "Not ready", true, Aborted, ErrNotReady},
	{CodeDiskFull, http.StatusInsufficientStorage, "Out of disk space", false, Aborted, ErrDiskFull},
	{CodeRequestTimeout, http.StatusRequestTimeout, "Request not received in time", true, Aborted, ErrRequestTimeout},
	{CodeNoRoute, http.StatusNotFound, "No such route", false, Aborted, ErrNoRoute},
	{CodeMethod, http.StatusMethodNotAllowed, "Method not allowed", false, Aborted, ErrMethod},
}

// Codes returns every code, in no particular order.
func Codes() []Code {
	codes := make([]Code, 0, len(kindTable))
	for i := range kindTable {
		codes = append(codes, kindTable[i].code)
	}
	return codes
}

// CodeOf returns the code of the sentinel that err matches, CodeInternal if it matches none.
func CodeOf(err error) Code {
	for i := range kindTable {
		if errors.Is(err, kindTable[i].err) {
			return kindTable[i].code
		}
	}
	return CodeInternal
}

// kindOf returns the row of code, that of CodeInternal for an unknown one.
func kindOf(code Code) *kind {
	var internal *kind
	for i := range kindTable {
		switch kindTable[i].code {
		case code:
			return &kindTable[i]
		case CodeInternal:
			internal = &kindTable[i]
		}
	}
	return internal
}

// Sentinel returns the error that code stands for, nil if this version of the package does not know the code.
func (code Code) Sentinel() error {
	if k := kindOf(code); k.code == code {
		return k.err
	}
	return nil
}

// Status returns the HTTP status that goes with code.
func (code Code) Status() int { return kindOf(code).status }
