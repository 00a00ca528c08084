package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The most that a node's answer may hold, bytes: of headers, and of body (a page of 1000 values of the default limit
// never comes near; a node that sends more is not believed).
const (
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 64 << 20
)

// request is one exchange, whatever carries it.
type request struct {
	method string
	target string      // escaped path and query, from the first slash on
	header http.Header // canonical names; values without control characters; nil for none
	body   []byte      // sent with its length if there is any or method is PUT; not kept after the exchange
}

// transport carries one exchange to one node. Used by any number of goroutines.
type transport interface {
	// roundTrip sends req to e and reads the whole answer, at most until deadline or the end of ctx.
	// If sent is false, no byte of req has left this process, and err is set.
	roundTrip(ctx context.Context, e *endpoint, req *request, deadline time.Time) (resp *response, sent bool, err error)
	// closeIdle closes the connections that no exchange uses.
	closeIdle()
}

// readBody reads resp's body to its end, within the limit.
func readBody(resp *http.Response) ([]byte, error) {
	if n := resp.ContentLength; n > maxBodyBytes {
		return nil, fmt.Errorf("%w: body of %d bytes", errMalformed, n)
	} else if n >= 0 {
		body := make([]byte, n)
		_, err := io.ReadFull(resp.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1))
	if err == nil && len(body) > maxBodyBytes {
		err = fmt.Errorf("%w: body of more than %d bytes", errMalformed, maxBodyBytes)
	}
	return body, err
}
