package storage

import "errors"

var (
	// ErrNotFound is returned when a key is absent.
	ErrNotFound = errors.New("storage: not found")
	// ErrMalformed is returned when a command, a result or a stored record does not decode.
	ErrMalformed = errors.New("storage: malformed encoding")
	// ErrCorrupt is returned when what was read is not what was once written: a broken checksum, a missing file, a
	// count that does not match. The replica must not serve; it is refilled from the others.
	ErrCorrupt = errors.New("storage: corrupt data")
	// ErrTooLarge is returned by a Batch that could not commit if it took the write, and for cells over MaxCellBytes.
	ErrTooLarge = errors.New("storage: too large")
	// ErrBadKey is returned by an Engine for a key shorter than MinKeyBytes or longer than MaxEngineKeyBytes.
	ErrBadKey = errors.New("storage: bad engine key")
	// ErrClosed is returned when a closed engine, view or batch is used.
	ErrClosed = errors.New("storage: closed")
	// ErrFailed is returned by an engine after a Commit failed: whether that batch is durable is not known.
	ErrFailed = errors.New("storage: engine failed, outcome of its last commit unknown")
	// ErrOrder is returned when an entry is applied at or below the applied index. The caller's invariant is broken.
	ErrOrder = errors.New("storage: entry out of order")
	// ErrPending is returned when a partition is opened while an install or a drop of it is unfinished.
	ErrPending = errors.New("storage: partition is being installed or dropped")
)
