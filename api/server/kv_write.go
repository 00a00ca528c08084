package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

// putKey answers PUT /v1/kv/{key}.
func (s *Server) putKey(c echo.Context) error {
	r := c.Request()
	var (
		p   Put
		err error
	)
	if p.TTL, p.KeepTTL, err = parseLife(r.URL.RawQuery); err != nil {
		return err
	}
	if p.Cond, err = parseCondition(r.Header); err != nil {
		return err
	}
	if p.ContentType, err = contentType(r.Header); err != nil {
		return err
	}
	// The value is read behind the key, into the same allocation.
	if p.Key, err = keyOf(r.URL, keyPrefix, s.bodyHint(r)); err != nil {
		return err
	}
	if p.Value, err = s.readBody(r, p.Key[len(p.Key):]); err != nil {
		return err
	}
	p.Key = p.Key[:len(p.Key):len(p.Key)]
	wait := s.waits.begin(r.Context())
	res, err := s.store.Put(wait, p)
	s.waits.close(wait)
	if err != nil {
		return err
	}
	return s.answerPut(c, res)
}

func (s *Server) answerPut(c echo.Context, res WriteResult) error {
	var space [48]byte
	text := api.Version(res.Version).AppendETag(space[:0])
	tag := len(text)
	text = strconv.AppendUint(text, uint64(res.Partition), 10)
	partition := len(text)
	all := string(append(text, '0'))
	values := []string{all[:tag], all[tag:partition], all[partition:]}

	w := c.Response()
	h := w.Header()
	h[api.HeaderETag] = values[0:1:1]
	h[api.HeaderPartition] = values[1:2:2]
	h[headerContentLength] = values[2:3:3]
	status := http.StatusOK
	if res.Created {
		status = http.StatusCreated
	}
	w.WriteHeader(status)
	return nil
}

// deleteKey answers DELETE /v1/kv/{key}.
func (s *Server) deleteKey(c echo.Context) error {
	r := c.Request()
	key, err := keyOf(r.URL, keyPrefix, 0)
	if err != nil {
		return err
	}
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return err
	}
	cond, err := parseCondition(r.Header)
	if err != nil {
		return err
	}
	wait := s.waits.begin(r.Context())
	res, err := s.store.Delete(wait, Delete{Key: key, Cond: cond})
	s.waits.close(wait)
	if err != nil {
		return err
	}
	w := c.Response()
	w.Header()[api.HeaderPartition] = []string{strconv.Itoa(int(res.Partition))}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// parseLife reads how long a put value is to live from the query.
func parseLife(rawQuery string) (ttl time.Duration, keep bool, err error) {
	q, err := parseQuery(rawQuery, putParams)
	if err != nil {
		return 0, false, err
	}
	if ttl, err = q.ttl(); err != nil {
		return 0, false, err
	}
	if keep, err = q.flag(api.QueryKeepTTL); err != nil {
		return 0, false, err
	}
	if keep && ttl != 0 {
		return 0, false, invalidParam(api.QueryKeepTTL, "cannot stand beside ttl")
	}
	return ttl, keep, nil
}

// contentType returns the media type to store, as the client wrote it.
func contentType(header http.Header) (string, error) {
	lines := header[api.HeaderContentType]
	switch {
	case len(lines) == 0 || (len(lines) == 1 && lines[0] == ""):
		return api.TypeOctetStream, nil
	case len(lines) > 1:
		return "", &api.InvalidError{Where: "header Content-Type", Detail: "is given more than once"}
	default:
		return lines[0], checkLimit("header Content-Type", len(lines[0]), api.MaxContentTypeBytes)
	}
}
