package wire

import "encoding/binary"

// cursor walks over an encoding. The first read that does not fit makes it bad, and everything read after that is
// zero: decoders read all fields and ask once, through done.
type cursor struct {
	rest []byte
	bad  bool
}

// fail makes the cursor bad.
func (c *cursor) fail() {
	c.rest, c.bad = nil, true
}

func (c *cursor) u8() uint8 {
	if len(c.rest) < 1 {
		c.fail()
		return 0
	}
	v := c.rest[0]
	c.rest = c.rest[1:]
	return v
}

func (c *cursor) u16() uint16 {
	if len(c.rest) < 2 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint16(c.rest)
	c.rest = c.rest[2:]
	return v
}

// uvarint reads a varint in its shortest form; a longer form of the same number is malformed.
func (c *cursor) uvarint() uint64 {
	if len(c.rest) > 0 && c.rest[0] < 0x80 {
		v := uint64(c.rest[0])
		c.rest = c.rest[1:]
		return v
	}
	v, n := binary.Uvarint(c.rest)
	if n <= 0 || c.rest[n-1] == 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

// count reads how many items follow, each at least min bytes long, so that nothing is allocated for items that the
// input cannot hold.
func (c *cursor) count(minBytes int) int {
	n := c.uvarint()
	if n > uint64(len(c.rest)/minBytes) {
		c.fail()
		return 0
	}
	return int(n)
}

// bytes reads a length and that many bytes. They alias the input with their capacity cut, and are never nil unless
// the cursor is bad.
func (c *cursor) bytes() []byte {
	n := c.count(1)
	if c.bad {
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

// done reports ErrMalformed if anything did not fit or if something is left over.
func (c *cursor) done() error {
	if c.bad || len(c.rest) != 0 {
		return ErrMalformed
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
