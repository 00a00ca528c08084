package server

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

// listing is a decoded GET /v1/kv.
type listing struct {
	cursor
	limit int // items; 0 on a stream without one
}

// list answers GET /v1/kv.
func (s *Server) list(c echo.Context) error {
	r := c.Request()
	stream := wantsStream(r.Header[api.HeaderAccept])
	l, err := parseListing(r.URL.RawQuery, stream)
	if err != nil {
		return err
	}
	if stream {
		return s.stream(c, l)
	}
	res, err := s.page(r, l, l.limit)
	if err != nil {
		return err
	}
	buf := s.buffer()
	defer s.release(buf)
	*buf = appendPage((*buf)[:0], res.Items, l)
	return s.writeBody(c, http.StatusOK, s.fixed.json, *buf)
}

// parseListing reads the query of a listing. Errors: *api.InvalidError, *api.LimitError.
func parseListing(rawQuery string, stream bool) (*listing, error) {
	q, err := parseQuery(rawQuery, listParams)
	if err != nil {
		return nil, err
	}
	l := &listing{cursor: cursor{prefix: q.get(api.QueryPrefix), start: q.get(api.QueryStart), end: q.get(api.QueryEnd)}}
	if l.keysOnly, err = q.flag(api.QueryKeysOnly); err != nil {
		return nil, err
	}
	fallback := api.DefaultListLimit
	if stream {
		fallback = 0
	}
	if l.limit, err = q.count(api.QueryLimit, fallback, 1, api.MaxListLimit); err != nil {
		return nil, err
	}
	for _, name := range []string{api.QueryPrefix, api.QueryStart, api.QueryEnd} {
		if err := checkLimit("query parameter "+name, len(q.get(name)), api.MaxKeyBytes); err != nil {
			return nil, err
		}
	}
	return l, l.resume(&q)
}

// resume continues from the cursor in q, if there is one. Parameters beside it must say what it says.
func (l *listing) resume(q *query) error {
	text := q.get(api.QueryCursor)
	if text == "" {
		return nil
	}
	c, err := decodeCursor(text)
	if err != nil {
		return err
	}
	same := func(name, kept string) bool { return q.get(name) == "" || q.get(name) == kept }
	switch {
	case !same(api.QueryPrefix, c.prefix):
		return errChanged(api.QueryPrefix)
	case !same(api.QueryStart, c.start):
		return errChanged(api.QueryStart)
	case !same(api.QueryEnd, c.end):
		return errChanged(api.QueryEnd)
	case q.get(api.QueryKeysOnly) != "" && l.keysOnly != c.keysOnly:
		return errChanged(api.QueryKeysOnly)
	}
	l.cursor = *c
	return nil
}

func errChanged(name string) error {
	return invalidParam(name, "differs from what the cursor was made for")
}

// page asks the Store for up to limit items at l's position, and moves the position behind them; l.position is nil
// once nothing is left. Each page has a deadline of its own.
func (s *Server) page(r *http.Request, l *listing, limit int) (ListResult, error) {
	low, high := l.bounds()
	if high != nil && bytes.Compare(low, high) >= 0 {
		l.position = nil
		return ListResult{}, nil
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	res, err := s.store.List(ctx, ListQuery{Start: low, End: high, Limit: limit, MaxBytes: s.cfg.PageBytes, KeysOnly: l.keysOnly})
	if err != nil {
		return ListResult{}, err
	}
	if res.Next != nil && bytes.Compare(res.Next, low) <= 0 {
		return ListResult{}, errNoProgress // a client would walk in circles
	}
	if high != nil && bytes.Compare(res.Next, high) >= 0 {
		res.Next = nil
	}
	l.position = res.Next
	return res, nil
}

var errNoProgress = errors.New("list: the next page does not start after this one")

// appendPage appends a page as an api.ListPage.
func appendPage(dst []byte, items []Item, l *listing) []byte {
	dst = append(dst, `{"items":[`...)
	for i := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendItem(dst, &items[i], l.keysOnly)
	}
	dst = append(dst, ']')
	if l.position != nil {
		dst = append(dst, `,"next_cursor":"`...)
		dst = append(dst, l.encode()...)
		dst = append(dst, '"')
	}
	return append(dst, "}\n"...)
}

// appendItem appends an item as an api.Item, whose value says by being nil that it was not asked for.
func appendItem(dst []byte, item *Item, keysOnly bool) []byte {
	wire := api.Item{Key: item.Key, Value: item.Value, Version: api.Version(item.Version), TTL: item.TTL}
	switch {
	case keysOnly:
		wire.Value = nil
	case wire.Value == nil:
		wire.Value = []byte{}
	}
	return wire.AppendJSON(dst)
}

// maxPooledBuffer is the largest buffer that is kept for the next listing, in bytes.
const maxPooledBuffer = 8 << 20

func (s *Server) buffer() *[]byte {
	if buf, ok := s.buffers.Get().(*[]byte); ok {
		return buf
	}
	return new([]byte)
}

func (s *Server) release(buf *[]byte) {
	if cap(*buf) <= maxPooledBuffer {
		s.buffers.Put(buf)
	}
}
