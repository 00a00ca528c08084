package client

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/api"
)

// Item is one key as it was read.
type Item struct {
	Key         string
	Value       []byte // the caller's to keep; nil in a listing of keys only
	Version     api.Version
	TTL         time.Duration   // left when it was read, 0 if it never expires
	ContentType string          // empty in a listing
	Partition   api.PartitionID // zero in a listing
}

// PutResult is what a Put did.
type PutResult struct {
	Version api.Version // of the key now
	Created bool        // the key did not exist before
}

// Get returns the key's present value and version. Errors: *Error; ErrNotFound.
func (c *Client) Get(ctx context.Context, key string, opts ...GetOption) (Item, error) {
	var r reading
	for _, o := range opts {
		o.forGet(&r)
	}
	cl := &call{op: "get", key: key, near: key, stale: r.stale, req: request{method: http.MethodGet, target: keyTarget(key)}}
	if r.stale {
		cl.req.target += "?" + api.QueryConsistency + "=" + string(api.Stale)
	}
	if err := checkKey(key); err != nil {
		return Item{}, &Error{Op: cl.op, Key: key, Err: err}
	}
	resp, err := c.do(ctx, cl)
	if err != nil {
		return Item{}, err
	}
	item, err := itemFrom(key, resp)
	if err != nil {
		return Item{}, &Error{Op: cl.op, Key: key, Err: err}
	}
	return item, nil
}

// itemFrom reads the answer to a GET of key.
func itemFrom(key string, resp *response) (Item, error) {
	version, err := versionFrom(resp)
	if err != nil {
		return Item{}, err
	}
	item := Item{Key: key, Value: resp.body, Version: version, ContentType: resp.contentType}
	if s := resp.partition; s != "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return Item{}, fmt.Errorf("%w: header %s: %w", errMalformed, api.HeaderPartition, err)
		}
		item.Partition = api.PartitionID(n)
	}
	if s := resp.ttlMs; s != "" {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return Item{}, fmt.Errorf("%w: header %s: %w", errMalformed, api.HeaderTTLMs, err)
		}
		item.TTL = time.Duration(ms) * time.Millisecond
	}
	return item, nil
}

// Put stores value under key. Without options it replaces whatever is there and its time to live.
// Errors: *Error; ErrConditionFailed; ErrUnknownOutcome if the value may or may not have been stored, or may be later.
func (c *Client) Put(ctx context.Context, key string, value []byte, opts ...PutOption) (PutResult, error) {
	var w writing
	for _, o := range opts {
		o.forPut(&w)
	}
	cl := &call{op: "put", key: key, near: key, write: true, req: w.request(http.MethodPut, key, value)}
	resp, err := c.write(ctx, cl)
	if err != nil {
		return PutResult{}, err
	}
	version, err := versionFrom(resp)
	if err != nil { // it is done, but by whose account?
		return PutResult{}, &Error{Op: cl.op, Key: key, Outcome: api.Committed, Err: err}
	}
	return PutResult{Version: version, Created: resp.status == http.StatusCreated}, nil
}

// Delete removes key, whether or not it exists.
// Errors: *Error; ErrConditionFailed; ErrUnknownOutcome if the key may or may not have been removed, or may be later.
func (c *Client) Delete(ctx context.Context, key string, opts ...DeleteOption) error {
	var w writing
	for _, o := range opts {
		o.forDelete(&w)
	}
	_, err := c.write(ctx, &call{op: "delete", key: key, near: key, write: true, req: w.request(http.MethodDelete, key, nil)})
	return err
}

// write checks cl and carries it out.
func (c *Client) write(ctx context.Context, cl *call) (*response, error) {
	err := checkKey(cl.key)
	if err == nil {
		err = checkHeader(cl.req.header)
	}
	if err != nil {
		return nil, &Error{Op: cl.op, Key: cl.key, Outcome: api.Aborted, Err: err}
	}
	return c.do(ctx, cl)
}

func (w *writing) request(method, key string, body []byte) request {
	req := request{method: method, target: keyTarget(key), header: w.header, body: body}
	if len(w.query) > 0 {
		req.target += "?" + w.query.Encode()
	}
	return req
}

// keyTarget is the path of key.
func keyTarget(key string) string {
	dst := make([]byte, 0, len(api.PathKV)+1+len(key)+len(key)/2)
	dst = append(append(dst, api.PathKV...), '/')
	return string(api.AppendKeyPath(dst, []byte(key)))
}

// checkKey refuses keys that no node would take. Errors: *api.InvalidError, *api.LimitError.
func checkKey(key string) error {
	switch {
	case key == "":
		return &api.InvalidError{Where: "key", Detail: "is empty"}
	case len(key) > api.MaxKeyBytes:
		return &api.LimitError{What: "key", Limit: api.MaxKeyBytes, Actual: int64(len(key))}
	}
	return nil
}

// checkHeader refuses values that would end a header line. Errors: *api.InvalidError.
func checkHeader(h http.Header) error {
	for name, values := range h {
		for _, v := range values {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return &api.InvalidError{Where: "header " + name, Detail: "holds a control character"}
			}
		}
	}
	return nil
}

// versionFrom reads the ETag of an answer.
func versionFrom(resp *response) (api.Version, error) {
	version, ok := api.ParseETag(resp.etag)
	if !ok {
		return 0, fmt.Errorf("%w: status %d with ETag %q", errMalformed, resp.status, resp.etag)
	}
	return version, nil
}
