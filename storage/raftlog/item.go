package raftlog

import (
	"errors"
	"fmt"
)

// kind tells what an item of a record does. The numbers are on disk: append only.
type kind uint8

const (
	kindEnd        kind = 0 // padding: no more items
	kindEntry      kind = 1 // append an entry, after dropping those at its index and above
	kindMoved      kind = 2 // the entry is now stored here
	kindState      kind = 3 // the group's State
	kindReset      kind = 4 // no entries; the log goes on after (index, term)
	kindCompact    kind = 5 // no entries up to (index, term)
	kindRemove     kind = 6 // no entries, no mark; the State stays
	kindTrim       kind = 7 // segments below the number in index are needed no more
	kindCheckpoint kind = 8 // all that memory knows of the group but where its entries are
	kindNext       kind = 9 // the log goes on in the segment of that number, which is on disk
)

var errItem = errors.New("malformed item")

// op is one item in memory. For entries off is where the item starts in the record and size the length of its data.
// States and checkpoints carry their fields in state and point.
type op struct {
	kind  kind
	group GroupID
	size  uint32
	off   uint32
	index uint64
	term  uint64
	extra int32 // position in the batch's or decoder's list of checkpoints, for kindState and kindCheckpoint
}

// checkpoint is a group without the whereabouts of its entries. As kindState only state is set.
type checkpoint struct {
	state     State
	hasState  bool
	markIndex uint64
	markTerm  uint64
	last      uint64
}

// Lengths of the items on disk, in bytes; an entry's data follows its header.
const (
	markItem       = 24
	stateItem      = 40
	shortItem      = 8
	checkpointItem = 64
)

const (
	flagRemoved  = 1
	flagHasState = 2
)

func appendEntryItem(b []byte, k kind, g GroupID, e *Entry) []byte {
	start := len(b)
	b = append(b, byte(k), e.Type)
	b = le.AppendUint16(b, uint16(g))
	b = le.AppendUint32(b, uint32(len(e.Data)))
	b = le.AppendUint64(b, e.Index)
	b = le.AppendUint64(b, e.Term)
	sum := checksum(checksum(0, b[start:]), e.Data)
	b = le.AppendUint32(b, sum)
	return append(b, e.Data...)
}

func appendMarkItem(b []byte, k kind, g GroupID, index, term uint64) []byte {
	b = append(b, byte(k), 0)
	b = le.AppendUint16(b, uint16(g))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, index)
	return le.AppendUint64(b, term)
}

func appendShortItem(b []byte, k kind, g GroupID, number uint32) []byte {
	b = append(b, byte(k), 0)
	b = le.AppendUint16(b, uint16(g))
	return le.AppendUint32(b, number)
}

func appendStateItem(b []byte, k kind, g GroupID, s State, has bool) []byte {
	var flags byte
	if s.Removed {
		flags |= flagRemoved
	}
	if has {
		flags |= flagHasState
	}
	b = append(b, byte(k), flags)
	b = le.AppendUint16(b, uint16(g))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, s.Replica)
	b = le.AppendUint64(b, s.Term)
	b = le.AppendUint64(b, s.Vote)
	return le.AppendUint64(b, s.Commit)
}

func appendCheckpointItem(b []byte, g GroupID, c checkpoint) []byte {
	b = appendStateItem(b, kindCheckpoint, g, c.state, c.hasState)
	b = le.AppendUint64(b, c.markIndex)
	b = le.AppendUint64(b, c.markTerm)
	return le.AppendUint64(b, c.last)
}

// decodeItems appends the items of an intact record's body to ops and points, which may be reused lists.
// It keeps nothing of body. It fails with errItem on anything that the encoders above do not write.
func decodeItems(body []byte, ops []op, points []checkpoint) ([]op, []checkpoint, error) {
	end := len(body) - 1 // the end byte
	for pos := 0; pos < end && kind(body[pos]) != kindEnd; {
		n, err := itemLength(body[pos:end])
		if err != nil {
			return ops, points, fmt.Errorf("%w at byte %d of the record's body", err, pos)
		}
		item := body[pos : pos+n]
		o := op{kind: kind(item[0]), group: GroupID(le.Uint16(item[2:])), off: uint32(recordHeader + pos)}
		switch o.kind {
		case kindEntry, kindMoved:
			o.size = uint32(n - entryHeader)
			o.index, o.term = le.Uint64(item[8:]), le.Uint64(item[16:])
		case kindReset, kindCompact:
			o.index, o.term = le.Uint64(item[8:]), le.Uint64(item[16:])
		case kindTrim, kindNext:
			o.index = uint64(le.Uint32(item[4:]))
		case kindState, kindCheckpoint:
			o.extra = int32(len(points))
			points = append(points, decodePoint(item))
		}
		ops = append(ops, o)
		pos += n
	}
	return ops, points, nil
}

// itemLength returns how long the item at the start of b is, and fails if b does not hold it whole.
func itemLength(b []byte) (int, error) {
	if len(b) < shortItem {
		return 0, errItem
	}
	n := 0
	switch kind(b[0]) {
	case kindEntry, kindMoved:
		n = entryHeader + int(le.Uint32(b[4:]))
	case kindReset, kindCompact:
		n = markItem
	case kindState:
		n = stateItem
	case kindRemove, kindTrim, kindNext:
		n = shortItem
	case kindCheckpoint:
		n = checkpointItem
	default:
		return 0, errItem
	}
	if n < shortItem || n > len(b) { // below: a length that overflowed
		return 0, errItem
	}
	return n, nil
}

func decodePoint(item []byte) checkpoint {
	c := checkpoint{hasState: item[1]&flagHasState != 0}
	c.state = State{
		Removed: item[1]&flagRemoved != 0,
		Replica: le.Uint64(item[8:]),
		Term:    le.Uint64(item[16:]),
		Vote:    le.Uint64(item[24:]),
		Commit:  le.Uint64(item[32:]),
	}
	if kind(item[0]) == kindCheckpoint {
		c.markIndex, c.markTerm, c.last = le.Uint64(item[40:]), le.Uint64(item[48:]), le.Uint64(item[56:])
	}
	return c
}

// decodeEntry returns the entry that item, header and data, holds. Its Data is a part of item. It reports false unless
// the entry's own checksum holds and it is the wanted one.
func decodeEntry(item []byte, g GroupID, index uint64, at loc) (Entry, bool) {
	data := item[entryHeader:]
	sum := checksum(checksum(0, item[:24]), data)
	k := kind(item[0])
	if sum != le.Uint32(item[24:]) || (k != kindEntry && k != kindMoved) || le.Uint16(item[2:]) != uint16(g) ||
		le.Uint32(item[4:]) != at.size || le.Uint64(item[8:]) != index || le.Uint64(item[16:]) != at.term {
		return Entry{}, false
	}
	e := Entry{Index: index, Term: at.term, Type: item[1]}
	if len(data) > 0 {
		e.Data = data[:len(data):len(data)]
	}
	return e, true
}
