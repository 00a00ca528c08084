package server

import (
	"context"
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

// watch answers GET /v1/watch. The stream goes on without the handler, until the client leaves or the watch ends.
func (s *Server) watch(c echo.Context) error {
	w, err := s.beginWatch(c.Request())
	if err != nil {
		return err
	}
	line, err := s.takeOver(c)
	if err != nil {
		w.Close()
		return err
	}
	go s.streamWatch(line, w)
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
