package changelog

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/ringkv/ringkv/storage"
)

// A segment is a file of records, [length u32][CRC32C u32][payload], integers little-endian; a payload is the partition,
// From and how far Through is behind it, as uvarints, and Data.
const (
	recordHead = 8
	// maxPayload is more than an engine batch of one partition holds.
	maxPayload = 64 << 20
)

func appendRecord(dst []byte, c *storage.Changes) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, recordHead)...)
	dst = binary.AppendUvarint(dst, uint64(c.Partition))
	dst = binary.AppendUvarint(dst, c.From)
	dst = binary.AppendUvarint(dst, c.Through-c.From)
	dst = append(dst, c.Data...)
	payload := dst[start+recordHead:]
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(dst[start+4:], sum(payload))
	return dst
}

func sum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

// decodeRecord decodes the record that b begins with, aliasing it, and tells its length. errTorn where there is none.
func decodeRecord(b []byte) (c storage.Changes, size int, err error) {
	if len(b) < recordHead {
		return c, 0, errTorn
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > maxPayload || uint64(n) > uint64(len(b)-recordHead) {
		return c, 0, errTorn
	}
	payload := b[recordHead : recordHead+n]
	if sum(payload) != binary.LittleEndian.Uint32(b[4:]) {
		return c, 0, errTorn
	}
	c, err = decodePayload(payload)
	return c, recordHead + int(n), err
}

func decodePayload(b []byte) (storage.Changes, error) {
	var v [3]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return storage.Changes{}, errTorn
		}
		b = b[n:]
	}
	if v[0] > math.MaxUint16 || v[1]+v[2] < v[1] {
		return storage.Changes{}, errTorn
	}
	return storage.Changes{Partition: storage.PartitionID(v[0]), From: v[1], Through: v[1] + v[2], Data: b}, nil
}
