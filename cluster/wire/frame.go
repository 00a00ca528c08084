package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	// FrameHeader is the size of what precedes a frame's payload, in bytes.
	FrameHeader = 8
	// MaxFrame is the largest payload of a frame, in bytes.
	MaxFrame = 32 << 20

	// readStep bounds what is allocated ahead of the bytes that have really arrived.
	readStep = 1 << 20
)

// BeginFrame appends room for a frame's header. The payload (envelopes) is appended next, then SealFrame is called.
func BeginFrame(dst []byte) []byte {
	return append(dst, make([]byte, FrameHeader)...)
}

// SealFrame fills in the header of a frame that began at frame[0] and ends with the slice. The payload must be no
// longer than MaxFrame.
func SealFrame(frame []byte) {
	payload := frame[FrameHeader:]
	binary.LittleEndian.PutUint32(frame, uint32(len(payload)))
	binary.LittleEndian.PutUint32(frame[4:], checksum(payload))
}

// ReadFrame reads one frame and returns its payload in a buffer of its own. It returns io.EOF if r ended before the
// frame began, io.ErrUnexpectedEOF if it ended within, ErrTooLarge, ErrChecksum, or what r returned.
func ReadFrame(r io.Reader) ([]byte, error) {
	var header [FrameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(header[:])
	if n > MaxFrame {
		return nil, fmt.Errorf("%d bytes: %w", n, ErrTooLarge)
	}
	payload, err := readPayload(r, int(n))
	if err != nil {
		return nil, err
	}
	if checksum(payload) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, ErrChecksum
	}
	return payload, nil
}

// readPayload reads n bytes. It allocates in growing steps: a header alone must not cost MaxFrame of memory.
func readPayload(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, min(n, readStep))
	for read := 0; ; {
		m, err := io.ReadFull(r, buf[read:])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		read += m
		if read == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 4*read))
		copy(grown, buf)
		buf = grown
	}
}

func checksum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}
