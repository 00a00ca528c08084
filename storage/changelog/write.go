package changelog

import "github.com/ringkv/ringkv/storage"

// Write records changes, before the state that has them is durable; Publish lets others see them, afterwards. Data is
// copied. If the disk refuses them they count as lost, and writers do not hear of it.
func (l *Log) Write(changes []storage.Changes) {
	l.buf = l.buf[:0]
	first := len(l.staged)
	for i := range changes {
		c := &changes[i]
		s := staged{changes: storage.Changes{Partition: c.Partition, From: c.From, Through: c.Through}}
		off := len(l.buf)
		l.buf = appendRecord(l.buf, c)
		if len(c.Data) > 0 {
			s.block = block{through: c.Through, off: uint32(off), size: uint32(len(l.buf) - off)}
		}
		l.staged = append(l.staged, s)
	}
	if err := l.append(l.staged[first:]); err != nil {
		l.lose(l.staged[first:], err)
	}
	if cap(l.buf) > maxBuf {
		l.buf = nil
	}
}

// maxBuf is the capacity that is kept for the next write.
const maxBuf = 1 << 20

// append writes the buffer to the active segment, and tells the staged records where they are.
func (l *Log) append(records []staged) error {
	if l.active == nil || l.active.size >= l.opts.SegmentBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	s := l.active
	if _, err := s.file.WriteAt(l.buf, s.size); err != nil {
		l.mend(s)
		return err
	}
	for i := range records {
		if b := &records[i].block; b.size > 0 {
			b.seg = s
			b.off += uint32(s.size)
		}
	}
	s.size += int64(len(l.buf))
	l.broken = false
	l.mu.Lock()
	l.bytes += int64(len(l.buf))
	l.mu.Unlock()
	return nil
}

func (l *Log) rotate() error {
	s, err := createSegment(l.dir, l.next)
	if err != nil {
		return err
	}
	l.next++
	l.active = s
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = append(l.segments, s)
	l.shrink()
	return nil
}

// maxSegments bounds the number of files: every start begins one.
const maxSegments = 64

// shrink drops the oldest segments of a log that is too long. The last one stays.
func (l *Log) shrink() {
	for len(l.segments) > 1 && (l.bytes > l.opts.MaxBytes-l.opts.SegmentBytes || len(l.segments) > maxSegments) {
		s := l.segments[0]
		l.segments = l.segments[1:]
		l.bytes -= s.size
		for _, t := range l.tracks {
			t.forget(s)
		}
		if err := s.remove(); err != nil {
			l.opts.Logger.Warn("remove a file of the change log", "path", s.path, "err", err)
		}
	}
}

// mend takes back what a failed write may have left at the end of the active segment. Where not even that succeeds, the next
// write begins a new one. It must not be so after every failure: while a disk is full, new files would push out the old.
func (l *Log) mend(s *segment) {
	if s.file.Truncate(s.size) == nil {
		return
	}
	l.active = nil
	if s.size == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dropEmpty(s)
	}
}

// lose gives records up.
func (l *Log) lose(records []staged, err error) {
	if !l.broken {
		l.opts.Logger.Warn("write change log: watchers will miss a part of it, and are told so", "err", err)
	}
	l.broken = true
	for i := range records {
		records[i].lost = true
	}
}

// Publish lets others see what was written.
func (l *Log) Publish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.staged {
		s := &l.staged[i]
		t := l.track(s.changes.Partition)
		t.here = true
		if s.lost {
			t.lose(&s.changes)
			continue
		}
		t.add(s.changes.From, s.changes.Through, s.block)
	}
	clear(l.staged)
	l.staged = l.staged[:0]
	for li := range l.listeners {
		select {
		case li.C <- struct{}{}:
		default:
		}
	}
}
