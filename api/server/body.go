package server

import (
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/ringkv/ringkv/api"
)

// firstRead is what is set aside for a body that does not say how long it is, in bytes.
const firstRead = 4 << 10

// bodyHint returns how much room to set aside for r's body, in bytes: no more than may be stored, and for a large body
// that has yet to arrive no more than a part, so that a header alone cannot claim a megabyte.
func (s *Server) bodyHint(r *http.Request) int {
	const trusted = 64 << 10
	switch n := r.ContentLength; {
	case n < 0:
		return firstRead
	case n > s.cfg.MaxValueBytes:
		return 0
	default:
		return int(min(n, trusted))
	}
}

// readBody reads the whole body of r into dst, which must be empty, growing it as needed. Errors: *api.LimitError,
// api.ErrRequestTimeout, *api.InvalidError if it ends early or its framing is broken. The value is never nil.
func (s *Server) readBody(r *http.Request, dst []byte) ([]byte, error) {
	if r.Header["Content-Range"] != nil { // RFC 9110, 14.5: must not be taken for a whole value
		return nil, &api.InvalidError{Where: "header Content-Range", Detail: "a value can only be put as a whole"}
	}
	limit := s.cfg.MaxValueBytes
	if r.ContentLength > limit {
		return nil, &api.LimitError{What: "value", Limit: limit, Actual: r.ContentLength}
	}
	value, err := readAll(r.Body, dst, int(limit))
	if err != nil {
		return nil, bodyError(err)
	}
	if int64(len(value)) > limit {
		return nil, &api.LimitError{What: "value", Limit: limit}
	}
	return value, nil
}

// readAll appends body to dst and stops after limit+1 bytes.
func readAll(body io.Reader, dst []byte, limit int) ([]byte, error) {
	for len(dst) <= limit {
		if len(dst) == cap(dst) {
			// A body whose room was known ends here: a byte of probing costs less than growing for nothing.
			var probe [1]byte
			n, err := body.Read(probe[:])
			if dst = append(dst, probe[:n]...); err != nil {
				return finishRead(dst, err)
			}
			continue
		}
		n, err := body.Read(dst[len(dst):min(cap(dst), limit+1)])
		if dst = dst[:len(dst)+n]; err != nil {
			return finishRead(dst, err)
		}
	}
	return dst, nil
}

func finishRead(dst []byte, err error) ([]byte, error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return dst, err
}

// bodyError says what a failed read of a body means to its sender.
func bodyError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return detailed{api.ErrRequestTimeout, "the body did not arrive in time"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &api.InvalidError{Where: "body", Detail: "ends before its announced length"}
	default:
		return &api.InvalidError{Where: "body", Detail: err.Error()}
	}
}
