package client

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptrace"
	"time"
)

// httpTransport carries exchanges over a caller's http.Client.
type httpTransport struct {
	client *http.Client
}

func (t *httpTransport) roundTrip(
	ctx context.Context, e *endpoint, req *request, deadline time.Time,
) (*response, bool, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	connected := make(chan struct{}, 8) // one token for each connection got; redirects may take more
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		select {
		case connected <- struct{}{}:
		default:
		}
	}})
	hreq, err := newHTTPRequest(ctx, e, req)
	if err != nil {
		return nil, false, err
	}
	hresp, err := t.client.Do(hreq)
	if err != nil {
		return nil, len(connected) > 0, err
	}
	defer func() { _ = hresp.Body.Close() }()
	resp := responseFrom(hresp)
	if resp.body, err = readBody(hresp); err != nil {
		return nil, true, err
	}
	return resp, true, nil
}

func newHTTPRequest(ctx context.Context, e *endpoint, req *request) (*http.Request, error) {
	// A copy: net/http may still be writing it when the call has failed and the caller has its slice back.
	body := bytes.NewReader(bytes.Clone(req.body))
	hreq, err := http.NewRequestWithContext(ctx, req.method, e.scheme+"://"+e.addr+req.target, body)
	if err != nil {
		return nil, err
	}
	hreq.GetBody = nil // net/http must not send it a second time on its own
	if req.header != nil {
		hreq.Header = req.header.Clone()
	}
	return hreq, nil
}

func (t *httpTransport) closeIdle() { t.client.CloseIdleConnections() }
