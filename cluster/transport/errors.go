package transport

import (
	"errors"
	"fmt"
)

// What a call can end with. All but ErrConnLost and the errors of a context prove that the other node did not begin
// to handle the request: Unsent tells.
var (
	// ErrUnreachable is returned when the request was never written: the node is no peer, or there is no connection.
	ErrUnreachable = errors.New("transport: peer unreachable")
	// ErrConnLost is returned when the connection broke after the request may have been written. Whether it was
	// handled is not known.
	ErrConnLost = errors.New("transport: connection lost")
	// ErrOverloaded is returned when a queue was full, here or at the other node.
	ErrOverloaded = errors.New("transport: overloaded")
	// ErrExpired is returned when the deadline had passed before the other node began to handle the request.
	ErrExpired = errors.New("transport: deadline passed before the request was handled")
	// ErrTooLarge is returned when the request does not fit a frame.
	ErrTooLarge = errors.New("transport: request too large")
	// ErrClosed is returned by calls made after Close.
	ErrClosed = errors.New("transport: closed")
)

// StatusError is returned when the other node handled the request and answered with another status than StatusOK.
type StatusError struct {
	Status uint8
	Body   []byte
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("transport: status %d", e.Status)
}

// Unsent reports whether err, returned by Call, proves that the other node never began to handle the request.
func Unsent(err error) bool {
	for _, sure := range []error{ErrUnreachable, ErrOverloaded, ErrExpired, ErrTooLarge, ErrClosed} {
		if errors.Is(err, sure) {
			return true
		}
	}
	return false
}
