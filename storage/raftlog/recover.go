package raftlog

import (
	"fmt"
	"path/filepath"
)

// recovery reads the segments in order and rebuilds the index.
type recovery struct {
	l       *Log
	content []byte // of the segment being read; reused
	ops     []op
	points  []checkpoint
	oldest  uint64 // the oldest segment needed, as the last trim said
	clean   bool   // the segment before the last holds nothing beyond its last record
	torn    bool   // the active segment holds something beyond its last record
}

// recover rebuilds what the segments say and leaves the active one ready to be written to.
func (l *Log) recover() error {
	numbers, err := l.list()
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return l.create()
	}
	run := lastRun(numbers)
	r := recovery{l: l}
	for i, n := range run {
		if err := r.segment(n, len(run)-1-i); err != nil {
			return err
		}
	}
	if len(l.segments) == 0 { // only one segment, torn while it was created
		return l.recreate(run[0])
	}
	if err := r.finish(); err != nil {
		return err
	}
	return l.dropStale(numbers, uint32(r.oldest))
}

// list returns the numbers of the segments in the directory, ascending.
func (l *Log) list() ([]uint32, error) {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, name := range names {
		if n, ok := parseSegmentName(name); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// lastRun returns the longest end of numbers without a gap. What is before was deleted, and came back because a crash
// forgot the deletion; finish checks that.
func lastRun(numbers []uint32) []uint32 {
	i := len(numbers) - 1
	for i > 0 && numbers[i-1] == numbers[i]-1 {
		i--
	}
	return numbers[i:]
}

func (l *Log) create() error {
	if l.opt.MustExist || l.opt.MinRecord > 0 {
		return ErrNoLog
	}
	l.id = l.opt.newID()
	return l.begin(1, 1)
}

// recreate begins anew where the very first segment was torn while it was created. Nothing was ever acknowledged.
func (l *Log) recreate(number uint32) error {
	if number != 1 {
		path := filepath.Join(l.dir, segmentName(number))
		return &CorruptError{File: path, Reason: "the segments before it are missing"}
	}
	return l.create()
}

// segment reads one segment, which after others follow. The last one may be torn: at its end, or as a whole, which
// drops it.
func (r *recovery) segment(number uint32, after int) error {
	path := filepath.Join(r.l.dir, segmentName(number))
	file, err := r.l.fs.Open(path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	s := openSegment(path, file)
	r.l.segments = append(r.l.segments, s)
	if r.content, err = s.content(r.content); err != nil {
		return err
	}
	ok, err := r.header(s, number, after == 0)
	if err != nil {
		return err
	}
	if !ok {
		return r.drop(s)
	}
	if err := r.records(s); err != nil {
		return err
	}
	if after > 0 {
		return r.endBefore(s, after)
	}
	return r.end(s)
}

// header reads and checks the segment's header. It reports false if creating the segment was cut short there.
func (r *recovery) header(s *segment, number uint32, last bool) (bool, error) {
	info, ok := parseSegmentInfo(r.content)
	if !ok {
		if last && tornHeader(r.content) {
			return false, nil
		}
		return false, s.corrupt(0, "the segment's header is damaged")
	}
	if info.version != formatVersion {
		return false, fmt.Errorf("%w %d in %s: use a newer program", ErrVersion, info.version, s.path)
	}
	first := len(r.l.segments) == 1
	switch {
	case info.number != number:
		return false, s.corrupt(0, "it is segment %d under the name of segment %d", info.number, number)
	case !first && info.logID != r.l.id:
		return false, s.corrupt(0, "it belongs to another log")
	case !first && info.firstSeq != r.l.seq+1:
		return false, s.corrupt(0, "it starts with record %d where record %d is due", info.firstSeq, r.l.seq+1)
	case first:
		r.l.id, r.l.seq = info.logID, info.firstSeq-1
	}
	s.setInfo(info)
	return true, nil
}

// records replays the segment's intact records and leaves s.end behind the last one.
func (r *recovery) records(s *segment) error {
	for !s.done {
		info, body, ok := parseRecord(r.content[s.end:], s.seed)
		if !ok {
			return nil
		}
		if info.seq != r.l.seq+1 || info.durable >= info.seq {
			return s.corrupt(s.end, "record %d is where record %d is due", info.seq, r.l.seq+1)
		}
		if err := r.replay(s, body); err != nil {
			return s.corrupt(s.end, "record %d: %v", info.seq, err)
		}
		s.end += int64(info.size())
		if !s.done {
			r.l.seq = info.seq
		}
	}
	return nil
}

// replay takes over one record.
func (r *recovery) replay(s *segment, body []byte) error {
	var err error
	r.ops, r.points, err = decodeItems(body, r.ops[:0], r.points[:0])
	if err != nil {
		return err
	}
	opening := r.l.seq+1 == s.info.firstSeq
	if opening {
		return r.checkpoint()
	}
	if len(r.ops) == 1 && r.ops[0].kind == kindNext && r.ops[0].index == uint64(s.info.number)+1 {
		s.done = true
		return nil
	}
	for i := range r.ops {
		o := &r.ops[i]
		switch o.kind {
		case kindTrim:
			r.oldest = max(r.oldest, o.index)
		case kindCheckpoint, kindNext:
			return errItem
		default:
			if err := r.l.index.apply(o, r.points, s.info.number, s.end); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkpoint takes over the first record of a segment: with it the replay starts, or agrees.
func (r *recovery) checkpoint() error {
	first := len(r.l.segments) == 1
	if len(r.ops) == 0 || r.ops[0].kind != kindTrim {
		return errItem
	}
	r.oldest = max(r.oldest, r.ops[0].index)
	known := 0
	for _, o := range r.ops[1:] {
		if o.kind != kindCheckpoint {
			return errItem
		}
		g, c := r.l.index.group(o.group), r.points[o.extra]
		if first {
			if err := g.restore(c); err != nil {
				return err
			}
		} else if g.checkpoint() != c {
			return fmt.Errorf("group %d is not as the records before say", o.group)
		}
		known++
	}
	if known != len(r.l.index.sorted()) {
		return fmt.Errorf("it knows %d groups, the records before %d", known, len(r.l.index.sorted()))
	}
	return nil
}

// restore makes g what c says, with its entries' places still to be found.
func (g *group) restore(c checkpoint) error {
	if c.last < c.markIndex || c.last-c.markIndex > maxRestored {
		return errItem
	}
	g.state, g.hasState = c.state, c.hasState
	g.markIndex, g.markTerm = c.markIndex, c.markTerm
	g.locs = make([]loc, c.last-c.markIndex)
	return nil
}

// maxRestored bounds the memory that a checkpoint can ask for, in entries of a group.
const maxRestored = 1 << 26

// endBefore judges what follows the last intact record of a segment that is not the last one. Only the record that names
// the next segment may be missing or torn, and only if that segment is the last: the sequence number that the next
// segment starts with tells whether anything else is missing.
func (r *recovery) endBefore(s *segment, after int) error {
	opened := r.l.seq >= s.info.firstSeq
	r.clean = s.done || allZero(r.content[s.end:])
	if s.done || opened && after == 1 && tornRecord(r.content, s.end, s.seed) {
		return nil
	}
	return s.corrupt(s.end, "record %d is damaged", r.l.seq+1)
}

// end judges what follows the last intact record of the last segment.
func (r *recovery) end(s *segment) error {
	if s.done {
		return s.corrupt(s.end, "segment %d, which follows, is missing", s.info.number+1)
	}
	if err := judgeTail(s, r.content, r.l.seq+1); err != nil {
		return err
	}
	r.torn = !allZero(r.content[s.end:])
	if r.l.seq < s.info.firstSeq { // not even its checkpoint: nothing else was written to it
		return r.drop(s)
	}
	return nil
}

// drop deletes a last segment that was torn while it was created; the one before it goes on. That one was synced before
// and was not yet told that it has a successor.
func (r *recovery) drop(s *segment) error {
	rest := r.l.segments[:len(r.l.segments)-1]
	if n := len(rest); n > 0 && (rest[n-1].done || !r.clean) {
		return s.corrupt(0, "its header or its first record, which were synced, are damaged")
	}
	r.l.segments, r.torn = rest, false
	if err := s.file.Close(); err != nil {
		return err
	}
	if err := r.l.fs.Remove(s.path); err != nil {
		return err
	}
	return r.l.fs.SyncDir(r.l.dir)
}

// finish checks that nothing is missing, cuts the torn tail and syncs: what was read may so far be in the page cache
// only, and raft will build on it.
func (r *recovery) finish() error {
	front, active := r.l.segments[0], r.l.active()
	if r.oldest < uint64(front.info.number) {
		return front.corrupt(0, "segments %d to %d are missing before it", r.oldest, front.info.number-1)
	}
	if r.oldest > uint64(active.info.number) {
		return active.corrupt(0, "the segments from %d on are missing after it", r.oldest)
	}
	for _, g := range r.l.index.sorted() {
		for i, at := range g.locs {
			if uint64(at.segment) < r.oldest {
				return front.corrupt(0, "entry %d of group %d is in no segment", g.markIndex+1+uint64(i), g.id)
			}
		}
	}
	if r.torn {
		if err := active.file.Truncate(active.end); err != nil {
			return err
		}
		active.size = active.end
	}
	if err := active.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", active.path, err)
	}
	r.l.durable = r.l.seq
	return r.closeBefore(active)
}

// closeBefore makes up for the closing record that a crash prevented, or for its sync: one that was read may so far be in
// the page cache only, and once the log has gone on to yet another segment it must not be missing.
func (r *recovery) closeBefore(active *segment) error {
	if len(r.l.segments) == 1 {
		return nil
	}
	before := r.l.segments[len(r.l.segments)-2]
	if !before.done {
		return before.close(active.info)
	}
	if err := before.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", before.path, err)
	}
	return nil
}

// dropStale deletes the segments below oldest, whose deletion a crash forgot.
func (l *Log) dropStale(numbers []uint32, oldest uint32) error {
	for l.segments[0].info.number < oldest {
		if err := l.segments[0].file.Close(); err != nil {
			return err
		}
		l.segments = l.segments[1:]
	}
	for _, n := range numbers {
		if n >= oldest {
			return nil
		}
		if err := l.fs.Remove(filepath.Join(l.dir, segmentName(n))); err != nil {
			return err
		}
	}
	return nil
}
