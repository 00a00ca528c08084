package ring

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// vnodesAtMost is the number of virtual nodes of the heaviest node; the others have them in proportion, at least one.
// Balance does not depend on it, only how evenly a node's partitions scatter.
const vnodesAtMost = 64

// vnode is a virtual node: a place on the hash ring that belongs to a node.
type vnode struct {
	token uint64
	node  uint16
}

// walks returns for every partition all nodes in the order in which a walk along the ring from the partition's token
// meets them: q rows of len(f.nodes) entries.
func walks(f *fleet, q int) [][]uint16 {
	ring := vnodes(f)
	rows := make([][]uint16, q)
	table := make([]uint16, 0, q*len(f.nodes))
	seen := make([]int, len(f.nodes)) // 1 + the last partition that met the node
	start := 0
	for p := range rows {
		token := uint64(p) << shiftFor(q)
		for start < len(ring) && ring[start].token < token {
			start++
		}
		begin := len(table)
		for i := 0; i < len(ring) && len(table)-begin < len(f.nodes); i++ {
			v := ring[(start+i)%len(ring)].node
			if seen[v] != p+1 {
				seen[v] = p + 1
				table = append(table, v)
			}
		}
		rows[p] = table[begin:len(table):len(table)]
	}
	return rows
}

// vnodes returns the hash ring: every node's virtual nodes by ascending token. A virtual node's token depends on
// nothing but the node's id and its number.
func vnodes(f *fleet) []vnode {
	var heaviest uint64
	for _, m := range f.nodes {
		heaviest = max(heaviest, uint64(m.Weight))
	}
	ring := make([]vnode, 0, len(f.nodes)*vnodesAtMost)
	for i, m := range f.nodes {
		count := max(1, uint64(m.Weight)*vnodesAtMost/heaviest)
		for j := range uint32(count) {
			ring = append(ring, vnode{token: token(m.ID, j), node: uint16(i)})
		}
	}
	slices.SortFunc(ring, func(a, b vnode) int {
		return cmp.Or(cmp.Compare(a.token, b.token), cmp.Compare(a.node, b.node))
	})
	return ring
}

func token(id NodeID, number uint32) uint64 {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:4], uint32(id))
	binary.BigEndian.PutUint32(b[4:], number)
	return xxhash.Sum64(b[:])
}
