package raftlog

// Batch collects what one Write makes durable together; operations take effect in the order they were added.
// The zero Batch is ready. It keeps no slice that it is given, and Clear keeps its memory for the next use.
type Batch struct {
	buf    []byte // room for the record's header, then items
	ops    []op
	points []checkpoint
}

// Append adds entries, whose indexes ascend by one, to g. The first index is above the group's compaction mark and at
// most its last index plus one; what the group holds from there on is dropped first. Terms never descend.
func (b *Batch) Append(g GroupID, entries []Entry) {
	b.room()
	for i := range entries {
		e := &entries[i]
		b.add(op{kind: kindEntry, group: g, size: uint32(len(e.Data)), index: e.Index, term: e.Term})
		b.buf = appendEntryItem(b.buf, kindEntry, g, e)
	}
}

// SetState replaces g's State. Write refuses one that would forget a promise: a Replica that a tombstone forbids or
// that is below the present one, a Term below the present one of the same Replica, another Vote in the same Term.
func (b *Batch) SetState(g GroupID, s State) {
	b.room()
	b.add(op{kind: kindState, group: g, extra: int32(len(b.points))})
	b.points = append(b.points, checkpoint{state: s, hasState: true})
	b.buf = appendStateItem(b.buf, kindState, g, s, true)
}

// Reset drops all entries of g, which now goes on after index with term: what follows a snapshot.
func (b *Batch) Reset(g GroupID, index, term uint64) {
	b.room()
	b.add(op{kind: kindReset, group: g, index: index, term: term})
	b.buf = appendMarkItem(b.buf, kindReset, g, index, term)
}

// Compact drops the entries of g up to index, which is at most its last one. Term(index) stays known. An index at or
// below what was compacted before changes nothing.
func (b *Batch) Compact(g GroupID, index uint64) {
	b.room()
	b.add(op{kind: kindCompact, group: g, index: index})
	b.buf = appendMarkItem(b.buf, kindCompact, g, index, 0) // Write fills in the term
}

// Remove drops all entries of g and where they were; g then is as if new, but for the State, which stays.
func (b *Batch) Remove(g GroupID) {
	b.room()
	b.add(op{kind: kindRemove, group: g})
	b.buf = appendShortItem(b.buf, kindRemove, g, 0)
}

// Empty reports whether nothing was added since Clear.
func (b *Batch) Empty() bool { return len(b.ops) == 0 }

// Size is what the batch holds so far, in bytes of its record.
func (b *Batch) Size() int { return len(b.buf) }

// keepBytes is how much memory a cleared batch keeps.
const keepBytes = 4 << 20

// Clear empties the batch.
func (b *Batch) Clear() {
	if cap(b.buf) > keepBytes {
		*b = Batch{}
	}
	b.buf, b.ops, b.points = b.buf[:0], b.ops[:0], b.points[:0]
}

func (b *Batch) room() {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, recordHeader)...)
	}
}

// add notes that o's item starts at the present end of buf.
func (b *Batch) add(o op) {
	o.off = uint32(len(b.buf))
	b.ops = append(b.ops, o)
}

// trim and checkpoint are the log's own operations.

func (b *Batch) trim(number uint32) {
	b.room()
	b.add(op{kind: kindTrim, index: uint64(number)})
	b.buf = appendShortItem(b.buf, kindTrim, 0, number)
}

func (b *Batch) checkpoint(g GroupID, c checkpoint) {
	b.room()
	b.add(op{kind: kindCheckpoint, group: g, extra: int32(len(b.points))})
	b.points = append(b.points, c)
	b.buf = appendCheckpointItem(b.buf, g, c)
}

func (b *Batch) move(g GroupID, e *Entry) {
	b.room()
	b.add(op{kind: kindMoved, group: g, size: uint32(len(e.Data)), index: e.Index, term: e.Term})
	b.buf = appendEntryItem(b.buf, kindMoved, g, e)
}
