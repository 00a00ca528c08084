package client

import (
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/ring"
)

// topology is what the client knows of the cluster at one moment. Immutable.
type topology struct {
	seeds []*endpoint // as configured, in order
	nodes []*endpoint // seeds and every node told of, each once

	ring     *ring.Ring    // nil until learned
	etag     string        // of the ring, "" until learned
	leaders  []*endpoint   // by partition; nil where none is known
	replicas [][]*endpoint // by partition
	names    map[string]*endpoint
	learned  time.Time // when a node last confirmed it
}

// withRing returns t with what the cluster told of itself. Errors: a partition count that is none.
func (t *topology) withRing(r *api.Ring, etag string, names map[string]*endpoint, now time.Time) (*topology, error) {
	hash, err := ring.New(len(r.Partitions))
	if err != nil {
		return nil, err
	}
	next := &topology{
		seeds: t.seeds, nodes: mergeNodes(t.seeds, names), ring: hash, etag: etag, names: names, learned: now,
		leaders:  make([]*endpoint, len(r.Partitions)),
		replicas: make([][]*endpoint, len(r.Partitions)),
	}
	for _, p := range r.Partitions {
		if int(p.ID) < len(next.leaders) {
			next.leaders[p.ID] = names[p.Leader]
			next.replicas[p.ID] = lookUp(names, p.Replicas)
		}
	}
	return next, nil
}

// confirmed returns t as learned at now.
func (t *topology) confirmed(now time.Time) *topology {
	next := *t
	next.learned = now
	return &next
}

// mergeNodes returns seeds and the endpoints of names, each once; the order of the latter does not matter.
func mergeNodes(seeds []*endpoint, names map[string]*endpoint) []*endpoint {
	nodes := append([]*endpoint(nil), seeds...)
	seen := make(map[*endpoint]bool, len(seeds)+len(names))
	for _, e := range seeds {
		seen[e] = true
	}
	for _, e := range names {
		if !seen[e] {
			seen[e] = true
			nodes = append(nodes, e)
		}
	}
	return nodes
}

func lookUp(names map[string]*endpoint, wanted []string) []*endpoint {
	found := make([]*endpoint, 0, len(wanted))
	for _, name := range wanted {
		if e := names[name]; e != nil {
			found = append(found, e)
		}
	}
	return found
}

// route is the order in which one call tries nodes.
type route struct {
	first []*endpoint // preferred: the leader, or the replicas
	nodes []*endpoint // all
	turn  int         // where in nodes to begin
	tried []*endpoint // so far, in this round
}

// route plans cl's attempts by what is known now, and has that refreshed if it is old.
func (c *Client) route(cl *call) route {
	t := c.topo.Load()
	if c.cfg.Direct {
		return route{nodes: t.nodes}
	}
	if time.Since(t.learned) > c.cfg.RefreshInterval {
		c.refreshSoon()
	}
	turn := int(c.turn.Add(1))
	r := route{nodes: t.nodes, turn: turn}
	if t.ring == nil || cl.near == "" {
		return r
	}
	p := t.ring.Partition([]byte(cl.near))
	if replicas := t.replicas[p]; cl.stale && len(replicas) > 0 {
		i := turn % len(replicas)
		r.first = replicas[i : i+1]
	} else if t.leaders[p] != nil {
		r.first = t.leaders[p : p+1]
	}
	return r
}

// next returns the node to ask now: the preferred one first, then the others in turn, those known to be out of reach
// last. When all have been tried it begins again.
func (r *route) next(now time.Time) *endpoint {
	e := r.untried(now, true)
	if e == nil {
		e = r.untried(now, false)
	}
	if e == nil {
		r.tried = r.tried[:0]
		e = r.untried(now, false)
	}
	r.tried = append(r.tried, e)
	return e
}

// untried returns the best node that was not tried in this round, nil if there is none.
func (r *route) untried(now time.Time, healthy bool) *endpoint {
	for _, e := range r.first {
		if !r.hasTried(e) && (!healthy || e.healthy(now)) {
			return e
		}
	}
	for i := range r.nodes {
		e := r.nodes[(r.turn+i)%len(r.nodes)]
		if !r.hasTried(e) && (!healthy || e.healthy(now)) {
			return e
		}
	}
	return nil
}

func (r *route) hasTried(e *endpoint) bool {
	for _, t := range r.tried {
		if t == e {
			return true
		}
	}
	return false
}

// fresh reports whether a node is left that was not tried in this round.
func (r *route) fresh() bool { return len(r.tried) < len(r.nodes) }
