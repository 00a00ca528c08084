package raftlog

import "fmt"

// cleaner is how far the moving of live entries has come. A pass ends at the segment that was written to when it began,
// and the next begins only after the log has grown: the passes' own records cannot keep them going.
type cleaner struct {
	cursor int64  // how far the oldest segment was looked through, in bytes
	until  uint32 // the pass ends at this segment
	resume uint32 // no new pass before this segment exists
}

// keepSegments is how many segments the log may have before Reclaim moves entries to free one.
const keepSegments = 4

// Reclaim frees disk space in a bounded step: it deletes the oldest segments if none of their entries can be read any
// more; otherwise, if more than half of a log of over four segments is dead, it writes the oldest segment's live
// entries again at the end, looking through about maxBytes of it. So a group that lags or sleeps never pins the log. It reports
// whether calling it again would free more. Errors are final as those of Write, *CorruptError too.
func (l *Log) Reclaim(maxBytes int) (more bool, err error) {
	if l.err != nil {
		return false, l.err
	}
	freed, err := l.trim()
	if err != nil {
		return false, l.fail(err)
	}
	if freed || !l.wasteful() {
		return freed && l.wasteful(), nil
	}
	if err := l.clean(int64(maxBytes)); err != nil {
		return false, l.fail(err)
	}
	return true, nil
}

// wasteful reports whether moving the oldest segment's live entries is worth it: a pass over the log frees at least as
// many bytes as it writes.
func (l *Log) wasteful() bool {
	passing := l.segments[0].info.number < l.cleaner.until
	if len(l.segments) <= keepSegments || !passing && l.active().info.number < l.cleaner.resume {
		return false
	}
	var used int64
	for _, s := range l.segments {
		used += s.end
	}
	return 2*l.index.bytes < used
}

// trim deletes the oldest segments without live entries. The record that says so is synced first, with all moves and
// compactions before it; the deletions themselves may be forgotten by a crash.
func (l *Log) trim() (bool, error) {
	n := 0
	for n < len(l.segments)-1 && l.live(l.segments[n]) == 0 {
		n++
	}
	if n == 0 {
		return false, nil
	}
	if err := l.putTrim(l.segments[n].info.number); err != nil {
		return false, err
	}
	for _, s := range l.segments[:n] {
		if err := l.remove(s); err != nil {
			return false, err
		}
	}
	l.segments = append([]*segment(nil), l.segments[n:]...)
	l.cleaner.advance(l.segments[0].info.number, l.active().info.number)
	return true, nil
}

// advance notes that the segments before oldest are gone.
func (c *cleaner) advance(oldest, active uint32) {
	c.cursor = 0
	if c.until > 0 && oldest >= c.until {
		c.until, c.resume = 0, active+keepSegments
	}
}

func (l *Log) live(s *segment) int {
	if u := l.index.live[s.info.number]; u != nil {
		return u.entries
	}
	return 0
}

func (l *Log) putTrim(oldest uint32) error {
	l.own.Clear()
	l.own.trim(oldest)
	return l.put(&l.own, true)
}

func (l *Log) remove(s *segment) error {
	if err := s.file.Close(); err != nil {
		return err
	}
	if err := l.fs.Remove(s.path); err != nil {
		return err
	}
	delete(l.index.live, s.info.number)
	l.stats.Reclaimed++
	return nil
}

// clean looks through records of the oldest segment, at least one, up to about limit bytes, and writes their live
// entries again. No sync: the trim's covers it.
func (l *Log) clean(limit int64) error {
	s, c := l.segments[0], &l.cleaner
	if c.until == 0 {
		c.until = l.active().info.number
	}
	l.own.Clear()
	c.cursor = max(c.cursor, segmentHeader)
	for stop := c.cursor + max(limit, 1); c.cursor < min(stop, s.end); {
		n, err := l.gather(s)
		if err != nil {
			return err
		}
		c.cursor += n
	}
	if l.own.Empty() {
		return nil
	}
	l.stats.MovedBytes += uint64(l.own.Size())
	return l.put(&l.own, false)
}

// gather adds the live entries of the record at the cursor to the log's own batch and returns the record's size.
func (l *Log) gather(s *segment) (int64, error) {
	head := make([]byte, recordHeader)
	if err := s.read(head, l.cleaner.cursor); err != nil {
		return 0, err
	}
	info, ok := parseRecordInfo(head, s.seed)
	if !ok || l.cleaner.cursor+int64(info.size()) > s.end {
		return 0, s.corrupt(l.cleaner.cursor, "the record's header is damaged")
	}
	rec := make([]byte, info.size())
	if err := s.read(rec, l.cleaner.cursor); err != nil {
		return 0, err
	}
	_, body, ok := parseRecord(rec, s.seed)
	if !ok {
		return 0, s.corrupt(l.cleaner.cursor, "record %d fails its checksum", info.seq)
	}
	ops, _, err := decodeItems(body, nil, nil)
	if err != nil {
		return 0, s.corrupt(l.cleaner.cursor, "record %d: %v", info.seq, err)
	}
	return int64(info.size()), l.gatherLive(s, rec, ops)
}

func (l *Log) gatherLive(s *segment, rec []byte, ops []op) error {
	for i := range ops {
		o := &ops[i]
		at := loc{term: o.term, segment: s.info.number, off: uint32(l.cleaner.cursor) + o.off, size: o.size}
		if (o.kind != kindEntry && o.kind != kindMoved) || !l.index.holds(o, at) {
			continue
		}
		e, ok := decodeEntry(rec[o.off:int64(o.off)+at.stored()], o.group, o.index, at)
		if !ok {
			return fmt.Errorf("%w", s.corrupt(int64(at.off), "entry %d of group %d fails its checksum", o.index, o.group))
		}
		l.own.move(o.group, &e)
	}
	return nil
}

// holds reports whether the entry that o stores at that place is the one to be read.
func (x *index) holds(o *op, at loc) bool {
	g := x.groups[o.group]
	return g != nil && o.index > g.markIndex && o.index <= g.last() && *g.at(o.index) == at
}
