package server

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

const (
	keyPrefix = api.PathKV + "/"
	keyPath   = keyPrefix + "{key}"
)

func (s *Server) kvRoutes() []route {
	return append(read(keyPath, s.getKey),
		route{http.MethodPut, keyPath, s.putKey},
		route{http.MethodDelete, keyPath, s.deleteKey},
		route{http.MethodGet, api.PathKV, s.list},
	)
}

// getKey answers GET and HEAD /v1/kv/{key}.
func (s *Server) getKey(c echo.Context) error {
	r := c.Request()
	key, err := keyOf(r.URL, keyPrefix, 0)
	if err != nil {
		return err
	}
	q, err := parseQuery(r.URL.RawQuery, getParams)
	if err != nil {
		return err
	}
	consistency, err := q.consistency()
	if err != nil {
		return err
	}
	cond, err := parseReadCondition(r.Header)
	if err != nil {
		return err
	}
	wait := s.waits.begin(r.Context())
	item, err := s.store.Get(wait, key, consistency)
	s.waits.close(wait)
	if err != nil {
		return err
	}
	return s.answerItem(c, &item, &cond)
}

// answerItem sends item, or what cond makes of it.
func (s *Server) answerItem(c echo.Context, item *Item, cond *readCondition) error {
	status := http.StatusOK
	if cond.match.present || cond.noneMatch.present {
		status = cond.status(strconv.FormatUint(uint64(item.Version), 10))
	}
	if status == http.StatusPreconditionFailed {
		return &api.ConditionError{Version: api.Version(item.Version)}
	}
	w := c.Response()
	s.setItemHeader(w.Header(), item, status)
	w.WriteHeader(status)
	if status == http.StatusOK && c.Request().Method != http.MethodHead {
		_, _ = w.Write(item.Value) // fails only if the client has gone
	}
	return nil
}

// setItemHeader sets the header of an answer with item. All its texts are made as one string and all its values in one
// slice: two allocations instead of ten.
func (s *Server) setItemHeader(h http.Header, item *Item, status int) {
	var space [96]byte
	text := api.Version(item.Version).AppendETag(space[:0])
	tag := len(text)
	text = strconv.AppendUint(text, uint64(item.Partition), 10)
	partition := len(text)
	text = strconv.AppendInt(text, int64(len(item.Value)), 10)
	length := len(text)
	if item.TTL > 0 {
		text = strconv.AppendInt(text, api.TTLMillis(item.TTL), 10)
	}
	all := string(text)
	values := []string{all[:tag], all[tag:partition], all[partition:length], all[length:], item.ContentType}

	h[api.HeaderETag] = values[0:1:1]
	h[api.HeaderPartition] = values[1:2:2]
	if item.TTL > 0 {
		h[api.HeaderTTLMs] = values[3:4:4]
	}
	if status != http.StatusOK {
		return
	}
	h[headerContentLength] = values[2:3:3]
	h[headerNoSniff] = s.fixed.noSniff
	if item.ContentType == "" {
		values[4] = api.TypeOctetStream
	} else if item.ContentType != api.TypeOctetStream {
		// Opened in a browser, a stored page must not act with the rights of this origin.
		h[headerSecurityPolicy] = s.fixed.sandbox
	}
	h[api.HeaderContentType] = values[4:5:5]
}
