package raftlog

import "sort"

// loc is where an entry is: the offset of its item in a segment. segment 0 means that the place is not known yet,
// which only happens while the log is recovered.
type loc struct {
	term    uint64
	segment uint32
	off     uint32
	size    uint32 // of the data, in bytes
}

func (l loc) stored() int64 { return entryHeader + int64(l.size) }

// group is what memory knows of one raft group. Entry markIndex+1+i is at locs[i].
type group struct {
	id        GroupID
	state     State
	hasState  bool
	markIndex uint64
	markTerm  uint64
	locs      []loc
}

func (g *group) last() uint64 { return g.markIndex + uint64(len(g.locs)) }

// at returns the place of an entry, which must be above the mark and at most last.
func (g *group) at(index uint64) *loc { return &g.locs[index-g.markIndex-1] }

func (g *group) lastTerm() uint64 {
	if len(g.locs) == 0 {
		return g.markTerm
	}
	return g.locs[len(g.locs)-1].term
}

func (g *group) term(index uint64) uint64 {
	if index == g.markIndex {
		return g.markTerm
	}
	return g.at(index).term
}

func (g *group) known() bool { return g.hasState || g.markIndex > 0 || len(g.locs) > 0 }

func (g *group) checkpoint() checkpoint {
	return checkpoint{
		state: g.state, hasState: g.hasState,
		markIndex: g.markIndex, markTerm: g.markTerm, last: g.last(),
	}
}

// index finds entries and counts what is live in which segment.
type index struct {
	groups  map[GroupID]*group
	recent  *group // the one used last: operations of a group come in a row
	live    map[uint32]*usage
	entries int
	bytes   int64
}

// usage is what can still be read of a segment.
type usage struct {
	entries int
	bytes   int64
}

func newIndex() *index {
	return &index{groups: make(map[GroupID]*group), live: make(map[uint32]*usage)}
}

// group returns the group, made if need be.
func (x *index) group(id GroupID) *group {
	if x.recent != nil && x.recent.id == id {
		return x.recent
	}
	g := x.groups[id]
	if g == nil {
		g = &group{id: id}
		x.groups[id] = g
	}
	x.recent = g
	return g
}

// sorted returns the groups that anything is known of, by id.
func (x *index) sorted() []*group {
	list := make([]*group, 0, len(x.groups))
	for _, g := range x.groups {
		if g.known() {
			list = append(list, g)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].id < list[j].id })
	return list
}

func (x *index) count(l loc, sign int) {
	if l.segment == 0 {
		return
	}
	u := x.live[l.segment]
	if u == nil {
		u = &usage{}
		x.live[l.segment] = u
	}
	u.entries += sign
	u.bytes += int64(sign) * l.stored()
	x.entries += sign
	x.bytes += int64(sign) * l.stored()
}

// append puts entry i of g at l and drops what g holds from i on.
func (x *index) append(g *group, i uint64, l loc) error {
	if i <= g.markIndex || i > g.last()+1 {
		return invalid("group %d: entry %d appended to entries %d to %d", g.id, i, g.markIndex+1, g.last())
	}
	x.cut(g, i)
	if l.term < g.lastTerm() {
		return invalid("group %d: entry %d has term %d after term %d", g.id, i, l.term, g.lastTerm())
	}
	g.locs = append(g.locs, l)
	x.count(l, 1)
	return nil
}

// cut drops g's entries from i, which is above the mark, on.
func (x *index) cut(g *group, i uint64) {
	keep := i - g.markIndex - 1
	for _, l := range g.locs[keep:] {
		x.count(l, -1)
	}
	g.locs = g.locs[:keep]
}

// move notes that entry i of g is now at l.
func (x *index) move(g *group, i uint64, l loc) error {
	if i <= g.markIndex || i > g.last() {
		return invalid("group %d: moved entry %d is not among %d to %d", g.id, i, g.markIndex+1, g.last())
	}
	old := g.at(i)
	if old.segment != 0 && (old.term != l.term || old.size != l.size) {
		return invalid("group %d: moved entry %d is not the one that was there", g.id, i)
	}
	x.count(*old, -1)
	*old = l
	x.count(l, 1)
	return nil
}

// reset drops all entries of g and goes on after (i, term).
func (x *index) reset(g *group, i, term uint64) {
	x.cut(g, g.markIndex+1)
	g.locs = nil
	g.markIndex, g.markTerm = i, term
}

// compact drops the entries up to (i, term). It copies what is left when that is the smaller part, so that memory
// follows the number of entries at a constant cost for each.
func (x *index) compact(g *group, i, term uint64) error {
	if i <= g.markIndex {
		return nil
	}
	if i > g.last() {
		return invalid("group %d: compaction to %d above its last entry %d", g.id, i, g.last())
	}
	n := i - g.markIndex
	for _, l := range g.locs[:n] {
		x.count(l, -1)
	}
	rest := g.locs[n:]
	if uint64(len(rest)) < n {
		rest = append(make([]loc, 0, len(rest)+len(rest)/4), rest...)
	}
	g.locs, g.markIndex, g.markTerm = rest, i, term
	return nil
}

// setState refuses a state that takes back a promise of the present one.
func setState(g *group, s State) error {
	old := g.state
	switch {
	case !g.hasState:
	case s.Replica < old.Replica:
		return invalid("group %d: replica %d after replica %d", g.id, s.Replica, old.Replica)
	case s.Replica > old.Replica:
	case old.Removed && !s.Removed:
		return invalid("group %d: replica %d was removed", g.id, s.Replica)
	case s.Term < old.Term:
		return invalid("group %d: term %d after term %d", g.id, s.Term, old.Term)
	case s.Term == old.Term && old.Vote != 0 && s.Vote != old.Vote:
		return invalid("group %d: second vote, for %d after %d, in term %d", g.id, s.Vote, old.Vote, s.Term)
	}
	g.state, g.hasState = s, true
	return nil
}

// apply takes over one operation of a record that starts at base in the segment. Trims and checkpoints are not its
// business.
func (x *index) apply(o *op, points []checkpoint, segment uint32, base int64) error {
	g := x.group(o.group)
	at := loc{term: o.term, segment: segment, off: uint32(base) + o.off, size: o.size}
	switch o.kind {
	case kindEntry:
		return x.append(g, o.index, at)
	case kindMoved:
		return x.move(g, o.index, at)
	case kindState:
		return setState(g, points[o.extra].state)
	case kindReset:
		x.reset(g, o.index, o.term)
		return nil
	case kindCompact:
		return x.compact(g, o.index, o.term)
	case kindRemove:
		x.reset(g, 0, 0)
		return nil
	}
	return nil
}
