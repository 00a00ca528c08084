package api

import (
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
	// ErrConditionFailed is returned when If-Match or If-None-Match does not hold. Nothing was done.
	ErrConditionFailed = errors.New("condition failed")
	// ErrTooLarge is returned when a key, a value or a header is over its limit. Nothing was done.
	ErrTooLarge = errors.New("too large")
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

// LimitError is ErrTooLarge with the numbers.
type LimitError struct {
	What   string // what is too large: "key", "value", "content type"
	Limit  int64  // bytes
	Actual int64  // bytes, 0 where it is not known
}

func (e *LimitError) Error() string {
	if e.Actual == 0 {
		return fmt.Sprintf("%s is larger than %d bytes", e.What, e.Limit)
	}
	return fmt.Sprintf("%s of %d bytes is larger than %d bytes", e.What, e.Actual, e.Limit)
}

// Is makes errors.Is(err, ErrTooLarge) hold.
func (e *LimitError) Is(target error) bool { return target == ErrTooLarge }

// InvalidError is ErrInvalid with what is wrong and where.
type InvalidError struct {
	Where  string // for example "query parameter limit", "header If-Match", "path"
	Detail string
}

func (e *InvalidError) Error() string { return e.Where + ": " + e.Detail }

// Is makes errors.Is(err, ErrInvalid) hold.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }
