package serial

import "slices"

// level is what a cycle of one anomaly may consist of.
type level struct {
	anomaly  Anomaly
	realtime Anomaly // the same with one edge of real time
	kinds    kinds
	rws      int // at most so many edges rw: 0, 1 or many
}

const many = 2

// state is a node, and whether the one edge rw that a path may have is used up: at levels of one, else never.
type state = int32

func at(node int32) state  { return 2 * node }
func nodeOf(s state) int32 { return s / 2 }

// step is the state after e, if e may follow in state s.
func (l level) step(s state, e *edge) (state, bool) {
	switch used := s % 2; {
	case e.kind&l.kinds == 0:
		return 0, false
	case e.kind != rw || l.rws == many:
		return at(e.to) + used, true
	case l.rws == 0 || used == 1:
		return 0, false
	default:
		return at(e.to) + 1, true
	}
}

// search finds shortest paths in one graph, many of them, with the same memory.
type search struct {
	*graph
	via    []int32 // state → edge by which it was reached
	prev   []state // state → the one before
	seen   []int32 // state → the last path that met it
	paths  int32
	budget int // edges that may be followed before it is enough: once it is used up, callers ask for no more paths
}

// searchBudget is for one history: about a second. What is missed when it is used up is a shorter cycle, or the name
// G-single for one that is then called G2; never the verdict.
const searchBudget = 1 << 26

func newSearch(g *graph) *search {
	n := 2 * g.nodes()
	return &search{graph: g, via: make([]int32, n), prev: make([]state, n), seen: make([]int32, n), budget: searchBudget}
}

// path is a shortest one at level l from a node to any other that is a goal, or back to itself if it is one, through
// nodes that may be used; of one edge at least and limit at most; or nil.
func (s *search) path(l level, from int32, may, goal func(int32) bool, limit int) []edge {
	s.paths++
	frontier, next := []state{at(from)}, []state(nil)
	for length := 1; length <= limit && len(frontier) > 0; length++ {
		next = next[:0]
		for _, st := range frontier {
			var found bool
			if next, found = s.expand(l, st, may, goal, next); found {
				return s.trace(at(from), next[len(next)-1])
			}
		}
		frontier, next = next, frontier
	}
	return nil
}

// expand adds to next the new states one edge after st. It stops at a goal, which is then the last of them.
func (s *search) expand(l level, st state, may, goal func(int32) bool, next []state) ([]state, bool) {
	u := nodeOf(st)
	for i := s.first[u]; i < s.first[u+1]; i++ {
		s.budget--
		e := &s.edges[i]
		to, ok := l.step(st, e)
		if !ok || s.seen[to] == s.paths || !may(e.to) {
			continue
		}
		s.seen[to], s.via[to], s.prev[to] = s.paths, i, st
		next = append(next, to)
		if goal(e.to) {
			return next, true
		}
	}
	return next, false
}

// trace is the path that led to a state.
func (s *search) trace(from, to state) []edge {
	var path []edge
	for {
		path = append(path, s.edges[s.via[to]])
		if to = s.prev[to]; to == from {
			break
		}
	}
	slices.Reverse(path)
	return path
}
