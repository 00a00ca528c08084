package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// WriteSnapshot streams one partition as r sees it: its Meta and every column but the bookkeeping. The stream checks
// itself, see VerifySnapshot. ErrCorrupt where the data contradicts the Meta; what was written then has no end frame.
func WriteSnapshot(r Reader, id PartitionID, w io.Writer) error {
	meta, err := ReadMeta(r, id)
	if err != nil {
		return fmt.Errorf("snapshot partition %d: %w", id, err)
	}
	s := snapshotWriter{f: frameWriter{w: w}}
	if err := s.write(r, id, &meta); err != nil {
		return fmt.Errorf("snapshot partition %d: %w", id, err)
	}
	return nil
}

type snapshotWriter struct {
	f            frameWriter
	open         bool // a frame of cells is being filled
	cells, bytes uint64
	tally        tally
}

func (s *snapshotWriter) write(r Reader, id PartitionID, meta *Meta) error {
	if err := s.header(id, meta); err != nil {
		return err
	}
	start, end := stateRange(id)
	if err := r.Scan(start, end, false, s.cell); err != nil {
		return err
	}
	if err := s.tally.matches(meta); err != nil {
		return err
	}
	if err := s.closeCells(); err != nil {
		return err
	}
	s.f.begin(frameEnd)
	s.f.buf = binary.AppendUvarint(s.f.buf, s.cells)
	s.f.buf = binary.AppendUvarint(s.f.buf, s.bytes)
	return s.f.end()
}

func (s *snapshotWriter) header(id PartitionID, meta *Meta) error {
	if _, err := io.WriteString(s.f.w, snapshotMagic); err != nil {
		return err
	}
	s.f.begin(frameHeader)
	s.f.buf = binary.AppendUvarint(s.f.buf, uint64(id))
	s.f.buf = appendMeta(s.f.buf, meta)
	return s.f.end()
}

func (s *snapshotWriter) cell(k, v []byte) (bool, error) {
	if err := s.tally.add(k, v); err != nil {
		return false, err
	}
	if !s.open {
		s.f.begin(frameCells)
		s.open = true
	}
	s.f.buf = appendBytes(append(s.f.buf, k[prefixBytes-1]), k[prefixBytes:])
	s.f.buf = appendBytes(s.f.buf, v)
	s.cells++
	s.bytes += uint64(len(k) - prefixBytes + len(v))
	if len(s.f.buf) >= frameFill {
		return true, s.closeCells()
	}
	return true, nil
}

func (s *snapshotWriter) closeCells() error {
	if !s.open {
		return nil
	}
	s.open = false
	return s.f.end()
}

// VerifySnapshot reads a whole snapshot and returns its Meta. ErrCorrupt where it was cut, changed or goes on after its
// end, or where its data contradicts its Meta.
func VerifySnapshot(r io.Reader) (Meta, error) {
	s, err := openSnapshot(r)
	if err != nil {
		return Meta{}, err
	}
	for {
		_, more, err := s.next()
		switch {
		case err != nil:
			return Meta{}, err
		case !more:
			return s.meta, nil
		}
	}
}

// snapshotReader gives a snapshot's cells one by one.
type snapshotReader struct {
	f            frameReader
	id           PartitionID
	meta         Meta
	cells, bytes uint64
	rest         decoder // of the frame at hand
	tally        tally
	key          []byte
}

// cell is a key and value of a partition; both are valid until the next one is read.
type cell struct{ key, value []byte }

func openSnapshot(r io.Reader) (*snapshotReader, error) {
	s := &snapshotReader{f: frameReader{r: r}}
	if err := s.f.magic(); err != nil {
		return nil, err
	}
	kind, d, err := s.f.next()
	if err != nil {
		return nil, err
	}
	id := d.uvarint()
	if kind != frameHeader || d.err != nil || id > uint64(MetaPartition) {
		return nil, corruptf("snapshot: header")
	}
	s.id = PartitionID(id)
	s.meta, err = decodeMeta(d.b)
	return s, err
}

// next returns false after the last cell, when the whole snapshot was found good.
func (s *snapshotReader) next() (cell, bool, error) {
	for len(s.rest.b) == 0 {
		kind, d, err := s.f.next()
		switch {
		case err != nil:
			return cell{}, false, err
		case kind == frameEnd:
			return cell{}, false, s.end(d)
		case kind != frameCells:
			return cell{}, false, corruptf("snapshot: frame of kind %d among cells", kind)
		}
		s.rest = d
	}
	col := column(s.rest.byte())
	s.key = append(appendPrefix(s.key[:0], s.id, col), s.rest.bytes()...)
	c := cell{key: s.key, value: s.rest.bytes()}
	if s.rest.err != nil || col == colMeta {
		return cell{}, false, corruptf("snapshot: cell %d", s.cells)
	}
	s.cells++
	s.bytes += uint64(len(c.key) - prefixBytes + len(c.value))
	return c, true, s.tally.add(c.key, c.value)
}

func (s *snapshotReader) end(d decoder) error {
	cells, bytes := d.uvarint(), d.uvarint()
	if d.finish() != nil || cells != s.cells || bytes != s.bytes {
		return corruptf("snapshot: %d cells of %d bytes, its end says %d of %d", s.cells, s.bytes, cells, bytes)
	}
	if n, err := s.f.r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return corruptf("snapshot: goes on after its end")
	}
	return s.tally.matches(&s.meta)
}
