package gossip

import (
	"errors"
	"log/slog"
	"time"
)

// Config is what a Gossip is made of. Zero means the default.
type Config struct {
	// Bind is the host:port to listen on, UDP and TCP. Port 0 picks one. Required.
	Bind string
	// Advertise is where others reach it, host or host:port. Default: Bind, or a private address of this machine if
	// Bind is 0.0.0.0.
	Advertise string
	// Meta returns what to tell others about this node. It is called by Start and UpdateMeta. Required.
	Meta func() Meta
	// Join are gossip addresses (host:port) to look for other nodes at, for as long as the node runs.
	Join []string
	// KnownAddrs returns further addresses to look at, such as those of all members in the metadata. Optional.
	KnownAddrs func() []string
	// OnChange is called after Members changed, from one goroutine; several changes may come as one. Optional.
	OnChange func()
	// Logger. Default: nothing is logged.
	Logger *slog.Logger

	// ProbeInterval is how often a random member is probed; one that is gone is noticed within some five times that.
	// Default 1 s.
	ProbeInterval time.Duration
	// GossipInterval is the time between two rounds of spreading news. Default 200 ms.
	GossipInterval time.Duration
	// SyncInterval is how often everything known is exchanged with a random member. It heals what gossip alone does
	// not, such as the new address of a node that moved while it was thought alive. Default 10 s.
	SyncInterval time.Duration
	// ForgetDeadAfter is for how long memberlist still talks to a dead node. After that the rejoin loop alone finds
	// it. Default 30 s.
	ForgetDeadAfter time.Duration
	// RejoinMin and RejoinMax bound the pause between two rounds of the rejoin loop. Default 500 ms and 10 s.
	RejoinMin time.Duration
	RejoinMax time.Duration
	// StreamTimeout bounds one exchange over TCP; Close may wait for one. Default 3 s.
	StreamTimeout time.Duration
}

func (c Config) withDefaults() Config {
	setDefault(&c.ProbeInterval, time.Second)
	setDefault(&c.GossipInterval, 200*time.Millisecond)
	setDefault(&c.SyncInterval, 10*time.Second)
	setDefault(&c.ForgetDeadAfter, 30*time.Second)
	setDefault(&c.RejoinMin, 500*time.Millisecond)
	setDefault(&c.RejoinMax, 10*time.Second)
	setDefault(&c.StreamTimeout, 3*time.Second)
	if c.KnownAddrs == nil {
		c.KnownAddrs = func() []string { return nil }
	}
	if c.OnChange == nil {
		c.OnChange = func() {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	switch {
	case c.Meta == nil:
		return errors.New("gossip: config: no Meta")
	case c.RejoinMin > c.RejoinMax:
		return errors.New("gossip: config: RejoinMin is over RejoinMax")
	}
	return nil
}

func setDefault(p *time.Duration, value time.Duration) {
	if *p == 0 {
		*p = value
	}
}
