package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/ringkv/ringkv/api"
)

// Where a node listens unless told otherwise.
const (
	defaultHTTP   = "127.0.0.1:8080"
	defaultPeer   = "127.0.0.1:7947"
	defaultGossip = "127.0.0.1:7946"
)

// serveConfig is what a node is told. Each field's flag says unit and default.
type serveConfig struct {
	Name          string
	DataDir       string
	HTTP          string   // host:port to listen on for clients
	Peer          string   // host:port to listen on for nodes
	Gossip        string   // host:port to listen on for gossip, TCP and UDP
	Advertise     string   // host that others reach this one by; empty: the hosts of the three above
	Join          []string // gossip addresses of members, host:port
	Partitions    int
	Replicas      int
	Zone          string
	Weight        int
	Insecure      bool
	MaxValueBytes int
	DeadAfter     time.Duration
	MinFreeBytes  int64
	ScrubInterval time.Duration
	LogLevel      string // debug, info, warn, error
	LogFormat     string // text, json
}

// flags declares c's flags, with their defaults, on fs.
func (c *serveConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Name, "name", hostname(), "this node's name, different from all others in the cluster")
	fs.StringVar(&c.DataDir, "data-dir", "ringkv-data", "directory for everything that the node keeps")
	fs.StringVar(&c.HTTP, "http", defaultHTTP, "host:port for clients")
	fs.StringVar(&c.Peer, "peer", defaultPeer, "host:port for the other nodes")
	fs.StringVar(&c.Gossip, "gossip", defaultGossip, "host:port for gossip, TCP and UDP")
	fs.StringVar(&c.Advertise, "advertise", "", "host name or IP that others reach this node by (default: as it listens)")
	fs.StringSliceVar(&c.Join, "join", nil, "gossip host:port of any members to join; repeatable")
	fs.IntVar(&c.Partitions, "partitions", 64, "partitions, a power of two up to 4096; fixed when the cluster forms")
	fs.IntVar(&c.Replicas, "replicas", 3, "replicas of each partition; fixed when the cluster forms")
	fs.StringVar(&c.Zone, "zone", "", "failure zone; replicas of a partition go to different ones")
	fs.IntVar(&c.Weight, "weight", 1, "share of the data relative to other nodes, 1 to 1000")
	fs.BoolVar(&c.Insecure, "insecure", false, "allow addresses other than loopback, without TLS")
	fs.IntVar(&c.MaxValueBytes, "max-value-bytes", api.DefaultMaxValueBytes, "largest value, bytes, up to 1048576")
	fs.DurationVar(&c.DeadAfter, "dead-after", 5*time.Minute, "replace the replicas of a node gone for longer than this")
	fs.Int64Var(&c.MinFreeBytes, "min-free-bytes", 512<<20, "disk space to leave free, bytes; below it puts are refused, below a quarter all writes")
	fs.DurationVar(&c.ScrubInterval, "scrub-interval", 24*time.Hour, "read and check everything on disk about this often, and mend it from the others; 0: never")
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "text or json")
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}

// logger returns the logger that c asks for. c is valid.
func (c *serveConfig) logger(w io.Writer) *slog.Logger {
	level, _ := logLevel(c.LogLevel)
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// logLevel returns the level called name.
func logLevel(name string) (slog.Level, bool) {
	switch name {
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	default:
		return 0, false
	}
}
