package watch

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"

	"github.com/ringkv/ringkv/ring"
)

// A cursor is a position, for a prefix, in a cluster. On the wire it is base64url, unpadded, of
//
//	format u8, cluster u32, prefix u32, partitions uvarint, the index of each uvarint,
//	then of each partition inside of whose next entry it is: its number uvarint, the changes of it passed uvarint,
//	CRC32C u32 of all before
//
// Cluster and prefix are hashes, and the checksum is against accidents: a forged cursor tells nothing that another would
// not. Integers are big-endian or minimal uvarints, so that a position has one cursor.
const cursorFormat = 1

// maxCursorBytes bounds what is looked at: a cluster has at most 4,096 partitions.
const maxCursorBytes = (4096*binary.MaxVarintLen64 + 64) * 4 / 3

// codec makes the cursors of one watcher.
type codec struct{ cluster, prefix uint32 }

func newCodec(clusterID string, prefix []byte) codec {
	return codec{cluster: hash([]byte(clusterID)), prefix: hash(prefix)}
}

func hash(b []byte) uint32 {
	h := fnv.New64a()
	h.Write(b)
	sum := h.Sum64()
	return uint32(sum ^ sum>>32)
}

func (c codec) encode(p *position) string {
	b := make([]byte, 0, 24+5*len(p.through))
	b = append(b, cursorFormat)
	b = binary.BigEndian.AppendUint32(b, c.cluster)
	b = binary.BigEndian.AppendUint32(b, c.prefix)
	b = binary.AppendUvarint(b, uint64(len(p.through)))
	for _, index := range p.through {
		b = binary.AppendUvarint(b, index)
	}
	for _, in := range p.inside {
		b = binary.AppendUvarint(b, uint64(in.part))
		b = binary.AppendUvarint(b, uint64(in.passed))
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return base64.RawURLEncoding.EncodeToString(b)
}

// decode reads what encode made for the same cluster and prefix, with so many partitions; anything else is ErrBadCursor.
func (c codec) decode(text string, partitions int) (position, error) {
	p, ok := c.parse(text, partitions)
	if !ok || c.encode(&p) != text { // trailing bits, padded integers
		return position{}, ErrBadCursor
	}
	return p, nil
}

func (c codec) parse(text string, partitions int) (position, bool) {
	if len(text) > maxCursorBytes {
		return position{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 1+4+4+4 {
		return position{}, false
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum || body[0] != cursorFormat ||
		binary.BigEndian.Uint32(body[1:]) != c.cluster || binary.BigEndian.Uint32(body[5:]) != c.prefix {
		return position{}, false
	}
	r := uvarints{b: body[9:]}
	if r.next() != uint64(partitions) || r.bad {
		return position{}, false
	}
	p := position{through: make([]uint64, partitions)}
	for i := range p.through {
		p.through[i] = r.next()
	}
	for len(r.b) > 0 {
		if !r.inside(&p) {
			return p, false
		}
	}
	return p, !r.bad
}

// inside reads where the position stands inside of an entry.
func (r *uvarints) inside(p *position) bool {
	part, passed := r.next(), r.next()
	after := len(p.inside) == 0 || len(p.inside) > 0 && uint64(p.inside[len(p.inside)-1].part) < part
	if r.bad || !after || part >= uint64(len(p.through)) || passed == 0 || passed > 1<<32-1 {
		return false
	}
	p.inside = append(p.inside, inside{part: ring.PartitionID(part), passed: uint32(passed)})
	return true
}

// uvarints reads integers; after the first fault bad is set and everything is zero.
type uvarints struct {
	b   []byte
	bad bool
}

func (r *uvarints) next() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}
