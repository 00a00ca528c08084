package ring

// optimum is the least number of replicas that any plan must add to reach a balanced placement which obeys zones and
// distinct nodes: a plain minimum cost flow, slow and independent of how Place goes about it. Q and the number of
// members should be small.
//
// The network is source → partition → partition's zone → node → sink. Reaching the floor of a share earns so much that
// it is never given up for a copy.
func optimum(s *task, price func(a *allocation, p int, v uint16) int) int {
	const reward = 1 << 20
	a := s.inherited(make([][]uint16, s.q))
	zones, nodes := len(s.fleet.members), len(s.fleet.nodes)
	node := 2 + s.q + s.q*zones
	n := network{heads: make([][]int, node+nodes)}
	for p := range s.q {
		n.arc(0, 2+p, s.degree, 0)
		for z := range zones {
			cell := 2 + s.q + p*zones + z
			n.arc(2+p, cell, s.limit, 0)
			for _, v := range s.fleet.members[z] {
				n.arc(cell, node+int(v), 1, price(a, p, v))
			}
		}
	}
	floors := 0
	for v, share := range a.shares {
		n.arc(node+v, 1, share.lo, -reward)
		n.arc(node+v, 1, share.hi()-share.lo, 0)
		floors += share.lo
	}
	cost := 0
	for {
		c, found := n.augment()
		if !found {
			return cost + floors*reward
		}
		cost += c
	}
}

type arc struct{ to, room, cost int }

// network is a flow network; arc i^1 is the reverse of arc i. Vertex 0 is the source, vertex 1 the sink.
type network struct {
	heads [][]int
	arcs  []arc
}

func (n *network) arc(from, to, room, cost int) {
	n.heads[from] = append(n.heads[from], len(n.arcs))
	n.heads[to] = append(n.heads[to], len(n.arcs)+1)
	n.arcs = append(n.arcs, arc{to, room, cost}, arc{from, 0, -cost})
}

// augment sends one unit along a cheapest path (Bellman and Ford, with a queue).
func (n *network) augment() (cost int, found bool) {
	const far = 1 << 40
	dist, by, queued := make([]int, len(n.heads)), make([]int, len(n.heads)), make([]bool, len(n.heads))
	for i := range dist {
		dist[i] = far
	}
	dist[0] = 0
	for queue := []int{0}; len(queue) > 0; queue = queue[1:] {
		x := queue[0]
		queued[x] = false
		for _, i := range n.heads[x] {
			e := n.arcs[i]
			if e.room == 0 || dist[x]+e.cost >= dist[e.to] {
				continue
			}
			dist[e.to], by[e.to] = dist[x]+e.cost, i
			if !queued[e.to] {
				queued[e.to] = true
				queue = append(queue, e.to)
			}
		}
	}
	if dist[1] == far {
		return 0, false
	}
	for x := 1; x != 0; x = n.arcs[by[x]^1].to {
		n.arcs[by[x]].room--
		n.arcs[by[x]^1].room++
	}
	return dist[1], true
}
