package ring

import (
	"math/bits"
	"slices"
)

// bitset is a set of partitions.
type bitset []uint64

func (b bitset) has(p int) bool { return b[p>>6]&(1<<(p&63)) != 0 }
func (b bitset) set(p int)      { b[p>>6] |= 1 << (p & 63) }
func (b bitset) clear(p int)    { b[p>>6] &^= 1 << (p & 63) }

// each calls f for every partition of the set, ascending, until f returns false.
func (b bitset) each(f func(p int) bool) {
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			if !f(i<<6 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// rules are what an allocation must obey. The same rules with degree 1, preferences limited to the replicas and no
// limit on zones describe the choice of leaders.
type rules struct {
	degree    int        // places of every partition
	prefers   [][]uint16 // of each partition: who may take a place, the best first
	zone      []int      // of each node
	zoneNodes [][]uint16 // nodes of each zone
	zoneLimit int        // most places of one partition in one zone
	shares    []share    // of each node, in places
}

// allocation is a bipartite graph under work: which node has a place in which partition.
type allocation struct {
	rules
	holders [][]uint16 // of each partition, in order of arrival
	held    []bitset   // of each node
	before  []bitset   // of each node, as it was at the start: taking such a place costs no copy
	fresh   []bool     // nodes that had nothing at the start
	newest  int        // the last node that had nothing at the start, or nobody: ids are given in ascending order
	count   []int      // places of each node
	inZone  []uint16   // partition*zones+zone → places
	empty   int        // places that nobody has, once trimmed
	slack   int        // by how much nodes may exceed their share for now; see balance
}

func newAllocation(r rules) *allocation {
	q, nodes := len(r.prefers), len(r.shares)
	a := &allocation{
		rules:   r,
		holders: make([][]uint16, q),
		held:    newBitsets(nodes, q),
		before:  newBitsets(nodes, q),
		fresh:   make([]bool, nodes),
		count:   make([]int, nodes),
		inZone:  make([]uint16, q*len(r.zoneNodes)),
	}
	slots := make([]uint16, q*r.degree)
	for p := range a.holders {
		a.holders[p] = slots[p*r.degree : p*r.degree : (p+1)*r.degree]
	}
	for v := range a.fresh {
		a.fresh[v] = true
	}
	a.newest = nodes - 1
	a.empty = q * r.degree
	return a
}

func newBitsets(n, size int) []bitset {
	words := (size + 63) / 64
	all := make(bitset, n*words)
	sets := make([]bitset, n)
	for i := range sets {
		sets[i] = all[i*words : (i+1)*words]
	}
	return sets
}

// inherit gives node v the place in p that it had before. Partitions may be left with too many holders: see trim.
func (a *allocation) inherit(p int, v uint16) {
	if a.held[v].has(p) {
		return
	}
	a.before[v].set(p)
	a.fresh[v] = false
	for a.newest >= 0 && !a.fresh[a.newest] {
		a.newest--
	}
	a.add(p, v)
}

func (a *allocation) add(p int, v uint16) {
	a.holders[p] = append(a.holders[p], v)
	a.held[v].set(p)
	a.count[v]++
	a.empty--
	a.inZone[a.cell(p, v)]++
}

func (a *allocation) drop(p int, v uint16) {
	i := slices.Index(a.holders[p], v)
	a.holders[p] = slices.Delete(a.holders[p], i, i+1)
	a.held[v].clear(p)
	a.count[v]--
	a.empty++
	a.inZone[a.cell(p, v)]--
}

func (a *allocation) cell(p int, v uint16) int { return p*len(a.zoneNodes) + a.zone[v] }

// room tells whether the zone of v may have one more place in p.
func (a *allocation) room(p int, v uint16) bool { return int(a.inZone[a.cell(p, v)]) < a.zoneLimit }

// short tells whether p has fewer holders than it should.
func (a *allocation) short(p int) bool { return len(a.holders[p]) < a.degree }

// cost is what it costs to put v into p: a copy of the data, unless v had it before.
func (a *allocation) cost(p int, v uint16) int {
	if a.before[v].has(p) {
		return 0
	}
	return 1
}

// trim drops holders where a partition has too many, altogether or in a zone: those with the most to spare.
func (a *allocation) trim() {
	for p := range a.holders {
		for {
			v, found := a.spare(p)
			if !found {
				break
			}
			a.drop(p, v)
		}
	}
}

// spare returns the holder to drop from p, if one must go.
func (a *allocation) spare(p int) (worst uint16, found bool) {
	many := len(a.holders[p]) > a.degree
	for _, v := range a.holders[p] {
		crowded := int(a.inZone[a.cell(p, v)]) > a.zoneLimit
		if (crowded || many) && (!found || a.surplus(v, worst) > 0) {
			worst, found = v, true
		}
	}
	return worst, found
}

// surplus compares how far two nodes are above their shares: positive if u is further above its share than v.
func (a *allocation) surplus(u, v uint16) int {
	su, sv := a.shares[u], a.shares[v]
	if d := (a.count[u] - su.lo) - (a.count[v] - sv.lo); d != 0 {
		return d
	}
	ru, rv := ratio{su.rem, su.den}, ratio{sv.rem, sv.den}
	switch {
	case ru.less(rv):
		return 1
	case rv.less(ru):
		return -1
	}
	return 0
}
