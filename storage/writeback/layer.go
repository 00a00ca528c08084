package writeback

import (
	"bytes"
	"math"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

// layer is a set of cells in memory, in several versions where views may look at them. Its versions are newer than all
// below it. There are no pointers in it, to whatever number of cells: the collector would follow them all, again and again.
type layer struct {
	index  table         // by tag of the key
	cells  []ref         // their newest versions, in order of arrival: what is done to an engine below depends on no map's order
	groups map[group]int // where in lists
	lists  []list
	arena  arena
	bytes  int // as Batch.Size counts, of the newest versions: what writing the layer down takes
}

// group is the first bytes of a key: of a partition's, all of one column. Scans rarely go beyond one. A short key is padded
// with zeros, which keeps the order of groups that of their keys.
type group uint32

const groupBytes = 3

func groupOf(key []byte) group {
	var b [groupBytes]byte
	copy(b[:], key)
	return group(b[0])<<16 | group(b[1])<<8 | group(b[2])
}

// lastGroup is the last one that may have keys before end.
func lastGroup(end []byte) group {
	switch {
	case end == nil:
		return 1<<(8*groupBytes) - 1
	case len(end) == groupBytes && end[groupBytes-1] != 0:
		return groupOf(end) - 1 // as the end of a column is
	}
	return groupOf(end)
}

// cell is where in a layer's cells one is.
type cell uint32

// list has the cells of a group, in order of arrival.
type list struct {
	group group
	cells []cell
}

// version is what one commit made of a cell.
type version struct {
	commit  uint64
	value   []byte
	deleted bool
	fresh   bool // nothing below the layer has the cell: what was made and removed within it is nothing to write down
}

// nothing tells whether a layer with v of a cell says no more than one without the cell.
func (v *version) nothing() bool { return v.deleted && v.fresh }

// newest is beyond the number of any commit.
const newest = math.MaxUint64

// newLayer returns one that so many cells fit into before its table grows.
func newLayer(cells int) *layer { return &layer{index: newTable(cells), groups: make(map[group]int)} }

// find returns the entry that the commits up to number made of key, 0 if they say nothing.
func (l *layer) find(t tag, key []byte, number uint64) ref {
	return l.behind(l.index.get(t), key, number)
}

// behind does the same from the newest entry with the key's tag on.
func (l *layer) behind(r ref, key []byte, number uint64) ref {
	for r != 0 {
		e := l.arena.at(r)
		if e.commit() <= number && bytes.Equal(e.key(), key) {
			return r
		}
		r = e.next()
	}
	return 0
}

// get returns what the commits up to number made of key; false where they say nothing. l may be nil.
func (l *layer) get(t tag, key []byte, number uint64) (version, bool) {
	if l == nil {
		return version{}, false
	}
	r := l.find(t, key, number)
	if r == 0 {
		return version{}, false
	}
	return l.arena.at(r).version(), true
}

// put takes in a version, which it copies. Views were opened up to commit seen: what they cannot see is not kept. Whether a
// cell is fresh its first version says, or absent: nothing below the layer is known to have it.
func (l *layer) put(t tag, key []byte, v version, seen uint64, absent bool) {
	slot := l.index.slot(t)
	head := slot.entry
	was := l.behind(head, key, newest)
	next, at := head, cell(len(l.cells))
	if was != 0 {
		old := l.arena.at(was)
		at, v.fresh = old.cell(), old.fresh()
		if prior := old.version(); !prior.nothing() {
			l.bytes -= cost(key, len(prior.value))
		}
		if was == head && old.commit() > seen {
			next = old.next()
		}
	}
	v.fresh = v.fresh || absent
	r := l.arena.add(next, t, at, key, v)
	slot.entry = r
	if !v.nothing() {
		l.bytes += cost(key, len(v.value))
	}
	if was != 0 {
		l.cells[at] = r
		return
	}
	l.cells = append(l.cells, r)
	l.enlist(groupOf(key), at)
}

// enlist adds a cell that is new here to its group.
func (l *layer) enlist(g group, c cell) {
	at, known := l.groups[g]
	if !known {
		at = len(l.lists)
		l.groups[g] = at
		if at < cap(l.lists) {
			l.lists = l.lists[:at+1] // with the memory of an earlier use
			l.lists[at] = list{g, l.lists[at].cells[:0]}
		} else {
			l.lists = append(l.lists, list{group: g})
		}
	}
	l.lists[at].cells = append(l.lists[at].cells, c)
}

// cost is as storage.Batch.Size counts.
func cost(key []byte, value int) int { return len(key) + value + storage.WriteOverhead }

// each calls fn for the newest version of every cell, in order of arrival, until it fails.
func (l *layer) each(fn func(e entry) error) error {
	for _, r := range l.cells {
		if err := fn(l.arena.at(r)); err != nil {
			return err
		}
	}
	return nil
}

// collect appends the entries that the commits up to number made of the keys in [start, end), in no order. l may be nil.
func (l *layer) collect(hits []entry, start, end []byte, number uint64) []entry {
	if l == nil {
		return hits
	}
	from, to := groupOf(start), lastGroup(end)
	if from == to {
		at, known := l.groups[from]
		if !known {
			return hits
		}
		return l.collectList(hits, l.lists[at].cells, start, end, number)
	}
	for i := range l.lists {
		if g := l.lists[i].group; g >= from && g <= to {
			hits = l.collectList(hits, l.lists[i].cells, start, end, number)
		}
	}
	return hits
}

func (l *layer) collectList(hits []entry, cells []cell, start, end []byte, number uint64) []entry {
	for _, c := range cells {
		r := l.cells[c]
		key := l.arena.at(r).key()
		if bytes.Compare(key, start) < 0 || end != nil && bytes.Compare(key, end) >= 0 {
			continue
		}
		if r = l.behind(r, key, number); r != 0 {
			hits = append(hits, l.arena.at(r))
		}
	}
	return hits
}

// order sorts hits by key; of those with one key the first collected counts.
func order(hits []entry) []entry {
	slices.SortStableFunc(hits, func(a, b entry) int { return bytes.Compare(a.key(), b.key()) })
	return slices.CompactFunc(hits, func(a, b entry) bool { return bytes.Equal(a.key(), b.key()) })
}

// writeTo commits the layer to an engine, as one batch: it is there as a whole or not at all. Nothing is added to the layer
// any more.
func (l *layer) writeTo(under storage.Engine) error {
	b := under.Batch()
	defer b.Discard()
	err := l.each(func(e entry) error {
		switch {
		case e.deleted() && e.fresh():
			return nil
		case e.deleted():
			return b.Delete(e.key())
		}
		return b.Set(e.key(), e.value())
	})
	if err != nil {
		return err
	}
	return b.Commit()
}

// clear empties a small layer for another use. What was read from it stays as it is if the arena is lent.
func (l *layer) clear(lent bool) {
	const small = 4096
	if len(l.index.slots) > small {
		*l = *newLayer(0)
		return
	}
	l.index.clear()
	clear(l.groups)
	l.cells, l.lists, l.bytes = l.cells[:0], l.lists[:0], 0
	if lent {
		l.arena = arena{}
	}
	l.arena.clear()
}
