// Package clienttest is a stand-in for a cluster: nodes that speak the HTTP API from one map in memory, on loopback.
//
// It is for tests of programs that use package client. It owns no more of the contract than clients can see: single
// keys, listings, transactions (one after another), locks (without order and
// time), watches, the ring and the cluster. It does not expire
// keys by itself, keeps nothing, and is not fast.
package clienttest

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/ring"
)

// Partitions is how many partitions a Cluster has.
const Partitions = 8

// Cluster is a set of nodes over one map. Used by any number of goroutines.
type Cluster struct {
	Nodes []*Node

	hash *ring.Ring

	mu       sync.Mutex // guards what follows
	revision api.Version
	items    map[string]item
	txns     txns
	locks    locks
	watches  watches
	leaders  []int // index into Nodes, by partition
	epoch    uint64
}

type item struct {
	value       []byte
	contentType string
	version     api.Version
	ttl         time.Duration
}

// Node is one node of a Cluster.
type Node struct {
	Name string
	*httptest.Server

	cluster *Cluster

	mu        sync.Mutex // guards what follows
	intercept func(w http.ResponseWriter, r *http.Request) (handled bool)
	requests  []string
}

// New starts a cluster of n nodes named n1, n2, …; Close stops it.
func New(n int) *Cluster {
	hash, err := ring.New(Partitions)
	if err != nil {
		panic(err) // Partitions is a power of two
	}
	c := &Cluster{hash: hash, items: make(map[string]item), leaders: make([]int, Partitions), epoch: 1}
	c.txns = txns{states: make(map[string]api.TxnState), tokens: make(map[string]answered)}
	c.locks = locks{held: make(map[string]api.Lock), freed: make(chan struct{})}
	c.watches = newWatches()
	for i := range n {
		node := &Node{Name: "n" + strconv.Itoa(i+1), cluster: c}
		node.Server = httptest.NewServer(node)
		c.Nodes = append(c.Nodes, node)
	}
	for p := range c.leaders {
		c.leaders[p] = p % n
	}
	return c
}

// NewHandler returns a cluster of one node that listens nowhere, for a server of the caller's that is reached at addr.
func NewHandler(addr string) http.Handler {
	c := New(1)
	c.Nodes[0].Close()
	c.Nodes[0].Server = &httptest.Server{URL: "http://" + addr}
	return c.Nodes[0]
}

// Close stops all nodes.
func (c *Cluster) Close() {
	close(c.watches.closing)
	for _, n := range c.Nodes {
		n.Close()
	}
}

// Addrs returns the nodes' addresses, host:port.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// Leader returns the node that leads key's partition.
func (c *Cluster) Leader(key string) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Nodes[c.leaders[c.hash.Partition([]byte(key))]]
}

// MoveLeaders makes node lead all partitions.
func (c *Cluster) MoveLeaders(node int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.leaders {
		c.leaders[p] = node
	}
	c.epoch++
}

// Addr returns the node's address, host:port.
func (n *Node) Addr() string { return n.URL[len("http://"):] }

// Intercept has fn see every request first; where it returns true it has answered. nil ends that.
func (n *Node) Intercept(fn func(w http.ResponseWriter, r *http.Request) (handled bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.intercept = fn
}

// Requests returns the requests seen since the last call, each as method, space, request URI.
func (n *Node) Requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := n.requests
	n.requests = nil
	return seen
}

// ServeHTTP implements http.Handler.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.requests = append(n.requests, r.Method+" "+r.RequestURI)
	intercept := n.intercept
	n.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	n.Answer(w, r)
}

// Answer answers r as the cluster does, past the function that Intercept was given: which may call it, and then spoil
// the answer.
func (n *Node) Answer(w http.ResponseWriter, r *http.Request) { n.route(w, r) }
