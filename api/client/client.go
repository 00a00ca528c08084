package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Client talks to one cluster. It is made by New, used by any number of goroutines, and must be closed.
type Client struct {
	cfg       Config
	trans     transport
	streaming *http.Client             // for watches, unless Config.HTTPClient is set
	topo      atomic.Pointer[topology] // never nil
	turn      atomic.Uint32            // rotates the first choice among equal nodes

	life   context.Context // ended by Close; the refresh runs under it
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // refreshes under way

	mu         sync.Mutex // guards what follows
	closed     bool
	refreshing bool
	refreshed  time.Time            // when the last refresh began
	known      map[string]*endpoint // every node ever told of, by host:port
}

// New returns a client of the cluster that cfg.Nodes belong to. It checks cfg and contacts nobody.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c := &Client{cfg: cfg, known: make(map[string]*endpoint)}
	var seeds []*endpoint
	for _, node := range cfg.Nodes {
		scheme, addr, err := parseNode(node, cfg.HTTPClient != nil)
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		if c.known[addr] == nil {
			c.known[addr] = &endpoint{scheme: scheme, addr: addr}
			seeds = append(seeds, c.known[addr])
		}
	}
	c.trans = newTransport(cfg)
	c.streaming = newStreamingClient(cfg.DialTimeout)
	c.topo.Store(&topology{seeds: seeds, nodes: seeds})
	c.life, c.cancel = context.WithCancelCause(context.Background())
	return c, nil
}

func newTransport(cfg Config) transport {
	if cfg.HTTPClient != nil {
		return &httpTransport{client: cfg.HTTPClient}
	}
	return newLeanTransport(cfg.DialTimeout)
}

// newStreamingClient returns a client for answers that do not end: one connection each, which is closed with it.
func newStreamingClient(dialTimeout time.Duration) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}}
}

// Close ends background work and closes idle connections; it returns when both are done. Calls under way run to their
// end; later ones fail with ErrClosed. Close may be called twice.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel(ErrClosed)
	c.tasks.Wait()
	c.trans.closeIdle()
	return nil
}

// endpointAt returns the endpoint with the address addr, the same one each time.
func (c *Client) endpointAt(addr string) *endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known[addr]
	if e == nil {
		e = &endpoint{scheme: c.scheme(), addr: addr}
		c.known[addr] = e
	}
	return e
}

// scheme is what nodes that the cluster told of are spoken to with: the same as the first configured one.
func (c *Client) scheme() string {
	if seeds := c.topo.Load().seeds; len(seeds) > 0 {
		return seeds[0].scheme
	}
	return "http"
}

// call is one operation on its way through the attempts.
type call struct {
	op         string
	key        string // "" if the operation is on no single key
	near       string // whose leader is asked first; "" for no preference
	stale      bool   // any replica will do
	write      bool
	replayable bool          // a copy that is sent after one that was done changes nothing, and is answered alike
	patience   time.Duration // an attempt may last so long, if that is longer than other ones may
	req        request
}

// allowed reports whether status is an answer that the operation expects, as opposed to an error.
func (cl *call) allowed(status int) bool {
	return status == http.StatusOK || status == http.StatusCreated || status == http.StatusNoContent ||
		status == http.StatusNotModified
}
