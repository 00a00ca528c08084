package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

// stream answers a listing with an item a line, page after page, and an end line. Nothing is sent before the first page
// is there, so that its errors still are problem documents; a later error cuts the connection, and the missing end line
// tells the client.
func (s *Server) stream(c echo.Context, l *listing) error {
	r := c.Request()
	out := http.NewResponseController(c.Response().Writer)
	buf := s.buffer()
	defer s.release(buf)
	for count := 0; ; {
		res, err := s.page(r, l, l.room(count))
		if err != nil {
			return err
		}
		count += len(res.Items)
		last := l.position == nil || l.room(count) == 0
		*buf = appendLines((*buf)[:0], res.Items, l.keysOnly)
		if last {
			*buf = appendEnd(*buf, count)
		}
		_ = out.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout)) // a fake writer in a test may have none
		if err := s.writeChunk(c, out, *buf); err != nil || last {
			return err
		}
	}
}

// room returns how many items the next page may have after count were sent.
func (l *listing) room(count int) int {
	if l.limit == 0 {
		return api.MaxListLimit
	}
	return l.limit - count
}

func appendLines(dst []byte, items []Item, keysOnly bool) []byte {
	for i := range items {
		dst = append(appendItem(dst, &items[i], keysOnly), '\n')
	}
	return dst
}

func appendEnd(dst []byte, count int) []byte {
	dst = append(dst, `{"end":true,"count":`...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	return append(dst, "}\n"...)
}

// writeChunk sends a part of a stream, the header before the first. An error means that the client has gone.
func (s *Server) writeChunk(c echo.Context, out *http.ResponseController, b []byte) error {
	w := c.Response()
	if !w.Committed {
		h := w.Header()
		h[api.HeaderContentType] = s.fixed.ndjson
		h[headerNoSniff] = s.fixed.noSniff
		w.WriteHeader(http.StatusOK)
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return out.Flush()
}

// wantsStream reports whether an Accept header prefers lines to a page: it names the lines' type, and does not rank
// JSON above it (RFC 9110, 12.5.1). Wildcards mean a page.
func wantsStream(accept []string) bool {
	var lines, page float64
	for _, line := range accept {
		for element := range strings.SplitSeq(line, ",") {
			switch mediaType, q := parseRange(element); mediaType {
			case api.TypeNDJSON:
				lines = q
			case api.TypeJSON:
				page = q
			}
		}
	}
	return lines > 0 && lines >= page
}

// parseRange returns a media range of an Accept header, in lower case, and its weight, 1 if it has none or a broken one.
func parseRange(element string) (mediaType string, q float64) {
	mediaType, params, _ := strings.Cut(element, ";")
	q = 1
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		if weight, err := strconv.ParseFloat(value, 64); err == nil && weight >= 0 && weight <= 1 {
			q = weight
		}
	}
	return strings.ToLower(strings.TrimSpace(mediaType)), q
}
