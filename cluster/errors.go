package cluster

import (
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

var (
	// ErrNotFound is returned when a key is absent.
	ErrNotFound = storage.ErrNotFound
	// ErrUnavailable is returned when a partition had no leader that could be reached in time. Nothing was done.
	ErrUnavailable = errors.New("partition unavailable")
	// ErrOverloaded is returned when a bounded queue is full. Nothing was done.
	ErrOverloaded = errors.New("overloaded")
	// ErrUnknownOutcome is returned when a write may or may not have been done, now or later.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrDiskFull is returned for writes that need space while the leader's disk has too little. Nothing was done.
	ErrDiskFull = errors.New("out of disk space")
	// ErrNotMember is returned while a node has not been admitted to a cluster. Nothing was done.
	ErrNotMember = errors.New("node is not a member of a cluster yet")
	// ErrClosed is returned by a node that is stopping. Nothing was done.
	ErrClosed = errors.New("node is stopping")
)

// ConditionError is returned when a write's condition does not hold; nothing was changed.
type ConditionError struct {
	Version storage.Version // the present one, 0 if the key is absent
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("condition does not hold: the key is at version %d", e.Version)
}
