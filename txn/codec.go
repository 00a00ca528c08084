package txn

import (
	"encoding/binary"
	"errors"
)

var (
	errShort    = errors.New("truncated")
	errVarint   = errors.New("varint is not minimal or out of range")
	errTrailing = errors.New("trailing bytes")
	errFormat   = errors.New("unknown format")
	errValue    = errors.New("unknown value")
)

// decoder takes an encoding apart from the front; after the first fault every read gives zero. There is one encoding of
// each value.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

// uint reads a minimal varint of at most limit.
func (d *decoder) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	switch {
	case n == 0:
		d.fail(errShort)
		return 0
	case n < 0, n > 1 && d.b[n-1] == 0, v > limit:
		d.fail(errVarint)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes reads a length and as many bytes; they alias the input.
func (d *decoder) bytes() []byte {
	n := d.uint(1<<63 - 1)
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// count reads how many elements follow. Each takes at least one byte, so a lie cannot make the caller allocate.
func (d *decoder) count() int {
	n := d.uint(1<<63 - 1)
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

func (d *decoder) finish() error {
	if d.err == nil && len(d.b) > 0 {
		d.err = errTrailing
	}
	return d.err
}

func appendBytes(dst, v []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

// enum reads a byte of at most last.
func (d *decoder) enum(last byte) byte {
	c := d.byte()
	if c > last {
		d.fail(errValue)
		return 0
	}
	return c
}
