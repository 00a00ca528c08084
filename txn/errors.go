package txn

import (
	"errors"
	"fmt"
)

var (
	// ErrConflict is returned when a conflict outlived all attempts. Nothing was done.
	ErrConflict = errors.New("the transaction met others on the same keys until its time was over")
	// ErrInFlight is returned when another transaction with the same idempotency token is still running. Nothing was done.
	ErrInFlight = errors.New("a transaction with the same idempotency key is still running")
	// ErrTokenReused is returned when the idempotency token was used with another body. Nothing was done.
	ErrTokenReused = errors.New("the idempotency key was used with another request")
	// ErrTooLarge is returned when a group's part of the transaction, or what it reads, does not fit. Nothing was done.
	ErrTooLarge = errors.New("the transaction reads or writes more than one partition can take at once")
	// ErrTimeout is returned when the deadline passed while nobody could have committed. Nothing was done.
	ErrTimeout = errors.New("the transaction could not be prepared in time")
	// ErrUnavailable is returned when a participant could not be asked and nothing was done.
	ErrUnavailable = errors.New("a partition of the transaction has no reachable leader")
	// ErrOverloaded is returned when this node coordinates too much already. Nothing was done.
	ErrOverloaded = errors.New("too many transactions are running on this node")
	// ErrDiskFull is returned when a participant has no room. Nothing was done.
	ErrDiskFull = errors.New("a partition of the transaction is out of disk")
	// ErrUnknownOutcome is returned when nobody can say yet what becomes of the transaction.
	ErrUnknownOutcome = errors.New("the outcome of the transaction is not known")
	// ErrEmpty is returned for a request that names no key, no lock and no idempotency token. Nothing was done.
	ErrEmpty = errors.New("the transaction is about nothing")
	// ErrNotFound is returned for an id that was never given, is of a read-only transaction, or was forgotten.
	ErrNotFound = errors.New("no such transaction")
	// ErrMalformed is returned for bytes that are no stored outcome.
	ErrMalformed = errors.New("malformed outcome")
)

// Error is a sentinel of this package together with the transaction that it is about.
type Error struct {
	ID  string // as clients see it; empty if the transaction never began
	Err error
}

// Error is as the error interface says.
func (e *Error) Error() string {
	if e.ID == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("transaction %s: %v", e.ID, e.Err)
}

// Unwrap gives the sentinel.
func (e *Error) Unwrap() error { return e.Err }
