package ring

import "slices"

// turn is one round of balancing: who may give a place away, who may take one. Nobody may do both.
type turn struct {
	gives func(v uint16) bool
	takes func(v uint16) rank
}

// rank says how gladly a node takes a place.
type rank uint8

const (
	never rank = iota
	gladly
	willingly
	reluctantly
)

// balance moves places until every partition has all of them and every node holds its share rounded down or up. It
// moves only what it must: places above a share first go where they are missed, then to nodes that had nothing (the
// newest first: an old node may have nothing because its share is below one), then to others; only then do nodes within
// their share give to those still below theirs.
//
// Where no allocation under the rules reaches that (it happens to leaders only, see DESIGN.md), every partition still
// gets its places, the largest excess over a share is as small as it can be, and the rest is as near as it gets.
func (a *allocation) balance() {
	for {
		a.run(turn{gives: a.over, takes: a.under})
		a.run(turn{gives: a.over, takes: a.below})
		if a.settled() {
			break
		}
		a.slack++
	}
	a.run(turn{gives: a.aboveFloor, takes: a.under})
}

func (a *allocation) over(v uint16) bool       { return a.count[v] > a.shares[v].hi()+a.slack }
func (a *allocation) aboveFloor(v uint16) bool { return a.count[v] > a.shares[v].lo }

func (a *allocation) under(v uint16) rank {
	if a.count[v] < a.shares[v].lo {
		return gladly
	}
	return never
}

func (a *allocation) below(v uint16) rank {
	switch {
	case a.count[v] >= a.shares[v].hi()+a.slack:
		return never
	case int(v) == a.newest:
		return gladly
	case a.fresh[v]:
		return willingly
	}
	return reluctantly
}

// settled tells whether all partitions are complete and no node is over its share and the slack.
func (a *allocation) settled() bool {
	return !a.anyToGive(turn{gives: a.over})
}

// run makes all single moves that the turn allows, then finds chains of moves until there are none.
func (a *allocation) run(t turn) {
	for _, least := range []rank{gladly, willingly, reluctantly} {
		for a.pass(t, least) {
		}
	}
	if _, left := a.takers(t, reluctantly); left == 0 || !a.anyToGive(t) {
		return
	}
	s := newSearch(a, t)
	for s.next() {
	}
}

// pass offers every partition to the nodes that take a place at least as gladly as asked, in the order of the walk:
// first all first choices, then all second ones, and so on. It returns whether anything moved.
func (a *allocation) pass(t turn, least rank) bool {
	takers, left := a.takers(t, least)
	if !a.anyToGive(t) {
		return false
	}
	moved := false
	for choice := 0; left > 0 && choice < len(takers); choice++ {
		for p, prefers := range a.prefers {
			if choice >= len(prefers) || !takers[prefers[choice]] {
				continue
			}
			v := prefers[choice]
			if !a.offer(t, p, v) {
				continue
			}
			moved = true
			if t.takes(v) == never { // nobody else's mind changes: a giver never becomes a taker in the same turn
				takers[v] = false
				left--
			}
		}
	}
	return moved
}

// takers marks the nodes that take a place at least as gladly as asked, and counts them.
func (a *allocation) takers(t turn, least rank) (marked []bool, n int) {
	marked = make([]bool, len(a.count))
	for v := range marked {
		if r := t.takes(uint16(v)); r != never && r <= least {
			marked[v] = true
			n++
		}
	}
	return marked, n
}

func (a *allocation) anyToGive(t turn) bool {
	for v := range a.count {
		if t.gives(uint16(v)) {
			return true
		}
	}
	return a.empty > 0
}

// offer gives v, which takes one, a place in p: an empty one, or that of the holder with the most to give.
func (a *allocation) offer(t turn, p int, v uint16) bool {
	if a.held[v].has(p) {
		return false
	}
	if a.short(p) {
		if !a.room(p, v) {
			return false
		}
		a.add(p, v)
		return true
	}
	u, found := a.giver(t, p, v)
	if found {
		a.drop(p, u)
		a.add(p, v)
	}
	return found
}

// giver returns the holder of p that should make way for v.
func (a *allocation) giver(t turn, p int, v uint16) (best uint16, found bool) {
	room := a.room(p, v)
	for _, u := range a.holders[p] {
		if t.gives(u) && (room || a.zone[u] == a.zone[v]) && (!found || a.surplus(u, best) > 0) {
			best, found = u, true
		}
	}
	return best, found
}

// givers returns the nodes that may give, those with the most to spare first.
func (a *allocation) givers(t turn) []uint16 {
	var nodes []uint16
	for v := range a.count {
		if t.gives(uint16(v)) {
			nodes = append(nodes, uint16(v))
		}
	}
	slices.SortStableFunc(nodes, func(u, v uint16) int { return a.surplus(v, u) })
	return nodes
}
