package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/cluster/watch"
)

// Watches lets the server watch keys. Its methods may be called by any number of goroutines.
type Watches interface {
	// Watch begins to watch the keys with a prefix, from now on or behind a cursor. The server closes the Watch; ctx is for
	// the beginning only. Errors match the sentinels of package api.
	Watch(ctx context.Context, prefix []byte, cursor string) (Watch, error)
	// TxnID is how clients know the transaction that made a change.
	TxnID(e *watch.Event) string
	// WatchStats is called once for each scrape.
	WatchStats() watch.Stats
}

// Watch is a running watch, used by one goroutine.
type Watch interface {
	// Next returns the next event, nil if none came within wait. Errors: watch.ErrLagged, watch.ErrClosed, ctx's.
	Next(ctx context.Context, wait time.Duration) (*watch.Event, error)
	// Cursor is where the watch stands, behind what Next returned.
	Cursor() string
	Close()
}

// WithWatches lets a Server watch keys. Without it the route answers 503 not_ready.
func WithWatches(w Watches) Option { return func(s *Server) { s.watches = w } }

// watchRoutes is the route of watches.
func (s *Server) watchRoutes() []route {
	return []route{{http.MethodGet, api.PathWatch, s.watch}}
}

const (
	// watchPulse is how long a watch is silent at most: then comes a comment, and the id from which to go on.
	watchPulse = 10 * time.Second
	// watchChunk is from how many bytes on events are sent although more are there, in bytes.
	watchChunk = 32 << 10
)

// watch answers GET /v1/watch, until the client leaves or the watch ends.
func (s *Server) watch(c echo.Context) error {
	w, err := s.beginWatch(c.Request())
	if err != nil {
		return err
	}
	defer w.Close()
	st := watchStream{s: s, watch: w, w: c.Response(), out: http.NewResponseController(c.Response().Writer)}
	ctx, cancel := context.WithCancelCause(c.Request().Context())
	defer cancel(nil)
	defer context.AfterFunc(s.watching, func() { cancel(errStopped) })()
	if err := st.run(ctx); err != nil && c.Response().Committed {
		s.cfg.Logger.Debug("watch ended", "err", err)
		panic(http.ErrAbortHandler) // the end of the answer would say that all was well
	}
	return nil
}

func (s *Server) beginWatch(r *http.Request) (Watch, error) {
	q, err := parseQuery(r.URL.RawQuery, watchParams)
	if err != nil {
		return nil, err
	}
	prefix := q.get(api.QueryPrefix)
	if err := checkLimit("query parameter "+api.QueryPrefix, len(prefix), api.MaxKeyBytes); err != nil {
		return nil, err
	}
	ids := r.Header[api.HeaderLastEventID]
	if len(ids) > 1 {
		return nil, &api.InvalidError{Where: "header Last-Event-ID", Detail: "is given twice"}
	}
	cursor := ""
	if len(ids) == 1 {
		cursor = ids[0]
	}
	if s.watches == nil {
		return nil, errNoWatches
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	return s.watches.Watch(ctx, []byte(prefix), cursor)
}

var errNoWatches = detailed{api.ErrNotReady, "this node does not watch keys"}

// watchStream sends events as they come (text/event-stream).
type watchStream struct {
	s     *Server
	watch Watch
	w     *echo.Response
	out   *http.ResponseController
}

// run returns nil at the orderly end of the stream, and else why it has to be cut.
func (st *watchStream) run(ctx context.Context) error {
	_ = st.out.SetReadDeadline(time.Time{}) // the request's own would end the watch; a fake writer in a test has none
	h := st.w.Header()
	h[api.HeaderContentType] = st.s.fixed.eventStream
	h[headerCacheControl] = st.s.fixed.noStore
	h[headerNoSniff] = st.s.fixed.noSniff
	st.w.WriteHeader(http.StatusOK)
	if err := st.position(api.EventReady); err != nil {
		return err
	}
	for {
		e, err := st.watch.Next(ctx, watchPulse)
		switch {
		case err != nil:
			return st.end(ctx, err)
		case e == nil:
			err = st.pulse()
		default:
			err = st.events(ctx, e)
		}
		if err != nil {
			return err
		}
	}
}

// end says how the watch ended, as far as the client can still be told.
func (st *watchStream) end(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, watch.ErrLagged):
		return st.position(api.EventLagged)
	case errors.Is(err, watch.ErrClosed), errors.Is(context.Cause(ctx), errStopped):
		return st.pulse() // the node stops: here is where to go on
	}
	return err
}

// events sends an event, and those that are there already behind it.
func (st *watchStream) events(ctx context.Context, e *watch.Event) error {
	buf := st.s.buffer()
	defer st.s.release(buf)
	*buf = (*buf)[:0]
	for e != nil {
		*buf = append(*buf, e.Form(st.s.watchForm)...)
		*buf = appendID(*buf, st.watch.Cursor())
		if len(*buf) >= watchChunk {
			break
		}
		var err error
		if e, err = st.watch.Next(ctx, 0); err != nil {
			break // Next says so again
		}
	}
	return st.send(*buf)
}

// pulse shows that the stream is alive, and from where to go on: nothing that came before is behind that.
func (st *watchStream) pulse() error {
	return st.send(appendID([]byte(": \n"), st.watch.Cursor()))
}

func (st *watchStream) position(event string) error {
	cursor := st.watch.Cursor()
	data, err := json.Marshal(api.WatchPosition{Cursor: cursor})
	if err != nil {
		return err
	}
	b := append(append([]byte("event: "+event+"\ndata: "), data...), '\n')
	return st.send(appendID(b, cursor))
}

// send writes and flushes. A client that takes nothing for as long as WriteTimeout is given up.
func (st *watchStream) send(b []byte) error {
	_ = st.out.SetWriteDeadline(time.Now().Add(st.s.cfg.WriteTimeout))
	if _, err := st.w.Write(b); err != nil {
		return err
	}
	return st.out.Flush()
}

// watchForm is what all watchers get of an event, all but the id.
func (s *Server) watchForm(e *watch.Event) []byte {
	c := api.WatchChange{Key: e.Key, Value: e.Value, Version: api.Version(e.Version)}
	if !e.Txn.IsZero() {
		c.Txn = s.watches.TxnID(e)
	}
	b := make([]byte, 0, 64+len(e.Key)+len(e.Value)+len(c.Txn))
	b = append(append(append(b, "event: "...), e.Kind.String()...), "\ndata: "...)
	return append(c.AppendJSON(b), '\n')
}

// appendID ends an event.
func appendID(dst []byte, id string) []byte {
	return append(append(append(dst, "id: "...), id...), "\n\n"...)
}
