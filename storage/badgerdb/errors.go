package badgerdb

import (
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

// ErrInUse is returned when another process, or another Engine of this one, has the directory open.
var ErrInUse = errors.New("badgerdb: directory is in use")

// CorruptError is returned when a file is not what was written. It is a storage.ErrCorrupt.
type CorruptError struct {
	Path   string // the file, or the directory where the file is not known
	Offset int64  // of the damage; 0 where it is the file as a whole
	Reason string
	Err    error // the cause, if there is one beneath
}

func (e *CorruptError) Error() string {
	cause := ""
	if e.Err != nil {
		cause = ": " + e.Err.Error()
	}
	return fmt.Sprintf("%v: %s at offset %d: %s%s (to repair: stop the node, empty its data directory and let it join "+
		"again; its replicas are refilled from the other nodes)", storage.ErrCorrupt, e.Path, e.Offset, e.Reason, cause)
}

// Unwrap makes errors.Is(err, storage.ErrCorrupt) hold.
func (e *CorruptError) Unwrap() []error { return []error{storage.ErrCorrupt, e.Err} }

func corrupt(path string, offset int64, format string, args ...any) error {
	return &CorruptError{Path: path, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}
