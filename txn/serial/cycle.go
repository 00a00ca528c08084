package serial

// levelsOf lists the cycles that are anomalies, the most severe first. Each level has all that the one before it has.
func levelsOf() []level {
	return []level{
		{G0, G0Realtime, ww, 0},
		{G1c, G1cRealtime, ww | wr, 0},
		{GSingle, GSingleRealtime, ww | wr | rw, 1},
		{G2, G2Realtime, ww | wr | rw, many},
	}
}

// findCycle looks for the most severe cycle: among the dependencies, or if they have none, with real time.
func (c *checker) findCycle() {
	g := newGraph(len(c.txns)+c.hubs, c.edges)
	number, count := g.components(ww | wr | rw)
	if int(count) < g.nodes() {
		c.findDependencyCycle(g, number)
	} else {
		c.findRealtimeCycle(g, number)
	}
}

// findDependencyCycle reports a cycle within a component of number. At the first level that has one, every cycle is of
// that level: were it of an earlier one, that would have had it.
func (c *checker) findDependencyCycle(g *graph, number []int32) {
	s := newSearch(g)
	levels := levelsOf()
	var order []int32
	for _, l := range levels[:2] {
		var count int32
		if order, count = g.components(l.kinds); int(count) < g.nodes() {
			c.noteCycle(l.anomaly, c.shortestCycle(s, l, order))
			return
		}
	}
	if path := c.shortestSingle(s, levels[1], number, order); path != nil {
		c.noteCycle(GSingle, path)
		return
	}
	c.noteCycle(G2, c.shortestCycle(s, levels[3], number))
}

// shortestCycle looks from every transaction for the way back to it, within its component.
func (c *checker) shortestCycle(s *search, l level, number []int32) []edge {
	sizes := make([]int32, s.nodes())
	for _, n := range number {
		sizes[n]++
	}
	var best []edge
	for u := range int32(len(c.txns)) {
		if sizes[number[u]] == 1 {
			continue
		}
		may := func(v int32) bool { return number[v] == number[u] }
		back := func(v int32) bool { return v == u }
		if path := s.path(l, u, may, back, shorterThan(best, s.nodes())); path != nil {
			best = path
		}
		if len(best) == 2 || best != nil && s.budget <= 0 {
			break
		}
	}
	return best
}

// shortestSingle looks for an edge rw from u to v and a way back from v at level l, which has no cycle of its own: along
// it order only falls. So only edges rw along which order rises can be part, and only nodes between the two.
func (c *checker) shortestSingle(s *search, l level, number, order []int32) []edge {
	var best []edge
	for i := range s.edges {
		e := &s.edges[i]
		u, v := e.from, e.to
		if e.kind != rw || number[u] != number[v] || order[u] > order[v] {
			continue
		}
		may := func(w int32) bool { return order[w] >= order[u] }
		back := func(w int32) bool { return w == u }
		if path := s.path(l, v, may, back, shorterThan(best, s.nodes())-1); path != nil {
			best = append([]edge{*e}, path...)
		}
		if len(best) == 2 || s.budget <= 0 {
			break
		}
	}
	return best
}

// shorterThan is the limit of a search that should only find what is better than best, if there is one.
func shorterThan(best []edge, nodes int) int {
	if best == nil {
		return nodes
	}
	return len(best) - 1
}

// noteCycle reports a cycle of dependencies.
func (c *checker) noteCycle(a Anomaly, cycle []edge) {
	cycle = c.straighten(cycle)
	if turned := c.straighten(append(cycle[1:], cycle[0])); len(turned) < len(cycle) {
		cycle = turned // the last edge and the first are one, too
	}
	ts := make([]int32, len(cycle))
	for i := range cycle {
		ts[i] = cycle[i].from
	}
	c.found.note(a, c.sublist(ts...), func() []string { return c.sayPath(cycle) })
}

// straighten joins successive edges of a path where both follow from one list. The graph only has edges between
// neighbours in a list, and hubs, but a reader is better told about the ends. A path begins and ends at transactions.
func (c *checker) straighten(path []edge) []edge {
	out := path[:1:1]
	for _, e := range path[1:] {
		last := &out[len(out)-1]
		if joined, ok := c.join(last, &e); ok {
			*last = joined
		} else {
			out = append(out, e)
		}
	}
	return out
}

// join gives the one edge that says as much as e and then f, if there is one and it does not lead back.
func (c *checker) join(e, f *edge) (edge, bool) {
	if e.key != f.key || e.from == f.to {
		return edge{}, false
	}
	k := c.keys[e.key]
	j := edge{e.from, f.to, e.key, rw, e.before, f.after}
	switch {
	case e.kind == rw && f.kind == ww:
		return j, !k.precedes(f.after, e.before)
	case e.kind == ww && f.kind != rw:
		j.kind = f.kind
		return j, !k.precedes(f.after, k.appends[e.before].pos)
	}
	return edge{}, false
}
