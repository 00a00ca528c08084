// Package storage is what one replica of a partition holds: a deterministic state machine over a small ordered map.
//
// A Partition applies the committed entries of one raft log, in order, to an Engine. It owns the layout of keys, the
// encoding of commands and results, snapshots, and the removal of a partition. It has no clock, no randomness, no
// goroutine and no I/O of its own: the same entries give the same bytes on every replica.
//
// DESIGN.md has the key table, the guarantees and the states of an install.
package storage
