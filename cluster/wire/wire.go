// Package wire owns the bytes that nodes exchange: frames, the envelopes in a frame, and the raft messages in an
// envelope. DESIGN.md holds the tables.
//
// It is pure: no I/O but reading a frame from an io.Reader, no clock, no goroutine. It knows nothing about connections
// (package transport) nor about what a request means (package cluster).
//
// Guarantees: every Append function has one encoding for a value, every decoder accepts only that encoding, whole,
// and a decoder never panics and never reads past its input, whatever the input is. Decoded byte slices alias the
// input: whoever owns the buffer must not reuse it while a decoded value lives.
package wire

import "errors"

// ErrMalformed is returned when bytes are not an encoding that this package writes. The connection they came on can
// no longer be trusted.
var ErrMalformed = errors.New("wire: malformed")

// ErrChecksum is returned when a frame's payload does not match its checksum.
var ErrChecksum = errors.New("wire: checksum mismatch")

// ErrTooLarge is returned when a frame says that it is larger than MaxFrame.
var ErrTooLarge = errors.New("wire: frame too large")
