package cluster

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// appendItem encodes an item of an answer: version, TTL left in ms (0: none), partition, then key, content type and
// value, each with its length. Integers are uvarints.
func appendItem(dst []byte, it *Item) []byte {
	dst = binary.AppendUvarint(dst, uint64(it.Version))
	dst = binary.AppendUvarint(dst, uint64(it.TTL/time.Millisecond))
	dst = binary.AppendUvarint(dst, uint64(it.Partition))
	dst = appendString(dst, it.Key)
	dst = appendString(dst, []byte(it.ContentType))
	return appendString(dst, it.Value)
}

func appendString(dst, s []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// decodeItem decodes what appendItem made, and nothing more.
func decodeItem(b []byte) (Item, error) {
	r := wireReader{b: b}
	it := r.item()
	if r.bad || len(r.b) > 0 {
		return Item{}, errMalformed
	}
	return it, nil
}

const maxTTLMillis = math.MaxInt64 / int64(time.Millisecond)

// wireReader takes a body apart from the front; after the first fault bad is set and everything is zero.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// upTo is uvarint for a number that has a limit.
func (r *wireReader) upTo(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.b, r.bad = nil, true
		return 0
	}
	return v
}

// string aliases the body.
func (r *wireReader) string() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

func (r *wireReader) item() Item {
	it := Item{
		Item:      storage.Item{Version: storage.Version(r.uvarint())},
		TTL:       time.Duration(r.upTo(uint64(maxTTLMillis))) * time.Millisecond,
		Partition: ring.PartitionID(r.upTo(math.MaxUint16)),
	}
	it.Key = r.string()
	it.ContentType = string(r.string())
	it.Value = r.string()
	return it
}
