package ring

import "errors"

var (
	// ErrPartitions is returned when a partition count is no power of two in 1..MaxPartitions.
	ErrPartitions = errors.New("ring: partitions must be a power of two from 1 to 32768")

	// ErrReplication is returned when fewer than one replica is asked for.
	ErrReplication = errors.New("ring: replication must be at least 1")

	// ErrNodeID is returned when a member has the id 0, which means "no node".
	ErrNodeID = errors.New("ring: member without a node id")

	// ErrDuplicateNode is returned when two members have the same id.
	ErrDuplicateNode = errors.New("ring: node listed twice")

	// ErrNoCapacity is returned when no member has a weight above 0: nobody could hold the data.
	ErrNoCapacity = errors.New("ring: no member with a weight above zero")

	// ErrTooManyMembers is returned when there are more than MaxMembers members.
	ErrTooManyMembers = errors.New("ring: more than 1024 members")

	// ErrPlacementSize is returned when the previous placement is neither empty nor of the ring's size.
	ErrPlacementSize = errors.New("ring: previous placement has another number of partitions")
)
