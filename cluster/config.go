package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Config is what a Node is made of. Zero means the default.
type Config struct {
	Name    string // 1 to MaxNameBytes bytes, unique in the cluster. Required.
	DataDir string // created if missing. Required.

	HTTP   string // host:port of this node's API as others reach it. Required.
	Peer   string // host:port to listen on for other nodes. Required.
	Gossip string // host:port to listen on for gossip, UDP and TCP. Required.
	// Advertise is the host under which others reach Peer and Gossip. Default: the hosts of those.
	Advertise string
	// Join are gossip addresses of any members. Empty: an empty data directory forms a cluster of one node.
	Join []string

	Partitions int    // of a new cluster: a power of two, 1 to MaxPartitions. Default 64.
	Replicas   int    // of a new cluster: replicas of each partition while there are nodes enough, 1 to MaxReplicas. Default 3.
	Zone       string // nodes of one zone fail together
	Weight     uint32 // share of the data in proportion to others. Default 1.

	// DeadAfter is for how long a node must be gone before its replicas are placed elsewhere. Default 5 min.
	DeadAfter time.Duration
	// MinFreeBytes of disk should stay free. Below it this node gives its leaderships away, and puts are refused where
	// too few replicas have room; below a half of it it takes no puts at all, below a quarter nothing but reads. The
	// engine needs that quarter for itself. Default 512 MiB.
	MinFreeBytes int64

	// ScrubInterval is about how often everything on disk is read and checked. Default 24 h; negative: never.
	ScrubInterval time.Duration

	MaxWatchers int // that this node takes. Default 10,000.

	Tick           time.Duration // of the raft groups. Default 100 ms.
	ElectionTicks  int           // without a leader before an election, up to twice that. Default 15.
	HeartbeatTicks int           // between a leader's heartbeats. Default 5.

	// OnStuck is told of a transaction that has been in doubt for too long in a partition that this node leads, about
	// twice a second until it no longer is. Optional; must not block.
	OnStuck func(p ring.PartitionID, t storage.OpenTxn)
	// OnTxn answers another node's AskTxn, or this one's. The error travels as text, but for those of this package.
	// Optional.
	OnTxn func(ctx context.Context, from ring.NodeID, body []byte) ([]byte, error)

	Logger *slog.Logger // Default: nothing is logged.

	freeBytes func(dir string) (int64, error) // measures the disk; tests have their own
}

func (c Config) withDefaults() Config {
	setDefault(&c.Partitions, 64)
	setDefault(&c.Replicas, 3)
	setDefault(&c.Weight, 1)
	setDefault(&c.DeadAfter, 5*time.Minute)
	setDefault(&c.MinFreeBytes, 512<<20)
	setDefault(&c.ScrubInterval, 24*time.Hour)
	setDefault(&c.Tick, 100*time.Millisecond)
	setDefault(&c.ElectionTicks, 15)
	setDefault(&c.HeartbeatTicks, 5)
	if c.freeBytes == nil {
		c.freeBytes = freeBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// MaxPartitions is the largest number of partitions of a cluster: an idle group costs little, but not nothing, and the
// cursor of a watch, which names a position in each, must fit a header.
const MaxPartitions = 4096

// MaxNameBytes is the length of a node's longest name.
const MaxNameBytes = 64

// MaxReplicas is the largest number of replicas of a partition: four may be lost, and each write waits for five.
const MaxReplicas = 9

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	switch {
	case c.Name == "" || len(c.Name) > MaxNameBytes:
		return fmt.Errorf("node name of %d bytes, must have 1 to %d", len(c.Name), MaxNameBytes)
	case c.DataDir == "":
		return errors.New("no data directory")
	case c.Partitions > MaxPartitions:
		return fmt.Errorf("%d partitions, at most %d", c.Partitions, MaxPartitions)
	case c.Replicas < 1 || c.Replicas > MaxReplicas:
		return fmt.Errorf("%d replicas, must be 1 to %d", c.Replicas, MaxReplicas)
	case c.HeartbeatTicks >= c.ElectionTicks:
		return errors.New("heartbeats must be more frequent than elections")
	}
	if _, err := ring.New(c.Partitions); err != nil {
		return err
	}
	for _, a := range []string{c.HTTP, c.Peer, c.Gossip} {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return fmt.Errorf("address %q: %w", a, err)
		}
	}
	return nil
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// reachable is the address under which others reach a listener on addr.
func (c Config) reachable(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || c.Advertise == "" {
		return addr
	}
	return net.JoinHostPort(c.Advertise, port)
}

// reachableHTTP is HTTP with the advertised host where the API is bound to all addresses.
func (c Config) reachableHTTP() string {
	host, _, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return c.HTTP
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return c.reachable(c.HTTP)
	}
	return c.HTTP
}
