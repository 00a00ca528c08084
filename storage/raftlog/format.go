package raftlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Sizes of the format, in bytes. Records start at multiples of align, so that a record's header lies within one disk
// sector and is therefore either there as a whole or still zero after a power cut.
const (
	align         = 32
	sector        = 512
	segmentHeader = 64
	recordHeader  = 32
	entryHeader   = 28

	formatVersion = 1
	// Headers end in mark and records in endByte, both with a last byte that is not zero: a write torn at any byte
	// leaves a zero there, a flipped bit does not.
	mark    uint32 = 0xA5564B52
	endByte byte   = 0xA5
)

var (
	magic      = [8]byte{'r', 'k', 'v', 'r', 'l', 'o', 'g', 0}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func checksum(seed uint32, b []byte) uint32 { return crc32.Update(seed, castagnoli, b) }

// segmentInfo is the content of a segment's header.
type segmentInfo struct {
	version  uint32
	number   uint32
	logID    uint64
	firstSeq uint64 // sequence number of its first record
}

func (s segmentInfo) encode() []byte {
	b := make([]byte, segmentHeader)
	copy(b, magic[:])
	le.PutUint32(b[8:], s.version)
	le.PutUint32(b[12:], s.number)
	le.PutUint64(b[16:], s.logID)
	le.PutUint64(b[24:], s.firstSeq)
	le.PutUint32(b[56:], checksum(0, b[:56]))
	le.PutUint32(b[60:], mark)
	return b
}

// parseSegmentInfo reports false where b does not start with an intact segment header.
func parseSegmentInfo(b []byte) (segmentInfo, bool) {
	if len(b) < segmentHeader || [8]byte(b[:8]) != magic || le.Uint32(b[60:]) != mark ||
		le.Uint32(b[56:]) != checksum(0, b[:56]) {
		return segmentInfo{}, false
	}
	return segmentInfo{
		version:  le.Uint32(b[8:]),
		number:   le.Uint32(b[12:]),
		logID:    le.Uint64(b[16:]),
		firstSeq: le.Uint64(b[24:]),
	}, true
}

// seed starts the checksum of every record header of the segment: bytes that only look like a record, because a value
// holds a piece of some log, do not pass for one here.
func (s segmentInfo) seed() uint32 {
	var b [16]byte
	le.PutUint64(b[:], s.logID)
	le.PutUint32(b[8:], s.number)
	return checksum(0, b[:])
}

// recordInfo is the content of a record's header.
type recordInfo struct {
	length  uint32 // of the body, with padding and end byte
	crc     uint32 // of the body
	seq     uint64 // 1, 2, 3, … over the whole log
	durable uint64 // the last sequence number known to be synced when this record was written
}

func (r recordInfo) size() int { return recordHeader + int(r.length) }

// parseRecordInfo reports false where b does not start with an intact record header.
func parseRecordInfo(b []byte, seed uint32) (recordInfo, bool) {
	if len(b) < recordHeader || le.Uint32(b[28:]) != mark || le.Uint32(b[24:]) != checksum(seed, b[:24]) {
		return recordInfo{}, false
	}
	r := recordInfo{length: le.Uint32(b), crc: le.Uint32(b[4:]), seq: le.Uint64(b[8:]), durable: le.Uint64(b[16:])}
	return r, r.length > 0 && r.size()%align == 0 && r.size() <= maxRecordBytes
}

// parseRecord returns the header and body of the intact record that b starts with, and false if there is none.
func parseRecord(b []byte, seed uint32) (recordInfo, []byte, bool) {
	r, ok := parseRecordInfo(b, seed)
	if !ok || r.size() > len(b) {
		return recordInfo{}, nil, false
	}
	body := b[recordHeader:r.size()]
	if body[len(body)-1] != endByte || checksum(0, body) != r.crc {
		return recordInfo{}, nil, false
	}
	return r, body, true
}

// sealRecord pads buf, which holds recordHeader bytes of room and then items, to a whole record and fills in its
// header. It returns the record, which may be buf grown.
func sealRecord(buf []byte, seed uint32, seq, durable uint64) []byte {
	end := (len(buf)/align + 1) * align
	for len(buf) < end {
		buf = append(buf, 0)
	}
	buf[end-1] = endByte
	body := buf[recordHeader:]
	le.PutUint32(buf, uint32(len(body)))
	le.PutUint32(buf[4:], checksum(0, body))
	le.PutUint64(buf[8:], seq)
	le.PutUint64(buf[16:], durable)
	le.PutUint32(buf[24:], checksum(seed, buf[:24]))
	le.PutUint32(buf[28:], mark)
	return buf
}

func segmentName(number uint32) string { return fmt.Sprintf("%010d.seg", number) }

// parseSegmentName reports false for names that segmentName does not give.
func parseSegmentName(name string) (uint32, bool) {
	var n uint32
	if _, err := fmt.Sscanf(name, "%010d.seg", &n); err != nil || n == 0 {
		return 0, false
	}
	return n, name == segmentName(n)
}
