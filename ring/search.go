package ring

// search finds chains of moves: u gives its place in p to v, v gives its place in another partition to w, and so on,
// from a node that may give (or a partition that is short) to a node that may take. It is the augmenting path search
// of a minimum cost flow, with two simplifications: costs are 0 or 1 (a move costs 1 if it adds a copy), never
// negative, so that it is a breadth-first search over two levels that always ends; and a partition is passed at
// most once in a chain by moves between zones, so that the zone limit holds when the whole chain has been made.
//
// Vertices are the nodes and, after them, the partitions: a partition's vertex is reached by whoever can leave it and
// leads to all nodes whose zone has room in it. A place passed on inside a full zone goes from node to node directly.
type search struct {
	a    *allocation
	turn turn

	nodes  int
	dist   []int    // of each vertex; unreached if not seen
	done   []bool   // vertices already expanded
	from   []int    // of each vertex: the node that gives, or nobody
	via    []int    // of each node: the partition whose place it takes, or nobody for those that start a chain
	moved  []bool   // of each partition: it was reached by giving up a place that is itself new
	levels [2][]int // vertices at the present distance and at the next one
}

const (
	unreached = int(^uint(0) >> 1)
	nobody    = -1
)

func newSearch(a *allocation, t turn) *search {
	vertices := len(a.count) + len(a.holders)
	return &search{
		a: a, turn: t,
		nodes: len(a.count),
		dist:  make([]int, vertices),
		done:  make([]bool, vertices),
		from:  make([]int, vertices),
		via:   make([]int, len(a.count)),
		moved: make([]bool, len(a.holders)),
	}
}

// next finds one cheapest chain and makes its moves. It returns false if there is none.
func (s *search) next() bool {
	s.reset()
	end, found := s.explore()
	if found {
		s.apply(end)
	}
	return found
}

// reset starts over: all givers and all short partitions are at distance 0.
func (s *search) reset() {
	for i := range s.dist {
		s.dist[i], s.done[i], s.from[i] = unreached, false, nobody
	}
	for v := range s.via {
		s.via[v] = nobody
	}
	clear(s.moved)
	s.levels[0], s.levels[1] = s.levels[0][:0], s.levels[1][:0]
	for p := range s.a.holders {
		if s.a.short(p) {
			s.dist[s.nodes+p] = 0
			s.levels[0] = append(s.levels[0], s.nodes+p)
		}
	}
	for _, v := range s.a.givers(s.turn) {
		s.dist[v] = 0
		s.levels[0] = append(s.levels[0], int(v))
	}
}

// explore returns the node at the end of a cheapest chain; among equally cheap ones, one that takes gladly.
func (s *search) explore() (end int, found bool) {
	for d := 0; len(s.levels[0]) > 0; d++ {
		end, best := s.level(d)
		if best != never {
			return end, true
		}
		s.levels[0], s.levels[1] = s.levels[1], s.levels[0][:0]
	}
	return 0, false
}

// level expands all vertices at distance d and returns the best taker among them.
func (s *search) level(d int) (end int, best rank) {
	for i := 0; i < len(s.levels[0]); i++ { // grows while we walk it
		x := s.levels[0][i]
		if s.done[x] || s.dist[x] != d {
			continue
		}
		s.done[x] = true
		if x >= s.nodes {
			s.leavePartition(x - s.nodes)
			continue
		}
		if r := s.turn.takes(uint16(x)); r != never && (best == never || r < best) {
			end, best = x, r
		}
		if best == gladly {
			return end, best
		}
		s.leaveNode(x)
	}
	return end, best
}

// leaveNode reaches what u's places can go to.
func (s *search) leaveNode(u int) {
	s.a.held[u].each(func(p int) bool {
		s.reachPartition(p, u)
		if !s.a.room(p, uint16(u)) {
			s.passInZone(p, u)
		}
		return true
	})
}

// reachPartition notes that u can leave p. Giving up a place that is itself new is preferred: whoever takes it then
// costs nothing more.
func (s *search) reachPartition(p, u int) {
	x, d := s.nodes+p, s.dist[u]
	moved := s.a.cost(p, uint16(u)) > 0
	if s.done[x] || d > s.dist[x] || d == s.dist[x] && (s.moved[p] || !moved) {
		return
	}
	if s.dist[x] == d && s.from[x] == nobody {
		return // short at the start: that place is empty anyway
	}
	s.from[x], s.moved[p] = u, moved
	s.push(x, d, 0)
}

// leavePartition reaches all nodes whose zone has room in p.
func (s *search) leavePartition(p int) {
	for _, v := range s.a.prefers[p] {
		if !s.a.held[v].has(p) && s.a.room(p, v) {
			s.reachNode(p, s.from[s.nodes+p], v, s.dist[s.nodes+p], s.moved[p])
		}
	}
}

// passInZone reaches the other nodes of u's zone, which is full in p: they can only take the place of one of it.
func (s *search) passInZone(p, u int) {
	moved := s.a.cost(p, uint16(u)) > 0
	for _, v := range s.a.zoneNodes[s.a.zone[u]] {
		if !s.a.held[v].has(p) {
			s.reachNode(p, u, v, s.dist[u], moved)
		}
	}
}

// reachNode notes that v can take u's place in p (or an empty one if u is nobody), at distance d before the move.
func (s *search) reachNode(p, u int, v uint16, d int, moved bool) {
	cost := s.a.cost(p, v)
	if moved {
		cost = 0
	}
	if d+cost < s.dist[v] {
		s.from[v], s.via[v] = u, p
		s.push(int(v), d, cost)
	}
}

func (s *search) push(x, d, cost int) {
	s.dist[x] = d + cost
	s.levels[cost] = append(s.levels[cost], x)
}

// apply makes the moves of the chain that ends at v, from its end to its beginning.
func (s *search) apply(v int) {
	for v != nobody && s.via[v] != nobody {
		p, u := s.via[v], s.from[v]
		if u != nobody {
			s.a.drop(p, uint16(u))
		}
		s.a.add(p, uint16(v))
		v = u
	}
}
