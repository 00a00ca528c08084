package replica

import (
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/ring"
)

var (
	// ErrDropped is returned when a proposal or read had no effect and never will: the same request may be sent again.
	ErrDropped = errors.New("dropped by the group before it took effect")
	// ErrOutcomeUnknown is returned when an entry may or may not be applied later.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// NotLeaderError is returned by a replica that does not lead its group; nothing was done. Leader is the one it
// believes in, 0 if it knows none.
type NotLeaderError struct {
	Partition ring.PartitionID
	Leader    ID
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return fmt.Sprintf("partition %d: no leader known", e.Partition)
	}
	return fmt.Sprintf("partition %d: led by node %d", e.Partition, e.Leader.Node())
}

// RolledBackError is returned when the leader knows of entries that this replica has acknowledged and that are not in its
// log: what it promised, votes included, is gone. The node must not go on.
type RolledBackError struct {
	Partition    ring.PartitionID
	Acknowledged uint64 // index that the leader was told to be on this node's disk
	Last         uint64 // index at which the log ends
}

func (e *RolledBackError) Error() string {
	return fmt.Sprintf("partition %d: this node's data is older than what it has acknowledged (entry %d; its log ends at %d): "+
		"stop the node, move its data directory away and start it empty; it is refilled from the others",
		e.Partition, e.Acknowledged, e.Last)
}
