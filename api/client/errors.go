package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/api"
)

// The sentinels that callers match most often with errors.Is. They are those of package api, which has more.
var (
	// ErrNotFound is returned when the key is absent.
	ErrNotFound = api.ErrNotFound
	// ErrConditionFailed is returned when IfMatch, IfExists, IfNoneMatch or IfAbsent does not hold; an
	// *api.ConditionError beside it carries the present version. It is returned as well when a transaction was refused;
	// a *TxnFailedError beside it says why. Nothing was done.
	ErrConditionFailed = api.ErrConditionFailed
	// ErrConflict is returned when other writers of the same keys were faster until time was up. Nothing was done.
	ErrConflict = api.ErrConflict
	// ErrUnknownOutcome is returned when a write may or may not have been done, now or later.
	ErrUnknownOutcome = api.ErrUnknownOutcome
	// ErrUnavailable is returned when no node could be reached, or the key's partition has no majority. Nothing was done.
	ErrUnavailable = api.ErrUnavailable
)

// ErrClosed is returned by calls on a client after Close. Nothing was done.
var ErrClosed = errors.New("client is closed")

// TxnFailedError says which conditions of a transaction were false, or which operation could not be done.
type TxnFailedError = api.TxnFailedError

// errMalformed is wrapped where a node's answer does not follow the contract.
var errMalformed = errors.New("malformed answer")

// Error is what a call failed with, in the end. It wraps the cause of the last attempt, and ErrUnknownOutcome if the
// outcome is unknown.
type Error struct {
	Op       string      // "get", "put", "delete", "list", "update", "transact", "txn", "txn status", "lock", "renew lock", "unlock", "lock state", "watch", "cluster", "ring", "locate"
	Key      string      // the key, or empty
	Node     string      // host:port asked last; empty if none was
	Txn      string      // the transaction's id where a node told it: TxnStatus says what became of it
	Attempts int         // how many times the request was tried
	Outcome  api.Outcome // of a write; empty for a read
	Err      error       // the cause
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Key != "" {
		b.WriteString(" " + shorten(e.Key))
	}
	if e.Node != "" {
		b.WriteString(" at " + e.Node)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (attempt %d)", e.Attempts)
	}
	if e.Outcome == api.Unknown && !errors.Is(e.Err, api.ErrUnknownOutcome) {
		b.WriteString(": " + api.ErrUnknownOutcome.Error())
	}
	return b.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause and, if the outcome is unknown, ErrUnknownOutcome.
func (e *Error) Unwrap() []error {
	if e.Outcome == api.Unknown {
		return []error{e.Err, api.ErrUnknownOutcome}
	}
	return []error{e.Err}
}

// unreachableError is a failure before any byte of the request had left this process.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return "node not reached: " + e.err.Error() }

// Unwrap makes the failure match ErrUnavailable beside its cause.
func (e *unreachableError) Unwrap() []error { return []error{api.ErrUnavailable, e.err} }

// shorten quotes key for an error text, cut to a readable length.
func shorten(key string) string {
	const most = 64
	if len(key) > most {
		return strconv.Quote(key[:most]) + "…"
	}
	return strconv.Quote(key)
}
