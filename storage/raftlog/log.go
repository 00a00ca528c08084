package raftlog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

const lockName = "LOCK"

// Log is an open log. It has one owner and no lock: every method is called from one goroutine at a time.
type Log struct {
	fs   FS
	dir  string
	opt  Options
	lock io.Closer

	id       uint64
	segments []*segment // numbers without a gap, oldest first; the last is written to
	index    *index
	tail     tail
	seq      uint64 // of the last record written
	durable  uint64 // of the last record known to be synced
	own      Batch  // for the log's own records
	cleaner  cleaner
	stats    Stats
	err      error // final
}

// Open opens the log in dir, which is created if need be, and recovers what the last owner left. It fails with
// *CorruptError, ErrLocked, ErrNoLog, ErrVersion, or the file system's error.
func Open(fs FS, dir string, opt Options) (*Log, error) {
	opt = opt.withDefaults()
	if err := opt.validate(); err != nil {
		return nil, err
	}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	lock, err := fs.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	l := &Log{fs: fs, dir: dir, opt: opt, lock: lock, index: newIndex()}
	l.tail.buf = make([]byte, min(tailBytes, opt.SegmentBytes))
	if err := l.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log: %w", err), l.release())
	}
	return l, nil
}

// start recovers and then writes an empty record: with it on disk, everything before counts as synced, and damage to
// it can no longer be taken for a torn tail.
func (l *Log) start() error {
	if err := l.recover(); err != nil {
		return err
	}
	if l.seq < l.opt.MinRecord {
		s := l.active()
		return s.corrupt(s.end, "the log ends with record %d, but it once had record %d on disk: its end was cut off, or it is an old copy",
			l.seq, l.opt.MinRecord)
	}
	return l.seal()
}

// Durable is the sequence number of the last record that is known to be on disk. It never goes back while the log lasts.
func (l *Log) Durable() uint64 { return l.durable }

// seal writes an empty record and syncs it.
func (l *Log) seal() error {
	l.own.Clear()
	return l.put(&l.own, true)
}

// Write appends the batch as one record: it takes effect as a whole or, after a crash, not at all. With sync it
// returns after everything written so far is on disk. Any error is final, ErrInvalidBatch too: the log refuses
// everything from then on, and only Open tells what the disk holds. An empty batch writes nothing but syncs if asked.
func (l *Log) Write(b *Batch, sync bool) error {
	if l.err != nil {
		return l.err
	}
	var err error
	if !b.Empty() {
		err = l.put(b, sync)
	} else if sync {
		err = l.sync()
	}
	return l.fail(err)
}

// fail makes an error final. What memory holds may never reach the disk, so it is dropped.
func (l *Log) fail(err error) error {
	if err == nil {
		return nil
	}
	l.err = fmt.Errorf("%w: %w", ErrFailed, err)
	l.index = newIndex()
	return fmt.Errorf("write raft log: %w", err)
}

// put writes b as a record, in a new segment if the present one has no room.
func (l *Log) put(b *Batch, sync bool) error {
	b.room()
	size := (int64(len(b.buf))/align + 1) * align
	if size > maxRecordBytes {
		return invalid("a record of %d bytes, over the limit of %d", size, maxRecordBytes)
	}
	if l.full(size) {
		if err := l.roll(); err != nil {
			return err
		}
	}
	if err := l.apply(b); err != nil {
		return err
	}
	if err := l.append(b); err != nil {
		return err
	}
	if sync {
		return l.sync()
	}
	return nil
}

// full reports whether a record of size bytes belongs into a new segment. One that would not fit anywhere goes where
// only the segment's checkpoint is before it.
func (l *Log) full(size int64) bool {
	s := l.active()
	return s.end+size > l.opt.SegmentBytes && l.seq > s.info.firstSeq
}

// apply takes the batch over into memory, at the place where it will be written. It also fills in the terms of
// compactions, which a recovery could not always know.
func (l *Log) apply(b *Batch) error {
	s := l.active()
	for i := range b.ops {
		o := &b.ops[i]
		if o.kind == kindCompact {
			l.fillTerm(b, o)
		}
		if err := l.index.apply(o, b.points, s.info.number, s.end); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) fillTerm(b *Batch, o *op) {
	g := l.index.group(o.group)
	if o.index >= g.markIndex && o.index <= g.last() {
		o.term = g.term(o.index)
		le.PutUint64(b.buf[o.off+16:], o.term)
	}
}

// append writes b's record at the end of the active segment.
func (l *Log) append(b *Batch) error {
	s, items := l.active(), len(b.buf)
	rec := sealRecord(b.buf, s.seed, l.seq+1, l.durable)
	b.buf = rec[:items]
	l.tail.put(s.info.number, s.end, rec)
	if err := s.write(rec, l.opt.SegmentBytes); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	l.seq++
	l.stats.Records++
	return nil
}

// sync makes everything written so far durable.
func (l *Log) sync() error {
	if l.durable == l.seq {
		return nil
	}
	start := time.Now()
	if err := l.active().file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", l.active().path, err)
	}
	l.durable = l.seq
	l.stats.Syncs++
	if l.opt.OnSync != nil {
		l.opt.OnSync(time.Since(start))
	}
	return nil
}

// roll begins the next segment. All before it is synced first, so only the last segment can have a torn tail, and the
// new one is durable with its checkpoint before anything else goes into it: recovery may drop it if it is torn. Then
// the old one is told that it has a successor, so that the loss of the last segment is noticed too.
func (l *Log) roll() error {
	if err := l.sync(); err != nil {
		return err
	}
	old := l.active()
	if err := l.begin(old.info.number+1, l.segments[0].info.number); err != nil {
		return err
	}
	return old.close(l.active().info)
}

// begin creates segment number and writes its checkpoint: the oldest segment needed and all groups.
func (l *Log) begin(number, oldest uint32) error {
	info := segmentInfo{version: formatVersion, number: number, logID: l.id, firstSeq: l.seq + 1}
	s, err := createSegment(l.fs, l.dir, info, l.opt.SegmentBytes)
	if err != nil {
		return err
	}
	l.segments = append(l.segments, s)
	var b Batch
	b.trim(oldest)
	for _, g := range l.index.sorted() {
		b.checkpoint(g.id, g.checkpoint())
	}
	if err := l.append(&b); err != nil {
		return err
	}
	return l.sync()
}

func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

// segment returns the segment of that number, nil if there is none.
func (l *Log) segment(number uint32) *segment {
	i := int64(number) - int64(l.segments[0].info.number)
	if i < 0 || i >= int64(len(l.segments)) {
		return nil
	}
	return l.segments[i]
}

// Stats returns the present counts.
func (l *Log) Stats() Stats {
	s := l.stats
	s.Segments, s.LiveBytes, s.Entries = len(l.segments), l.index.bytes, l.index.entries
	for _, seg := range l.segments {
		s.DiskBytes += seg.size
	}
	return s
}

// Close syncs what was written, closes all files and releases the directory. A log that failed is closed without
// touching its bytes. Close returns ErrClosed the second time.
func (l *Log) Close() error {
	if errors.Is(l.err, ErrClosed) {
		return ErrClosed
	}
	var err error
	if l.err == nil {
		err = l.seal()
	}
	l.err = ErrClosed
	l.index = newIndex()
	return errors.Join(err, l.release())
}

// release closes the files and gives back the directory.
func (l *Log) release() error {
	var err error
	for _, s := range l.segments {
		err = errors.Join(err, s.file.Close())
	}
	l.segments = nil
	return errors.Join(err, l.lock.Close())
}

// newID draws the identity of a log that is created.
func (o Options) newID() uint64 {
	if o.ID != 0 {
		return o.ID
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return le.Uint64(b[:])
}
