package server

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/ringkv/ringkv/api"
)

// cursorVersion is the first byte of a cursor. A new layout takes a new number.
const cursorVersion = 1

// cursorKeysOnly is the one flag in a cursor's second byte.
const cursorKeysOnly = 1

// cursor is where a listing stands, and what it lists. On the wire it is base64url, unpadded, of
//
//	version u8, flags u8, prefix, start, end, position (each: uvarint length, bytes), CRC32C u32 big-endian of all before
//
// The checksum is against accidents (a cut or mixed-up cursor); a forged cursor lists nothing that a query could not.
type cursor struct {
	prefix, start, end string // as the client gave them, "" for absent
	keysOnly           bool
	position           []byte // the first key of the next page, or a string before it
}

// maxCursorBytes bounds what decodeCursor looks at: four keys and a little more, in base64.
const maxCursorBytes = (4*(api.MaxKeyBytes+8) + 16) * 4 / 3

func (c *cursor) encode() string {
	b := []byte{cursorVersion, 0}
	if c.keysOnly {
		b[1] = cursorKeysOnly
	}
	for _, part := range []string{c.prefix, c.start, c.end, string(c.position)} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor reads what encode wrote, and nothing else. Errors: *api.InvalidError.
func decodeCursor(text string) (*cursor, error) {
	if len(text) > maxCursorBytes {
		return nil, errBadCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 2+4 {
		return nil, errBadCursor
	}
	body := b[:len(b)-4]
	if checksum(body) != binary.BigEndian.Uint32(b[len(b)-4:]) || body[0] != cursorVersion || body[1] > cursorKeysOnly {
		return nil, errBadCursor
	}
	c := &cursor{keysOnly: body[1] == cursorKeysOnly}
	var parts [4]string
	rest := body[2:]
	for i := range parts {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return nil, errBadCursor
		}
		parts[i], rest = string(rest[n:n+int(length)]), rest[n+int(length):]
	}
	c.prefix, c.start, c.end, c.position = parts[0], parts[1], parts[2], []byte(parts[3])
	if len(rest) != 0 || c.encode() != text {
		return nil, errBadCursor // trailing bytes, or another spelling of the same
	}
	return c, nil
}

var errBadCursor = invalidParam(api.QueryCursor, "is not a cursor of this server")

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// bounds returns the range of keys that c's query asks for, [low, high), high nil for no upper bound.
func (c *cursor) bounds() (low, high []byte) {
	low, high = []byte(c.prefix), prefixEnd(c.prefix)
	if c.start > c.prefix {
		low = []byte(c.start)
	}
	if c.end != "" && (high == nil || c.end < string(high)) {
		high = []byte(c.end)
	}
	if bytes.Compare(c.position, low) > 0 {
		low = c.position
	}
	return low, high
}

// prefixEnd returns the first string above every string that begins with prefix, nil if there is none.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for len(end) > 0 {
		if end[len(end)-1]++; end[len(end)-1] != 0 {
			return end
		}
		end = end[:len(end)-1]
	}
	return nil
}
