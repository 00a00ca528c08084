package raftlog

import (
	"errors"
	"fmt"
)

var (
	// ErrCompacted is returned when a read asks for an entry at or below the group's compaction mark.
	ErrCompacted = errors.New("raftlog: entry is compacted")
	// ErrUnavailable is returned when a read asks for an entry above the group's last index.
	ErrUnavailable = errors.New("raftlog: entry is not in the log")
	// ErrInvalidBatch is returned when a batch breaks a rule of its operations, such as a gap in a group's indexes.
	// It is the caller's mistake; like every error of Write it is final.
	ErrInvalidBatch = errors.New("raftlog: invalid batch")
	// ErrFailed is returned by everything after a Write or Reclaim failed: what the disk holds is then not known.
	ErrFailed = errors.New("raftlog: log failed earlier and refuses everything")
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("raftlog: log is closed")
	// ErrLocked is returned by Open when another process has the directory open.
	ErrLocked = errors.New("raftlog: directory is in use by another process")
	// ErrNoLog is returned by Open with Options.MustExist or MinRecord when the directory holds no log.
	ErrNoLog = errors.New("raftlog: the directory holds no log")
	// ErrVersion is returned by Open when the log was written in a format that this program does not know.
	ErrVersion = errors.New("raftlog: unknown format version")
	// ErrCorrupt matches every *CorruptError.
	ErrCorrupt = errors.New("raftlog: corrupt")
)

// CorruptError tells that bytes which were once acknowledged are damaged or missing. It is returned by Open and by
// reads. The log must not be used further: what it would serve may lack votes or entries.
type CorruptError struct {
	File   string // path of the segment
	Offset int64  // in bytes, where the damaged record or entry starts
	Reason string
}

// Error names the place, the reason and the remedy.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("raftlog: %s is corrupt at offset %d: %s; this node's replicas cannot be trusted: "+
		"move its data directory away and let the node be filled again from the other replicas", e.File, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidBatch, fmt.Sprintf(format, args...))
}
