package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

func newFixedHeaders() fixedHeaders {
	return fixedHeaders{
		noSniff: []string{"nosniff"},
		sandbox: []string{"sandbox"},
		noStore: []string{"no-store"},
		json:    []string{api.TypeJSON},
		ndjson:  []string{api.TypeNDJSON},
		problem: []string{api.TypeProblem},
		yaml:    []string{api.TypeYAML},

		eventStream: []string{api.TypeEventStream},
		retryAfter:  []string{"1"}, // seconds; an election takes about one
		yes:         []string{"true"},
	}
}

// Canonical names of headers that only the server sets.
const (
	headerContentLength  = "Content-Length"
	headerNoSniff        = "X-Content-Type-Options"
	headerSecurityPolicy = "Content-Security-Policy"
	headerCacheControl   = "Cache-Control"
)

// writeBody sends a complete answer. The header's other fields must be set already.
func (s *Server) writeBody(c echo.Context, status int, contentType []string, body []byte) error {
	w := c.Response()
	h := w.Header()
	h[api.HeaderContentType] = contentType
	h[headerContentLength] = []string{strconv.Itoa(len(body))}
	h[headerNoSniff] = s.fixed.noSniff
	w.WriteHeader(status)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, _ = w.Write(body) // fails only if the client has gone, and nobody is left to be told
	return nil
}

// writeJSON sends value as a 200.
func (s *Server) writeJSON(c echo.Context, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.writeBody(c, http.StatusOK, s.fixed.json, append(body, '\n'))
}

// isWrite reports whether errors of a request with this method carry an outcome.
func isWrite(method string) bool {
	return method == http.MethodPut || method == http.MethodDelete || method == http.MethodPost
}

// fail answers a request with err. Once an answer has begun it can only be cut.
func (s *Server) fail(c echo.Context, err error) {
	r := c.Request()
	if c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	write := isWrite(r.Method) && !errors.Is(err, api.ErrMethod)
	p := api.NewProblem(settle(err, write), write)
	if p.Status == http.StatusInternalServerError {
		s.cfg.Logger.Error("request failed", slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
			slog.String("code", string(p.Code)), slog.Any("error", err))
	}
	s.writeProblem(c, p)
}

// settle turns a context's error, which says only that nothing was learnt, into what that means: a read did nothing,
// a write may have done something.
func settle(err error, write bool) error {
	if api.CodeOf(err) != api.CodeInternal || errors.Is(err, api.ErrInternal) {
		return err
	}
	switch {
	case !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return err
	case write:
		return errNoAnswerToWrite
	default:
		return errNoAnswerToRead
	}
}

var (
	errNoAnswerToWrite = detailed{api.ErrUnknownOutcome, "no answer from the partition in time; the write may be done or not, now or later"}
	errNoAnswerToRead  = detailed{api.ErrUnavailable, "no answer from the partition in time"}
)

// detailed is a sentinel with a text for people.
type detailed struct {
	sentinel error
	text     string
}

func (d detailed) Error() string { return d.text }
func (d detailed) Unwrap() error { return d.sentinel }

// failPanic answers a request whose handler panicked with reason. It returns what to panic with again, nil if the
// client could be told.
func (s *Server) failPanic(c echo.Context, reason any) any {
	r := c.Request()
	s.cfg.Logger.Error("handler panicked", slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
		slog.Any("reason", reason), slog.String("stack", string(debug.Stack())))
	s.metrics.panics.Inc()
	if c.Response().Committed {
		return http.ErrAbortHandler
	}
	s.writeProblem(c, api.NewProblem(api.ErrInternal, isWrite(r.Method)))
	return nil
}

func (s *Server) writeProblem(c echo.Context, p *api.Problem) {
	h := c.Response().Header()
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests || p.Code == api.CodeIdempotencyInFlight {
		h[api.HeaderRetryAfter] = s.fixed.retryAfter
	}
	if p.Version != nil && *p.Version != 0 {
		h[api.HeaderETag] = []string{p.Version.ETag()}
	}
	h[headerCacheControl] = s.fixed.noStore
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers only
		panic(err)
	}
	_ = s.writeBody(c, p.Status, s.fixed.problem, append(body, '\n'))
}
