// Package ring decides which nodes hold which partition of the keyspace.
//
// It is pure: no I/O, no clock, no goroutines. See DESIGN.md for what it
// guarantees and how.
package ring

// PartitionID numbers a partition, 0..Q-1 for a ring of Q partitions.
type PartitionID uint16

// NodeID is the number the metadata group gave a node. 0 means no node.
type NodeID uint32
