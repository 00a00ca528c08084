package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot is a magic, then frames: [length u32 BE][CRC32C u32 BE of length and payload][payload]. A payload is
// [kind u8][frame number uvarint] and what its kind says. The number refuses frames that were lost, doubled or moved.
const snapshotMagic = "RKVSNAP1"

type frameKind uint8

// The kinds of frames. The numbers travel between nodes: append only.
const (
	frameHeader frameKind = 1 // [partition uvarint][meta record]; once, first
	frameCells  frameKind = 2 // ([column u8][key bytes][value bytes])…
	frameEnd    frameKind = 3 // [cells uvarint][their bytes uvarint]; once, last
)

const (
	frameHead = 8
	// frameFill is the payload at which a frame is closed; frameMax is more than a closed frame can hold.
	frameFill = 256 << 10
	frameMax  = frameFill + MaxCellBytes + MaxEngineKeyBytes + 64
)

func frameSum(length, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(length, table), table, payload)
}

// frameWriter writes frames; buf begins with room for the head.
type frameWriter struct {
	w      io.Writer
	buf    []byte
	number uint64
}

func (f *frameWriter) begin(kind frameKind) {
	f.buf = append(f.buf[:0], make([]byte, frameHead)...)
	f.buf = binary.AppendUvarint(append(f.buf, byte(kind)), f.number)
	f.number++
}

func (f *frameWriter) end() error {
	head, payload := f.buf[:frameHead], f.buf[frameHead:]
	binary.BigEndian.PutUint32(head, uint32(len(payload)))
	binary.BigEndian.PutUint32(head[4:], frameSum(head[:4], payload))
	_, err := f.w.Write(f.buf)
	return err
}

// frameReader reads frames and refuses whatever was not written so, as ErrCorrupt.
type frameReader struct {
	r      io.Reader
	buf    []byte
	number uint64
}

func (f *frameReader) magic() error {
	var b [len(snapshotMagic)]byte
	if _, err := io.ReadFull(f.r, b[:]); err != nil {
		return readFault(err)
	}
	if string(b[:]) != snapshotMagic {
		return corruptf("snapshot: not a snapshot of this format")
	}
	return nil
}

// next returns the next frame's payload after kind and number; it is valid until the next call.
func (f *frameReader) next() (frameKind, decoder, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, decoder{}, readFault(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > frameMax {
		return 0, decoder{}, corruptf("snapshot: frame %d of %d bytes", f.number, n)
	}
	if uint32(cap(f.buf)) < n {
		f.buf = make([]byte, n)
	}
	f.buf = f.buf[:n]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		return 0, decoder{}, readFault(err)
	}
	if frameSum(head[:4], f.buf) != binary.BigEndian.Uint32(head[4:]) {
		return 0, decoder{}, corruptf("snapshot: checksum of frame %d", f.number)
	}
	d := decoder{b: f.buf}
	kind := frameKind(d.byte())
	if number := d.uvarint(); number != f.number || d.err != nil {
		return 0, decoder{}, corruptf("snapshot: frame %d where %d belongs", number, f.number)
	}
	f.number++
	return kind, d, nil
}

// readFault tells a stream that was cut, which is corruption, from one that could not be read.
func readFault(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corruptf("snapshot: cut short")
	}
	return fmt.Errorf("read snapshot: %w", err)
}
