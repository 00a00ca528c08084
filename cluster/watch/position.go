package watch

import (
	"slices"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// position is how far a watcher got: of each partition everything up to a raft index, and of a few partitions the first
// changes of the next entry as well.
type position struct {
	through []uint64
	inside  []inside // ascending, at most one of a partition
}

// inside is where the position stands inside of the entry behind through[part]: the first changes of it are passed.
type inside struct {
	part   ring.PartitionID
	passed uint32
	fresh  bool // the entry is being told: the rest of it comes at once, or is not for this watcher
}

func (p *position) clone() position {
	return position{through: slices.Clone(p.through), inside: slices.Clone(p.inside)}
}

// pass moves behind an event. Events of an entry come together, so that another entry that was being told is over. That does
// not hold of one that the watcher was resumed in: its rest is yet to come.
func (p *position) pass(e *Event) {
	for _, in := range p.inside {
		if in.fresh && (in.part != e.Partition || p.through[in.part]+1 != e.Index) {
			p.reachOne(in.part, p.through[in.part]+1)
			break
		}
	}
	if e.Last {
		p.reachOne(e.Partition, e.Index)
		return
	}
	p.reachOne(e.Partition, e.Index-1)
	p.enter(inside{part: e.Partition, passed: e.Number + 1, fresh: true})
}

func (p *position) enter(in inside) {
	i, found := p.find(in.part)
	if !found {
		p.inside = slices.Insert(p.inside, i, in)
		return
	}
	p.inside[i] = in
}

func (p *position) find(part ring.PartitionID) (int, bool) {
	return slices.BinarySearchFunc(p.inside, part, func(in inside, part ring.PartitionID) int { return int(in.part) - int(part) })
}

// reach raises the position of every partition to at least that of through. Whatever there is up to it is behind us.
func (p *position) reach(through []uint64) {
	for i, index := range through {
		p.reachOne(ring.PartitionID(i), index)
	}
}

func (p *position) reachOne(part ring.PartitionID, index uint64) {
	if index <= p.through[part] {
		return
	}
	p.through[part] = index
	if i, found := p.find(part); found {
		p.inside = slices.Delete(p.inside, i, i+1)
	}
}

// covers tells whether a change is behind the position.
func (p *position) covers(part ring.PartitionID, c *storage.Change) bool {
	switch {
	case c.Index <= p.through[part]:
		return true
	case c.Index > p.through[part]+1:
		return false
	}
	i, found := p.find(part)
	return found && c.Number < p.inside[i].passed
}

// aheadOf tells whether the position is beyond through in any partition.
func (p *position) aheadOf(through []uint64) bool {
	for i, index := range p.through {
		if index > through[i] {
			return true
		}
	}
	return slices.ContainsFunc(p.inside, func(in inside) bool { return p.through[in.part]+1 > through[in.part] })
}
