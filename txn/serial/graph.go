package serial

// graph is who stands before whom: transactions and hubs as nodes, edges by the node that they leave.
type graph struct {
	first []int32 // node → its first edge; one entry more than there are nodes
	edges []edge
}

// newGraph sorts edges by counting, and keeps the order of those that leave one node.
func newGraph(nodes int, edges []edge) *graph {
	g := &graph{make([]int32, nodes+1), make([]edge, len(edges))}
	for i := range edges {
		g.first[edges[i].from+1]++
	}
	for u := range nodes {
		g.first[u+1] += g.first[u]
	}
	next := append([]int32(nil), g.first[:nodes]...)
	for i := range edges {
		u := edges[i].from
		g.edges[next[u]] = edges[i]
		next[u]++
	}
	return g
}

func (g *graph) nodes() int { return len(g.first) - 1 }

// out is the edges that leave u.
func (g *graph) out(u int32) []edge { return g.edges[g.first[u]:g.first[u+1]] }

// components numbers the strongly connected components of the edges of the given kinds: nodes of one number reach each
// other. No edge leads to a higher number. Count is how many there are: as many as nodes if nothing is a cycle.
func (g *graph) components(of kinds) (number []int32, count int32) {
	t := &tarjan{graph: g, kinds: of, index: make([]int32, g.nodes()), low: make([]int32, g.nodes()), number: make([]int32, g.nodes())}
	// Late transactions first: then the numbers nearly follow time, and a search that goes by them stays short.
	for u := int32(g.nodes()) - 1; u >= 0; u-- {
		if t.index[u] == 0 {
			t.visit(u)
		}
	}
	return t.number, t.count
}

// tarjan is Tarjan's algorithm (1972), at work.
type tarjan struct {
	*graph
	kinds  kinds
	index  []int32 // order of the visits, from 1; 0 is not visited
	low    []int32 // the lowest index on the stack that is known to be reachable
	number []int32 // absent while on the stack
	stack  []int32
	visits int32
	count  int32
}

// visit recurses as deep as the longest path: some 100 bytes of stack for each transaction, which Go grows as needed.
func (t *tarjan) visit(u int32) {
	t.visits++
	t.index[u], t.low[u] = t.visits, t.visits
	t.stack = append(t.stack, u)
	t.number[u] = absent
	out := t.out(u)
	for i := range out {
		if out[i].kind&t.kinds == 0 {
			continue
		}
		switch v := out[i].to; {
		case t.index[v] == 0:
			t.visit(v)
			t.low[u] = min(t.low[u], t.low[v])
		case t.number[v] == absent: // still on the stack
			t.low[u] = min(t.low[u], t.index[v])
		}
	}
	if t.low[u] == t.index[u] {
		t.complete(u)
	}
}

// complete takes the component of which u was visited first from the stack.
func (t *tarjan) complete(u int32) {
	for {
		v := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.number[v] = t.count
		if v == u {
			t.count++
			return
		}
	}
}
