package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config says which cluster to talk to, and how patiently. Zero fields take their defaults.
type Config struct {
	// Nodes are any nodes of the cluster, each as host:port or http URL. At least one is needed; the others are found
	// through it unless Direct is set. Several make the first contact survive a dead node.
	Nodes []string

	// Direct sends requests to Nodes only, to the first one that answers in the order given, and learns nothing else.
	// For short-lived programs, and where the addresses that nodes know each other by cannot be reached from here.
	Direct bool

	// MaxAttempts bounds how many times one request is tried, the first time included. Default 10.
	MaxAttempts int

	// Backoff is the pause before the second attempt; it doubles each time up to a second, and a random half of it is
	// left out. Nodes not asked yet are tried at once after a refused connection. Default 25ms.
	Backoff time.Duration

	// DialTimeout bounds the wait for a connection. Default 2s.
	DialTimeout time.Duration

	// ReadTimeout is how long one attempt of a read may last before another node is asked. Default 3s.
	ReadTimeout time.Duration

	// WriteTimeout is how long one attempt of a write may last; after it the outcome is unknown. It should be longer
	// than the nodes' own deadline, whose answer says more. Default 15s.
	WriteTimeout time.Duration

	// RefreshInterval is how old the client's knowledge of the ring may grow before a request makes it ask again, in
	// the background. Failures make it ask at once. Default 5s.
	RefreshInterval time.Duration

	// HTTPClient, if set, carries all requests instead of the client's own lean HTTP/1.1 transport: for proxies, TLS or
	// instrumentation. It needs two to three times the CPU. Its Timeout and CheckRedirect are honoured.
	HTTPClient *http.Client
}

func (cfg Config) withDefaults() Config {
	setDefault(&cfg.MaxAttempts, 10)
	setDefault(&cfg.Backoff, 25*time.Millisecond)
	setDefault(&cfg.DialTimeout, 2*time.Second)
	setDefault(&cfg.ReadTimeout, 3*time.Second)
	setDefault(&cfg.WriteTimeout, 15*time.Second)
	setDefault(&cfg.RefreshInterval, 5*time.Second)
	return cfg
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (cfg Config) validate() error {
	switch {
	case len(cfg.Nodes) == 0:
		return errors.New("no nodes given")
	case cfg.MaxAttempts < 1:
		return errors.New("MaxAttempts is negative")
	case min(cfg.Backoff, cfg.DialTimeout, cfg.ReadTimeout, cfg.WriteTimeout, cfg.RefreshInterval) < 0:
		return errors.New("a duration is negative")
	}
	return nil
}

// parseNode turns what a user calls a node into scheme and host:port.
func parseNode(node string, tls bool) (scheme, addr string, err error) {
	raw := node
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("node %q: %w", node, err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "", fmt.Errorf("node %q: scheme %q is not http or https", node, u.Scheme)
	case u.Scheme == "https" && !tls:
		return "", "", fmt.Errorf("node %q: https needs Config.HTTPClient", node)
	case u.Hostname() == "" || u.Port() == "":
		return "", "", fmt.Errorf("node %q: want host:port", node)
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", "", fmt.Errorf("node %q: want host:port and nothing else", node)
	}
	return u.Scheme, u.Host, nil
}

// dialable reports whether addr, as told by a node, names one certain host: 0.0.0.0 and :: do not.
func dialable(addr string) bool {
	u, err := url.Parse("http://" + addr)
	if err != nil || u.Hostname() == "" || u.Port() == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsUnspecified()
}
