package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
)

// ErrCursorTooOld is returned by Watch and Next for a cursor behind which changes are forgotten. Read what is wanted anew,
// and watch from then on.
var ErrCursorTooOld = api.ErrCursorTooOld

// EventKind is what happened to a key.
type EventKind string

// The kinds of events.
const (
	EventPut    EventKind = api.EventPut
	EventDelete EventKind = api.EventDelete
	EventExpire EventKind = api.EventExpire // its time to live was over
)

// Event is one change of one key.
type Event struct {
	Kind    EventKind
	Key     string
	Value   []byte // of an EventPut; nil if it was large and is not the present one any more
	Version api.Version
	Txn     string // the transaction that did it, "" if none
	Cursor  string // to go on behind this event: WatchFrom
}

// WatchOption is an option of Watch.
type WatchOption interface{ forWatch(w *Watcher) }

type fromOption struct{ cursor string }

// WatchFrom goes on behind a cursor of an earlier watch of the same prefix, on whatever node that was.
func WatchFrom(cursor string) WatchOption { return fromOption{cursor} }

func (o fromOption) forWatch(w *Watcher) { w.cursor = o.cursor }

// Watcher tells what changes under a prefix. When its node fails, stops, or finds it too slow, it goes on at another one
// where it was. One goroutine uses it; Close may be called from any.
type Watcher struct {
	c      *Client
	prefix string
	cursor string
	route  route
	client *http.Client

	failures int   // attempts in a row that brought nothing
	last     error // what the last of them came to
	stream   *eventStream
	node     *endpoint // whose stream it is

	life context.Context // ends with Close, or with the client's
	end  context.CancelCauseFunc
	once sync.Once
}

// watchSilence is after how long without a sign of life a node is given up; it sends one every 10 s.
const watchSilence = 25 * time.Second

// Watch begins to watch the keys with a prefix, which may be empty. When it returns, everything that is committed from then
// on will be told; with WatchFrom, everything behind the cursor. ctx bounds the beginning only. Close the Watcher.
// Errors: *Error, with ErrCursorTooOld.
func (c *Client) Watch(ctx context.Context, prefix string, opts ...WatchOption) (*Watcher, error) {
	w := &Watcher{c: c, prefix: prefix, client: c.streams()}
	for _, o := range opts {
		o.forWatch(w)
	}
	w.life, w.end = context.WithCancelCause(c.life)
	if err := w.connect(ctx, c.cfg.MaxAttempts); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// streams is the client for answers that do not end.
func (c *Client) streams() *http.Client {
	if c.cfg.HTTPClient != nil {
		return c.cfg.HTTPClient
	}
	return c.streaming
}

// Close ends the watch. Next returns ErrClosed from then on.
func (w *Watcher) Close() {
	w.once.Do(func() { w.end(ErrClosed) })
}

// Cursor is where the watch stands: behind the last event that Next returned, or further if nothing of interest came since.
func (w *Watcher) Cursor() string { return w.cursor }

// Next waits for the next event. It tries nodes until one answers or ctx ends; after an error of ctx it may be called again.
// Errors: *Error, with ErrCursorTooOld if changes were missed for good, with ErrClosed, or with ctx's.
func (w *Watcher) Next(ctx context.Context) (Event, error) {
	for {
		if w.stream == nil {
			if err := w.connect(ctx, 0); err != nil {
				return Event{}, err
			}
		}
		e, err := w.receive(ctx)
		if err == nil {
			w.failures = 0
			return e, nil
		}
		w.drop()
		if why := w.ended(ctx); why != nil {
			return Event{}, w.failed(nil, 0, why)
		}
		if !errors.Is(err, errLagged) { // then there is much to be told: go on at once
			w.node.failed(time.Now())
			w.failures, w.last = w.failures+1, err
			w.c.refreshSoon()
		}
	}
}

// errLagged is why a stream ended that was read too slowly.
var errLagged = errors.New("the watcher fell behind")

// receive reads up to the next event, and moves the cursor with it.
func (w *Watcher) receive(ctx context.Context) (Event, error) {
	defer context.AfterFunc(ctx, w.stream.abort)()
	for {
		m, err := w.stream.next()
		if err != nil {
			return Event{}, err
		}
		if m.id != "" {
			w.cursor = m.id
		}
		switch EventKind(m.event) {
		case EventPut, EventDelete, EventExpire:
			return w.event(&m)
		case api.EventLagged:
			return Event{}, errLagged
		}
	}
}

func (w *Watcher) event(m *message) (Event, error) {
	var c api.WatchChange
	if err := c.UnmarshalJSON(m.data); err != nil {
		return Event{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return Event{Kind: EventKind(m.event), Key: string(c.Key), Value: c.Value, Version: c.Version, Txn: c.Txn, Cursor: w.cursor}, nil
}

// connect opens a stream at some node, behind the cursor. attempts bounds the tries; 0 for no bound.
func (w *Watcher) connect(ctx context.Context, attempts int) error {
	cl := call{op: "watch", key: w.prefix}
	if w.route.nodes == nil {
		w.route = w.c.route(&cl)
	}
	for n := 1; ; n++ {
		if why := w.ended(ctx); why != nil {
			return w.failed(nil, n-1, why)
		}
		if w.failures > 0 && !w.c.pause(ctx, w.failures, verdict{unsent: w.failures == 1}, w.route.fresh()) {
			return w.failed(nil, n-1, withCause(ctx, w.last))
		}
		e := w.route.next(time.Now())
		retry, err := w.open(ctx, e)
		if err == nil {
			e.answered()
			return nil
		}
		w.failures, w.last = w.failures+1, err
		if !retry || n == attempts {
			return w.failed(e, n, err)
		}
		w.c.refreshSoon()
		w.route.nodes = w.c.topo.Load().nodes
	}
}

// open asks one node. retry tells whether asking again may help.
func (w *Watcher) open(ctx context.Context, e *endpoint) (retry bool, err error) {
	s, err := w.request(ctx, e)
	if err != nil {
		if w.ended(ctx) == nil {
			e.failed(time.Now())
		}
		return true, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if s.status != http.StatusOK {
		defer s.close()
		return s.refused()
	}
	defer context.AfterFunc(ctx, s.abort)()
	m, err := s.next()
	switch {
	case err != nil:
		s.close()
		return true, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case m.event != api.EventReady || m.id == "":
		s.close()
		return false, fmt.Errorf("%w: a watch that begins with %q", errMalformed, m.event)
	}
	w.cursor, w.stream, w.node = m.id, s, e
	return false, nil
}

func (w *Watcher) request(ctx context.Context, e *endpoint) (*eventStream, error) {
	life, abort := context.WithCancel(w.life)
	stop := context.AfterFunc(ctx, abort)
	defer stop()
	target := e.scheme + "://" + e.addr + api.PathWatch + "?" + api.QueryPrefix + "=" + url.QueryEscape(w.prefix)
	req, err := http.NewRequestWithContext(life, http.MethodGet, target, nil)
	if err != nil {
		abort()
		return nil, err
	}
	req.Header.Set(api.HeaderAccept, api.TypeEventStream)
	if w.cursor != "" {
		req.Header[api.HeaderLastEventID] = []string{w.cursor}
	}
	silent := time.AfterFunc(watchSilence, abort)
	resp, err := w.client.Do(req) //nolint:bodyclose // the stream's
	if err != nil {
		silent.Stop()
		abort()
		return nil, err
	}
	return newEventStream(resp, abort, silent), nil
}

// drop gives the stream up.
func (w *Watcher) drop() {
	if w.stream != nil {
		w.stream.close()
		w.stream = nil
	}
}

// ended tells why nothing more is to be done, nil if it is.
func (w *Watcher) ended(ctx context.Context) error {
	switch {
	case w.life.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}

func (w *Watcher) failed(e *endpoint, attempts int, err error) error {
	failed := &Error{Op: "watch", Key: w.prefix, Attempts: attempts, Err: err}
	if e != nil {
		failed.Node = e.addr
	}
	return failed
}
