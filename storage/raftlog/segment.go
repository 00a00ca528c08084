package raftlog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// ahead is how far beyond its records a segment is filled with zeros, in bytes. Overwriting blocks that are there
// already spares the fsync a journal commit.
const ahead = 1 << 20

// zeroStep is how much of that is written at a time, in bytes.
const zeroStep = 64 << 10

// segment is one file of the log.
type segment struct {
	info segmentInfo
	seed uint32
	path string
	file File
	end  int64 // where the next record goes
	size int64 // of the file; zeros from end on
	done bool  // its last record names the next segment
}

func openSegment(path string, file File) *segment {
	return &segment{path: path, file: file, end: segmentHeader}
}

func (s *segment) setInfo(info segmentInfo) { s.info, s.seed = info, info.seed() }

// createSegment makes a segment whose header is on disk under its name when createSegment returns.
func createSegment(fs FS, dir string, info segmentInfo, limit int64) (*segment, error) {
	path := filepath.Join(dir, segmentName(info.number))
	file, err := fs.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	s := openSegment(path, file)
	s.setInfo(info)
	if err := s.begin(fs, dir, limit); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("create segment %s: %w", path, err)
	}
	return s, nil
}

func (s *segment) begin(fs FS, dir string, limit int64) error {
	if _, err := s.file.WriteAt(s.info.encode(), 0); err != nil {
		return err
	}
	s.size = segmentHeader
	if err := s.extend(segmentHeader, limit); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	return fs.SyncDir(dir)
}

// write puts rec at end, whose bytes were zero, and moves end. limit is the size a segment should not exceed.
func (s *segment) write(rec []byte, limit int64) error {
	if _, err := s.file.WriteAt(rec, s.end); err != nil {
		return err
	}
	s.end += int64(len(rec))
	if s.end <= s.size {
		return nil
	}
	s.size = s.end
	return s.extend(s.end, limit)
}

// extend fills the file with zeros from its size to the next step above from.
func (s *segment) extend(from, limit int64) error {
	target := (from/ahead + 1) * ahead
	if target > limit {
		target = max(limit, from)
	}
	zeros := make([]byte, min(zeroStep, target-s.size))
	for s.size < target {
		n := min(zeroStep, target-s.size)
		if _, err := s.file.WriteAt(zeros[:n], s.size); err != nil {
			return err
		}
		s.size += n
	}
	return nil
}

// close writes the segment's last record, which says that next follows. It has next's first sequence number, as it is
// no part of the log's contents: a crash before it loses nothing.
func (s *segment) close(next segmentInfo) error {
	room := make([]byte, recordHeader, 2*recordHeader)
	rec := sealRecord(appendShortItem(room, kindNext, 0, next.number), s.seed, next.firstSeq, next.firstSeq-1)
	if err := s.write(rec, 0); err != nil {
		return fmt.Errorf("close segment %s: %w", s.path, err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("close segment %s: %w", s.path, err)
	}
	s.done = true
	return nil
}

// read fills b from off; the segment holds that many bytes.
func (s *segment) read(b []byte, off int64) error {
	n, err := s.file.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return s.corrupt(off, "the file ends at %d, within what was written", off+int64(n))
	}
	return fmt.Errorf("read %s at %d: %w", s.path, off, err)
}

// content returns the whole file, in buf if it is large enough.
func (s *segment) content(buf []byte) ([]byte, error) {
	size, err := s.file.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", s.path, err)
	}
	s.size = size
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	return buf, s.read(buf, 0)
}

func (s *segment) corrupt(off int64, format string, args ...any) error {
	return &CorruptError{File: s.path, Offset: off, Reason: fmt.Sprintf(format, args...)}
}
