package changelog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/storage"
)

// segment is one file. The log's mutex guards users and dropped.
type segment struct {
	number  uint64
	path    string
	file    *os.File
	size    int64
	users   int
	dropped bool
}

const segmentSuffix = ".changes"

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, segmentSuffix))
}

func createSegment(dir string, number uint64) (*segment, error) {
	path := segmentPath(dir, number)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return &segment{number: number, path: path, file: f}, nil
}

// segmentNumbers lists the segments of a directory, oldest first; other files are not ours.
func segmentNumbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if n, err := strconv.ParseUint(name, 16, 64); ok && err == nil && len(name) == 16 {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// openSegment reads a segment and visits its records up to the first that is torn.
func openSegment(dir string, number uint64, visit func(*segment, int64, int, *storage.Changes)) (*segment, error) {
	path := segmentPath(dir, number)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, path: path, file: f}
	for {
		c, size, err := decodeRecord(b[s.size:])
		if err != nil {
			return s, nil //nolint:nilerr // the end: a crash may cut the last record, and nothing behind it counts
		}
		visit(s, s.size, size, &c)
		s.size += int64(size)
	}
}

// read reads a record.
func (s *segment) read(off, size uint32) (storage.Changes, error) {
	b := make([]byte, size)
	if _, err := s.file.ReadAt(b, int64(off)); err != nil {
		return storage.Changes{}, err
	}
	c, _, err := decodeRecord(b)
	return c, err
}

// remove deletes the file; it is closed once nobody reads it.
func (s *segment) remove() error {
	s.dropped = true
	err := os.Remove(s.path)
	if s.users == 0 {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// release ends one use.
func (s *segment) release() {
	if s.users--; s.users == 0 && s.dropped {
		_ = s.file.Close() // it was only read
	}
}
