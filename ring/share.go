package ring

import "math/bits"

// share is what a node should hold: lo + rem/den, with rem < den. It is kept as a fraction because every machine must
// round it in the same way.
type share struct {
	lo  int
	rem uint64
	den uint64
}

// hi returns the share rounded up.
func (s share) hi() int {
	if s.rem > 0 {
		return s.lo + 1
	}
	return s.lo
}

// ratio is num/den, den > 0.
type ratio struct{ num, den uint64 }

func (r ratio) less(o ratio) bool {
	ah, al := bits.Mul64(r.num, o.den)
	bh, bl := bits.Mul64(o.num, r.den)
	return ah < bh || ah == bh && al < bl
}

// times returns the share of weight w at r things per unit of weight. num stays under 2^32, so the product fits.
func (r ratio) times(w uint32) share {
	n := r.num * uint64(w)
	return share{lo: int(n / r.den), rem: n % r.den, den: r.den}
}

// filling divides replicas by weight under limits, like water poured into vessels that stand on one floor: all nodes
// rise at the same level (replicas per unit of weight) until one is full, or its zone is; those stay as they are and
// the others go on. The amounts left stay whole numbers throughout, so no rounding happens before the end.
type filling struct {
	fleet      *fleet
	perNode    uint64 // most that a node can hold
	left       uint64 // not yet given to anyone
	weight     uint64 // of the nodes not yet settled
	zoneLeft   []uint64
	zoneWeight []uint64
	settled    []bool
	shares     []share
}

// fairShares divides q*replicas replicas: none above q for a node, nor above q*limit for a zone.
// replicas must be possible under those limits; see zoneLimit.
func fairShares(f *fleet, q, replicas, limit int) []share {
	w := &filling{
		fleet:      f,
		perNode:    uint64(q),
		left:       uint64(q * replicas),
		zoneLeft:   make([]uint64, len(f.members)),
		zoneWeight: make([]uint64, len(f.members)),
		settled:    make([]bool, len(f.nodes)),
		shares:     make([]share, len(f.nodes)),
	}
	for z, nodes := range f.members {
		w.zoneLeft[z] = uint64(q * min(limit, len(nodes)))
	}
	for i, m := range f.nodes {
		w.weight += uint64(m.Weight)
		w.zoneWeight[f.zone[i]] += uint64(m.Weight)
	}
	for w.step() {
	}
	return w.shares
}

// step raises the level to the next limit and settles whom it stops. It returns false when all is given away.
func (w *filling) step() bool {
	if w.weight == 0 {
		return false
	}
	level := ratio{w.left, w.weight}
	node, zone := -1, -1
	for i, m := range w.fleet.nodes {
		if full := (ratio{w.perNode, uint64(m.Weight)}); !w.settled[i] && full.less(level) {
			level, node = full, i
		}
	}
	for z, weight := range w.zoneWeight {
		if weight == 0 {
			continue
		}
		if full := (ratio{w.zoneLeft[z], weight}); full.less(level) {
			level, zone = full, z
		}
	}
	w.settle(level, node, zone)
	return true
}

// settle fixes the share of the zone, else of the node, else of everybody left, at the level.
func (w *filling) settle(level ratio, node, zone int) {
	for i := range w.fleet.nodes {
		switch {
		case w.settled[i], zone >= 0 && w.fleet.zone[i] != zone, zone < 0 && node >= 0 && i != node:
			continue
		}
		w.settled[i] = true
		w.shares[i] = level.times(w.fleet.nodes[i].Weight)
		w.weight -= uint64(w.fleet.nodes[i].Weight)
	}
	switch {
	case zone >= 0:
		w.left -= w.zoneLeft[zone]
		w.zoneLeft[zone], w.zoneWeight[zone] = 0, 0
	case node >= 0:
		z := w.fleet.zone[node]
		w.left -= w.perNode
		w.zoneLeft[z] -= w.perNode
		w.zoneWeight[z] -= uint64(w.fleet.nodes[node].Weight)
	}
}

// leaderShares divides q leaders by weight alone. Nobody's share is above its share of replicas: limits only ever
// lift those that they do not stop, and a zone that is stopped holds at least one replica of every partition.
func leaderShares(f *fleet, q int) []share {
	var total uint64
	for _, m := range f.nodes {
		total += uint64(m.Weight)
	}
	shares := make([]share, len(f.nodes))
	for i, m := range f.nodes {
		shares[i] = ratio{uint64(q), total}.times(m.Weight)
	}
	return shares
}
