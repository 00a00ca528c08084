// Package readindex finds out whether a node still leads, for all groups that it leads at once and without anybody's disk:
// the right to read of package cluster. It is raft's ReadIndex (Raft thesis, 6.4), with the confirmations taken out of the
// groups: one question to another node and its answer stand for every group that both are voters of.
//
// It has no I/O, clock, goroutine or randomness, and knows raft by its terms only. Witness is what a node says of its own
// replicas, Reads what it asks the others. DESIGN.md has the argument.
package readindex

import (
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// Moment is a state of a witness. As long as it stays the same, none of its replicas has moved to a later term.
type Moment struct {
	Run   uint64 // of the process
	Moves uint64 // how often one of its replicas has come, gone, or moved to another term
}

// Claim is what an asker believes of one of the witness's replicas: that it knows of no term later than this.
type Claim struct {
	Group   ring.PartitionID
	Replica replica.ID
	Term    uint64
}

// Question asks a node for its moment, and whether claims hold at it. What was found to hold at a moment needs no claim
// while that lasts.
type Question struct {
	Number uint64 // of this asker's process: later questions have larger ones
	Claims []Claim
}

// Answer is a witness's to one question.
type Answer struct {
	Number uint64
	Moment Moment
	Denied []int // places of the claims that do not hold, ascending
}
