package watch

import (
	"context"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Cluster is what a Hub follows. Its methods may be called from any goroutine.
type Cluster interface {
	// ID names the cluster; cursors of another one are refused.
	ID() string
	// Partitions is their number, 0 while it is not known.
	Partitions() int
	// Heads returns an index of every partition: everything acknowledged before the call is at or below it, and all up to
	// it is committed.
	Heads(ctx context.Context) ([]uint64, error)
	// Sources are the nodes that may have the history of a partition, the best first.
	Sources(p ring.PartitionID) []ring.NodeID
	// Read asks a node, or this one, for histories. It returns once there is an answer to any of the wants, or after
	// about Query.Wait, without any then. An error says that nothing was learnt.
	Read(ctx context.Context, node ring.NodeID, q Query) ([]Answer, error)
}

// Query asks for the histories of partitions.
type Query struct {
	Wants    []Want
	Wait     time.Duration // for something new, if nothing is there
	MaxBytes int           // of all histories together, about; 0: only say what is Gone or Elsewhere
}

// Want is a partition, and the index behind which its history is wanted.
type Want struct {
	Partition ring.PartitionID
	After     uint64
}

// Verdict is what a node says of a want. The numbers travel between nodes: append only.
type Verdict uint8

// The verdicts.
const (
	Here      Verdict = 0 // there is news: Answer.History
	Gone      Verdict = 1 // some of it is no longer kept
	Elsewhere Verdict = 2 // the node has no replica that keeps up
)

// Answer is a node's answer to one want. What is not answered has no news.
type Answer struct {
	Partition ring.PartitionID
	Verdict   Verdict
	storage.History
}
