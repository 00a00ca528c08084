package watch

import (
	"errors"
	"fmt"
)

var (
	// ErrBadCursor is returned for a cursor that no node of this cluster gave for this prefix.
	ErrBadCursor = errors.New("not a cursor of this cluster for this prefix")
	// ErrTooOld is returned for a cursor behind which changes are forgotten. Read what is wanted anew and watch from then on.
	ErrTooOld = errors.New("the cursor is too old: changes since then are no longer kept")
	// ErrLagged ends a Watcher that was too slow. Its cursor says where to go on.
	ErrLagged = errors.New("the watcher fell behind")
	// ErrClosed ends a Watcher whose node stops.
	ErrClosed = errors.New("the node is stopping")
)

// LimitError is returned when a node takes no more.
type LimitError struct {
	What  string // "watches on this node", "watches catching up on this node"
	Limit int
}

func (e *LimitError) Error() string { return fmt.Sprintf("%d %s already", e.Limit, e.What) }
