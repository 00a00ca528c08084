package transport

import (
	"errors"
	"fmt"
)

// What a call can end with instead of an answer. All but ErrConnLost and the errors of a context prove that the other node did not begin
// to handle the request: Unsent tells.
var (
	// ErrUnreachable is returned when the request was never written: the node is no peer, or there is no connection.
	ErrUnreachable = errors.New("transport: peer unreachable")
	// ErrConnLost is returned when the connection broke after the request may have been written. Whether it was
	// handled is not known.
	ErrConnLost = errors.New("transport: connection lost")
	// ErrOverloaded is returned when a queue was full, here or at the other node.
	ErrOverloaded = errors.New("transport: overloaded")
	// ErrExpired is returned, with the context's error, when the context had ended before the call was made.
	ErrExpired = errors.New("transport: context ended before the call")
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
	if errors.Is(err, ErrConnLost) {
		return false
	}
	for _, sure := range []error{ErrUnreachable, ErrOverloaded, ErrExpired, ErrTooLarge, ErrClosed} {
		if errors.Is(err, sure) {
			return true
		}
	}
	return false
}
