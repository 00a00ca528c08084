package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ringkv/ringkv/api"
)

// maxInput is more than any request may have, bytes: transactions are the largest, and base64 and JSON make them
// larger. The node judges what is smaller.
const maxInput = 4 * api.MaxTxnBytes

// input reads standard input to its end, which may never come: so it gives up when ctx ends, and leaves the reading
// behind for the end of the process. Errors: the cause of ctx's end; an *api.LimitError for more than any request may have.
func (a *app) input(ctx context.Context) ([]byte, error) {
	type read struct {
		b   []byte
		err error
	}
	done := make(chan read, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(a.stdin, maxInput+1))
		done <- read{b, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-done:
		switch {
		case r.err != nil:
			return nil, fmt.Errorf("standard input: %w", r.err)
		case len(r.b) > maxInput:
			return nil, &api.LimitError{What: "standard input", Limit: maxInput}
		}
		return r.b, nil
	}
}
