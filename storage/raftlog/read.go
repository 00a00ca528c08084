package raftlog

import "fmt"

// FirstIndex returns the index of g's first entry, or the one it would have: 1 for an unknown group.
func (l *Log) FirstIndex(g GroupID) uint64 {
	if grp := l.index.groups[g]; grp != nil {
		return grp.markIndex + 1
	}
	return 1
}

// LastIndex returns the index of g's last entry; of its compaction mark if it has none; 0 for an unknown group.
func (l *Log) LastIndex(g GroupID) uint64 {
	if grp := l.index.groups[g]; grp != nil {
		return grp.last()
	}
	return 0
}

// State returns the State last set for g, and false if none ever was.
func (l *Log) State(g GroupID) (State, bool) {
	if grp := l.index.groups[g]; grp != nil {
		return grp.state, grp.hasState
	}
	return State{}, false
}

// Groups returns the ids of all groups that have a State, an entry or a mark, ascending.
func (l *Log) Groups() []GroupID {
	list := l.index.sorted()
	ids := make([]GroupID, len(list))
	for i, g := range list {
		ids[i] = g.id
	}
	return ids
}

// Term returns the term of entry i of g, also for i at the compaction mark; index 0 has term 0. It fails with
// ErrCompacted below the mark, ErrUnavailable above the last entry. It reads nothing from disk.
func (l *Log) Term(g GroupID, i uint64) (uint64, error) {
	if l.err != nil {
		return 0, l.err
	}
	grp := l.index.groups[g]
	switch {
	case grp == nil && i == 0:
		return 0, nil
	case grp == nil || i > grp.last():
		return 0, fmt.Errorf("term of entry %d of group %d: %w", i, g, ErrUnavailable)
	case i < grp.markIndex:
		return 0, fmt.Errorf("term of entry %d of group %d: %w", i, g, ErrCompacted)
	}
	return grp.term(i), nil
}

// Entries returns the entries [lo, hi) of g: all of them, or as many from lo on, at least one, as take up no more than
// maxBytes in the log (28 bytes and the data each). The caller owns the entries; their data shares one allocation.
// Every entry's checksum is verified, so that it fails with *CorruptError rather than return damaged bytes. It fails
// with ErrCompacted or ErrUnavailable if not all of [lo, hi) is in the log.
func (l *Log) Entries(g GroupID, lo, hi, maxBytes uint64) ([]Entry, error) {
	if l.err != nil {
		return nil, l.err
	}
	if lo >= hi {
		return nil, nil
	}
	grp := l.index.groups[g]
	switch {
	case grp == nil || hi > grp.last()+1:
		return nil, fmt.Errorf("entries %d to %d of group %d: %w", lo, hi-1, g, ErrUnavailable)
	case lo <= grp.markIndex:
		return nil, fmt.Errorf("entries %d to %d of group %d: %w", lo, hi-1, g, ErrCompacted)
	}
	locs, bytes := within(grp.locs[lo-grp.markIndex-1:hi-grp.markIndex-1], maxBytes)
	entries := make([]Entry, 0, len(locs))
	buf := make([]byte, bytes)
	for len(locs) > 0 {
		run, size := adjacent(locs)
		if err := l.readAt(locs[0], buf[:size]); err != nil {
			return nil, err
		}
		var err error
		entries, err = l.decode(entries, g, lo+uint64(len(entries)), locs[:run], buf[:size])
		if err != nil {
			return nil, err
		}
		locs, buf = locs[run:], buf[size:]
	}
	return entries, nil
}

// within returns the places, from the first on, that take up at most limit bytes, at least one, and their bytes.
func within(locs []loc, limit uint64) ([]loc, int64) {
	sum := locs[0].stored()
	for i, at := range locs[1:] {
		if uint64(sum+at.stored()) > limit {
			return locs[:i+1], sum
		}
		sum += at.stored()
	}
	return locs, sum
}

// adjacent returns how many of locs, from the first on, lie side by side in one segment, and their bytes.
func adjacent(locs []loc) (int, int64) {
	first, sum := locs[0], locs[0].stored()
	for i, at := range locs[1:] {
		if at.segment != first.segment || int64(at.off) != int64(first.off)+sum {
			return i + 1, sum
		}
		sum += at.stored()
	}
	return len(locs), sum
}

// readAt fills b with what is stored from at on.
func (l *Log) readAt(at loc, b []byte) error {
	if l.tail.get(at.segment, int64(at.off), b) {
		return nil
	}
	return l.segment(at.segment).read(b, int64(at.off))
}

// decode appends the entries stored side by side in b, from index on.
func (l *Log) decode(entries []Entry, g GroupID, index uint64, locs []loc, b []byte) ([]Entry, error) {
	for _, at := range locs {
		e, ok := decodeEntry(b[:at.stored()], g, index, at)
		if !ok {
			return nil, l.segment(at.segment).corrupt(int64(at.off), "entry %d of group %d fails its checksum", index, g)
		}
		entries = append(entries, e)
		b, index = b[at.stored():], index+1
	}
	return entries, nil
}
