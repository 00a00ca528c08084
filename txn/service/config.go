package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Groups is how the service reaches partitions and other nodes; a cluster node.
type Groups interface {
	// Transact has a transaction command applied by partition p, wherever it is led, and tries until ctx ends. Any error
	// means that there was no answer; see NotSent.
	Transact(ctx context.Context, p storage.PartitionID, cmd []byte) (storage.Result, error)
	// BeginTransact tries once, without waiting, and gives up about at until: done is told once how that ended, from any
	// goroutine, and does not block. cmd is not the caller's any more. Errors are those of Transact, which may have more luck
	// afterwards.
	BeginTransact(p storage.PartitionID, cmd []byte, until time.Time, done func(storage.Result, error))
	// NotSent reports whether an error of these two means that the command was certainly not proposed and never will be.
	// After any other it may or may not be applied.
	NotSent(err error) bool
	// ReadKeys reads items and the tokens of locks in one partition as of one moment after the call, none of them
	// exclusively locked.
	ReadKeys(ctx context.Context, p storage.PartitionID, keys, locks [][]byte) (storage.ReadSet, error)
	// TxnState is what partition p knows of t at a moment after the call.
	TxnState(ctx context.Context, p storage.PartitionID, t storage.TxnID) (storage.TxnStatus, error)
	// AskTxn has Service.HandlePeer of another node answer body.
	AskTxn(ctx context.Context, to ring.NodeID, body []byte) ([]byte, error)
	// DeadIncarnations lists, where this node leads the metadata group, whose old incarnations are to be swept.
	DeadIncarnations() []Incarnations
	// Swept notes that the incarnations of node below first are forgotten in every group.
	Swept(ctx context.Context, node ring.NodeID, first uint32) error
}

// Incarnations are those of a node that are dead: all below First.
type Incarnations struct {
	Node  ring.NodeID
	First uint32
}

// Identity is who coordinates.
type Identity struct {
	Node        ring.NodeID
	Incarnation uint32 // of this start: no other process ever has it
	ClusterID   string
	Ring        *ring.Ring
}

// Config is what a Service is made of.
type Config struct {
	Groups Groups
	// Identify waits until the node knows who it is; until then transactions are refused. It is asked again when an
	// incarnation is used up, with that one's number, and then returns a higher one.
	Identify func(ctx context.Context, above uint32) (Identity, error)
	// MaxRunning is how many transactions may be unfinished at once; more are refused as overload. Default 8192.
	MaxRunning int
	// MaxHeldBytes is how many bytes of keys and values the unfinished ones may hold in all; one that would pass it is
	// refused as overload. Default 256 MiB.
	MaxHeldBytes int
	// MaxRecoveries is how many recoveries run at once; more wait until somebody meets the lock again. Default 256.
	MaxRecoveries int
	// MaxPartBytes is the most that the keys and values of one partition's part of a transaction may take. Default, and
	// the most that a group applies: storage.MaxTxnBytes.
	MaxPartBytes int
	// Logger gets what operators should know. Default: nothing.
	Logger *slog.Logger
}

const (
	defaultTimeout = 5 * time.Second
	markEvery      = time.Second     // how often groups that are not spoken to are told what is finished
	sweepEvery     = 2 * time.Second // how often the metadata group's leader looks for dead incarnations
	askTime        = 300 * time.Millisecond
	closeTime      = 2 * time.Second // how long Close lets what is decided reach the groups
)

func (c *Config) setDefaults() {
	if c.MaxRunning == 0 {
		c.MaxRunning = 8192
	}
	if c.MaxHeldBytes == 0 {
		c.MaxHeldBytes = 256 << 20
	}
	if c.MaxRecoveries == 0 {
		c.MaxRecoveries = 256
	}
	if c.MaxPartBytes == 0 {
		c.MaxPartBytes = storage.MaxTxnBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}
