package serial

// kinds is a set of kinds of edge. An edge from T to U says that T stands before U in every serial order.
type kinds uint8

const (
	ww kinds = 1 << iota // U appended after T to the same list
	wr                   // U read what T appended
	rw                   // U appended what T did not yet read
)

// edge says for explain why from stands before to, both nodes of the graph.
type edge struct {
	from, to int32
	key      int32 // place in checker.keys
	kind     kinds
	before   int32 // ww and wr: place in appends of what from appended; rw: how many values of the order from read
	after    int32 // ww and rw: place in appends of what to appended; wr: of the last that to read
}

// directEdges is how many edges from readers to unread appends a key may have before they are led through a hub: then their
// number grows with the sum of both instead of the product, but a cycle through the hub is counted one edge too long.
const directEdges = 1 << 12

// link adds an edge, but for that from a transaction to itself.
func (c *checker) link(k *keyHistory, from, to int32, kind kinds, before, after int32) {
	if from != to {
		c.edges = append(c.edges, edge{from, to, k.at, kind, before, after})
	}
}

// connect adds the edges that follow from the order of k, its views and its appends that nobody read.
func (c *checker) connect(k *keyHistory) {
	for i := 1; i < len(k.order); i++ {
		a, b := k.order[i-1], k.order[i]
		c.link(k, k.appends[a].txn, k.appends[b].txn, ww, a, b)
	}
	for i := range k.views {
		if v := &k.views[i]; !v.bad {
			c.connectView(k, v)
		}
	}
	c.connectUnread(k)
}

// connectView puts v between the append that made its version and the next one. Those further away follow through the
// edges between the appends.
func (c *checker) connectView(k *keyHistory, v *view) {
	if len(v.refs) > 0 {
		ref := v.refs[len(v.refs)-1]
		c.link(k, k.appends[ref].txn, v.txn, wr, ref, ref)
	}
	if len(v.refs) < len(k.order) {
		ref := k.order[len(v.refs)]
		c.link(k, v.txn, k.appends[ref].txn, rw, v.version(), ref)
	}
}

// connectUnread puts the appends that took effect, but that no other transaction read, behind all who read the whole order.
// Thus they are behind the order, too, and their order among themselves is not known.
func (c *checker) connectUnread(k *keyHistory) {
	refs := c.unreadAppends(k)
	readers, updater := k.readersOfWhole()
	if updater != nil {
		c.linkReader(k, updater.txn, refs)
	}
	if len(readers)*len(refs) > directEdges {
		c.linkThroughHub(k, readers, refs)
		return
	}
	for _, r := range readers {
		c.linkReader(k, r, refs)
	}
}

// unreadAppends is the first unread append of each transaction that took effect.
func (c *checker) unreadAppends(k *keyHistory) []int32 {
	var refs []int32
	for i := range k.appends {
		if a := &k.appends[i]; a.pos == absent && c.visible[a.txn] {
			if n := len(refs); n == 0 || k.appends[refs[n-1]].txn != a.txn {
				refs = append(refs, int32(i))
			}
		}
	}
	return refs
}

// readersOfWhole is the transactions that read the whole order and do not belong to its unread appends, and apart from
// them one that does. If there are more of those, they are a lost update already, which is worse than any cycle that
// their edges could close.
func (k *keyHistory) readersOfWhole() (readers []int32, updater *view) {
	for i := range k.views {
		v := &k.views[i]
		switch {
		case k.updatesEnd(v):
			updater = v
		case !v.bad && len(v.refs) == len(k.order):
			readers = append(readers, v.txn)
		}
	}
	return readers, updater
}

func (c *checker) linkReader(k *keyHistory, reader int32, refs []int32) {
	for _, ref := range refs {
		c.link(k, reader, k.appends[ref].txn, rw, int32(len(k.order)), ref)
	}
}

// linkThroughHub does for all readers what linkReader does for one. No reader is the transaction of one of refs, so the
// hub closes no cycle that is not there. Only the edge into the hub counts as rw, so there is one for each way through.
func (c *checker) linkThroughHub(k *keyHistory, readers, refs []int32) {
	hub := int32(len(c.txns) + c.hubs)
	c.hubs++
	for _, r := range readers {
		c.link(k, r, hub, rw, int32(len(k.order)), 0)
	}
	for _, ref := range refs {
		c.link(k, hub, k.appends[ref].txn, ww, 0, ref)
	}
}
