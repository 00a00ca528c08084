package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
)

// route is one verb of one path, with what answers it.
type route struct {
	method string
	path   string // as openapi.yaml writes it; a parameter at its end takes the rest of the path
	handle echo.HandlerFunc
}

// Routes returns "METHOD /path" for every route, as openapi.yaml writes them.
func (s *Server) Routes() []string {
	var names []string
	for _, r := range s.routes() {
		names = append(names, r.method+" "+r.path)
	}
	return names
}

// routes is the table of everything that is served. A group of routes with its own file adds its own slice here.
func (s *Server) routes() []route {
	return slices.Concat(s.kvRoutes(), s.txnRoutes(), s.watchRoutes(), s.lockRoutes(), s.clusterRoutes(), s.operationRoutes())
}

// read returns the GET and the HEAD route of path.
func read(path string, handle echo.HandlerFunc) []route {
	return []route{{http.MethodGet, path, handle}, {http.MethodHead, path, handle}}
}

func (s *Server) addRoutes(e *echo.Echo) {
	allow := make(map[string][]string)
	for _, r := range s.routes() {
		pattern := echoPattern(r.path)
		e.Add(r.method, pattern, s.wrap(s.metrics.route(r.method, r.path), r.handle))
		allow[r.path] = append(allow[r.path], r.method)
	}
	for path, methods := range allow {
		e.RouteNotFound(echoPattern(path), s.wrap(s.metrics.route("other", path), notAllowed(methods)))
	}
}

// echoPattern turns a path of openapi.yaml into one of echo's: a parameter at the end takes everything that follows,
// slashes too, any other one segment.
func echoPattern(path string) string {
	if head, last, ok := strings.Cut(path, "/{"); ok && strings.HasSuffix(last, "}") && !strings.Contains(last, "/") {
		return head + "/*"
	}
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}

// notAllowed answers verbs other than methods.
func notAllowed(methods []string) echo.HandlerFunc {
	allow := []string{strings.Join(methods, ", ")}
	return func(c echo.Context) error {
		c.Response().Header()[api.HeaderAllow] = allow
		return api.ErrMethod
	}
}

// wrap adds to a handler what every request gets: a count, a clock, a problem document for its error, and an answer
// even if it panics.
func (s *Server) wrap(m *routeMetrics, handle echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		started := time.Now()
		s.metrics.inFlight.Inc()
		defer s.finish(c, m, started)
		if err := handle(c); err != nil {
			s.fail(c, err)
		}
		return nil
	}
}

// finish ends a request, whatever its handler did.
func (s *Server) finish(c echo.Context, m *routeMetrics, started time.Time) {
	reason := recover()
	if err, _ := reason.(error); reason != nil && !errors.Is(err, http.ErrAbortHandler) {
		reason = s.failPanic(c, reason)
	}
	s.metrics.inFlight.Dec()
	m.observe(c.Response().Status, time.Since(started))
	if reason != nil {
		panic(reason)
	}
}

// handleUnrouted answers what no route took: echo hands every such request here.
func (s *Server) handleUnrouted(_ error, c echo.Context) {
	_ = s.wrap(s.metrics.unrouted, func(echo.Context) error { return api.ErrNoRoute })(c)
}
