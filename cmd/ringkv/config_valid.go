package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/cluster"
)

const (
	maxWeight        = 1000
	minDeadAfter     = 10 * time.Second
	minScrubInterval = time.Minute
	minFreeBytes     = 256 << 20 // a quarter of it is what the engine needs to write one of its memory tables
)

// validate checks c and brings Join into its final form. The error names the flag and the remedy.
func (c *serveConfig) validate() error {
	for _, check := range []func() error{
		c.checkIdentity, c.checkAddresses, c.checkJoin, c.checkShape, c.checkLimits, c.checkLog,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *serveConfig) checkIdentity() error {
	if err := checkLabel("--name", c.Name); err != nil {
		return err
	}
	if c.Zone != "" {
		if err := checkLabel("--zone", c.Zone); err != nil {
			return err
		}
	}
	if c.DataDir == "" {
		return fmt.Errorf("--data-dir is empty: name a directory")
	}
	return nil
}

// checkLabel holds a name to what is readable in logs, tables and URLs.
func checkLabel(flag, s string) error {
	odd := strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
	if s == "" || len(s) > cluster.MaxNameBytes || odd {
		return fmt.Errorf("%s %q: use 1 to %d letters, digits, '-', '_' and '.'", flag, s, cluster.MaxNameBytes)
	}
	return nil
}

func (c *serveConfig) checkAddresses() error {
	if err := checkHost("--advertise", c.Advertise); c.Advertise != "" && err != nil {
		return err
	}
	seen := make(map[string]string)
	for _, l := range c.listens() {
		if err := c.checkListen(l.flag, l.addr); err != nil {
			return err
		}
		if other := seen[l.addr]; other != "" {
			return fmt.Errorf("%s and %s are both %s: give each a port of its own", other, l.flag, l.addr)
		}
		seen[l.addr] = l.flag
	}
	return nil
}

// listen is one address that a node listens on.
type listen struct{ flag, addr string }

func (c *serveConfig) listens() []listen {
	return []listen{{"--http", c.HTTP}, {"--peer", c.Peer}, {"--gossip", c.Gossip}}
}

// checkListen allows loopback, and other addresses only if the user accepts that there is no TLS.
func (c *serveConfig) checkListen(flag, addr string) error {
	host, err := checkHostPort(flag, addr)
	if err != nil {
		return err
	}
	if !isLoopback(host) && !c.Insecure {
		return fmt.Errorf("%s %s is not loopback, and TLS does not exist yet: anyone who reaches the port can read and "+
			"write everything. If the network is private, say --insecure; else use 127.0.0.1", flag, addr)
	}
	if isUnspecified(host) && c.Advertise == "" {
		return fmt.Errorf("%s %s listens everywhere, which is no address that others could use: "+
			"give the one they should use with --advertise", flag, addr)
	}
	return nil
}

// checkHostPort splits addr. The port must be a number.
func checkHostPort(flag, addr string) (host string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%s %q: want host:port, for example %s", flag, addr, exampleAddr(flag))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%s %q: port %q is not 1 to 65535", flag, addr, port)
	}
	return host, nil
}

// exampleAddr is an address as it is usual for flag.
func exampleAddr(flag string) string {
	switch flag {
	case "--gossip", "--join":
		return defaultGossip
	case "--peer":
		return defaultPeer
	default:
		return defaultHTTP
	}
}

// checkHost refuses what is not a bare host.
func checkHost(flag, host string) error {
	if _, err := netip.ParseAddr(host); err == nil && !isUnspecified(host) {
		return nil
	}
	if host == "" || isUnspecified(host) || strings.ContainsAny(host, ":/ []") {
		return fmt.Errorf("%s %q: want a host name or IP address without port", flag, host)
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}

func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// localAddr is how a listening address is reached from the same machine.
func localAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isUnspecified(host) {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func (c *serveConfig) checkJoin() error {
	c.Join = splitList(strings.Join(c.Join, ","))
	for _, addr := range c.Join {
		host, err := checkHostPort("--join", addr)
		if err != nil {
			return err
		}
		if isUnspecified(host) {
			return fmt.Errorf("--join %s: name the host of a member", addr)
		}
	}
	return nil
}

func (c *serveConfig) checkShape() error {
	switch {
	case c.Partitions < 1 || c.Partitions > cluster.MaxPartitions || c.Partitions&(c.Partitions-1) != 0:
		return fmt.Errorf("--partitions %d: want a power of two, 1 to %d", c.Partitions, cluster.MaxPartitions)
	case c.Replicas < 1 || c.Replicas > cluster.MaxReplicas:
		return fmt.Errorf("--replicas %d: want 1 to %d; 3 survives the loss of one node", c.Replicas, cluster.MaxReplicas)
	case c.Weight < 1 || c.Weight > maxWeight:
		return fmt.Errorf("--weight %d: want 1 to %d", c.Weight, maxWeight)
	}
	return nil
}

func (c *serveConfig) checkLimits() error {
	switch {
	case c.MaxValueBytes < 1 || c.MaxValueBytes > api.DefaultMaxValueBytes:
		return fmt.Errorf("--max-value-bytes %d: want 1 to %d", c.MaxValueBytes, api.DefaultMaxValueBytes)
	case c.DeadAfter < minDeadAfter:
		return fmt.Errorf("--dead-after %v: want %v or more, so that a restart moves no data", c.DeadAfter, minDeadAfter)
	case c.ScrubInterval != 0 && c.ScrubInterval < minScrubInterval:
		return fmt.Errorf("--scrub-interval %v: want %v or more, or 0 for never", c.ScrubInterval, minScrubInterval)
	case c.MinFreeBytes < minFreeBytes:
		return fmt.Errorf("--min-free-bytes %d: want %d or more, which the node needs to go on reading and deleting", c.MinFreeBytes, minFreeBytes)
	}
	return nil
}

func (c *serveConfig) checkLog() error {
	if _, ok := logLevel(c.LogLevel); !ok {
		return fmt.Errorf("--log-level %q: want debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("--log-format %q: want text or json", c.LogFormat)
	}
	return nil
}
