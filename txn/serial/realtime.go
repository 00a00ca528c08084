package serial

import "math"

// findRealtimeCycle reports a transaction that stands, by a path of dependencies, before another one that had returned
// when it was invoked. More need not be looked for: of two edges of real time in one cycle, A before B and C before D,
// either A returned before D was invoked or C before B was, so that one edge closes a shorter cycle (DESIGN.md).
//
// The graph has no cycle; number is that of its components, so no edge leads to a higher one.
func (c *checker) findRealtimeCycle(g *graph, number []int32) {
	nodes := make([]int32, len(number))
	for u, n := range number {
		nodes[n] = int32(u)
	}
	for _, l := range levelsOf() {
		if late := c.lateComers(g, nodes, l); len(late) > 0 {
			c.noteRealtime(l, c.shortestLate(newSearch(g), l, late))
			return
		}
	}
}

// lateComers is the transactions that reach, at level l, one that had returned before they were invoked. Nodes are in an
// order in which no edge leads forwards, so that one pass carries the earliest return to all who stand before it.
func (c *checker) lateComers(g *graph, nodes []int32, l level) []int32 {
	earliest := make([]Time, 2*len(nodes)) // by state: of all that is reachable, without itself
	for i := range earliest {
		earliest[i] = Never
	}
	var late []int32
	for _, u := range nodes {
		for s := at(u); s < at(u+1); s++ {
			earliest[s] = c.earliestAfter(g, l, s, earliest)
		}
		if earliest[at(u)] < c.invoked(u) {
			late = append(late, u)
		}
	}
	return late
}

// earliestAfter is the earliest return among all that st reaches, from those of the next states.
func (c *checker) earliestAfter(g *graph, l level, st state, earliest []Time) Time {
	first := Never
	out := g.out(nodeOf(st))
	for i := range out {
		if to, ok := l.step(st, &out[i]); ok {
			first = min(first, earliest[to], c.returned(out[i].to))
		}
	}
	return first
}

// shortestLate is the shortest path from one of late to a transaction that had returned before.
func (c *checker) shortestLate(s *search, l level, late []int32) []edge {
	all := func(int32) bool { return true }
	var best []edge
	for _, u := range late {
		gone := func(v int32) bool { return c.returned(v) < c.invoked(u) }
		if path := s.path(l, u, all, gone, shorterThan(best, s.nodes())); path != nil {
			best = path
		}
		if len(best) == 1 || best != nil && s.budget <= 0 {
			break
		}
	}
	return best
}

// noteRealtime reports a path whose last transaction returned before its first one was invoked.
func (c *checker) noteRealtime(l level, path []edge) {
	path = c.straighten(path)
	ts := []int32{path[0].from}
	for i := range path {
		ts = append(ts, path[i].to)
	}
	last := ts[len(ts)-1]
	c.found.note(l.realtime, c.sublist(ts...), func() []string {
		return append(c.sayPath(path), c.sayRealtime(last, ts[0]))
	})
}

// invoked is when u began; a hub is earlier than everything, so that it never comes late.
func (c *checker) invoked(u int32) Time {
	if int(u) >= len(c.txns) {
		return math.MinInt64
	}
	return c.txns[u].Invoked
}

// returned is when u had surely taken effect; a hub never has.
func (c *checker) returned(u int32) Time {
	if int(u) >= len(c.txns) {
		return Never
	}
	return c.txns[u].end()
}
