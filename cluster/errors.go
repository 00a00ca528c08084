package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
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
	// ErrLocked is returned when a transaction in doubt held the key for as long as the request could wait, or too many
	// waited for it already. Nothing was done.
	ErrLocked = worker.ErrLocked
	// ErrLockLost is returned when a client's lock is no longer held under the token. Nothing was done.
	ErrLockLost = errors.New("lock is not held under this token")
	// ErrDiskFull is returned for writes that need space while the leader's disk has too little. Nothing was done.
	ErrDiskFull = errors.New("out of disk space")
	// ErrNotMember is returned while a node has not been admitted to a cluster. Nothing was done.
	ErrNotMember = errors.New("node is not a member of a cluster yet")
	// ErrTwin is why a node stopped that found another process running with its identity.
	ErrTwin = errors.New("another process runs with this node's identity")
	// ErrClosed is returned by a node that is stopping. Nothing was done.
	ErrClosed = errors.New("node is stopping")
)

// LockHeldError is returned when a client's lock was not to be had within the wait. Nothing was done.
type LockHeldError struct {
	Owner string
	TTL   time.Duration // left to the holder, at least 1 ms
}

func (e *LockHeldError) Error() string {
	return fmt.Sprintf("the lock is held by %q, for another %v unless it is renewed", e.Owner, e.TTL)
}

// ConditionError is returned when a write's condition does not hold; nothing was changed.
type ConditionError struct {
	Version storage.Version // the present one, 0 if the key is absent
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("condition does not hold: the key is at version %d", e.Version)
}
