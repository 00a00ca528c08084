package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
)

// Server answers the HTTP API of one node from a Store. New makes it; ServeHTTP alone is enough for tests, Serve and
// Shutdown run it on a listener.
type Server struct {
	cfg     Config
	store   Store
	echo    *echo.Echo
	metrics *metrics
	fixed   fixedHeaders
	buffers sync.Pool // of *[]byte, for listings
	http    *http.Server

	life  context.Context // of every request; ends when Shutdown's patience does
	end   context.CancelCauseFunc
	conns sync.WaitGroup // one for each connection's goroutine
}

// fixedHeaders are header values that never change, so that no request has to allocate them. Nobody may change them.
type fixedHeaders struct {
	noSniff, sandbox, noStore, json, ndjson, problem, yaml, retryAfter []string
}

// New returns a Server for store. Errors: a field of cfg is out of its limits.
func New(cfg Config, store Store) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure HTTP server: %w", err)
	}
	s := &Server{cfg: cfg, store: store, fixed: newFixedHeaders()}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.metrics = newMetrics(store)
	s.echo = s.newEcho()
	s.http = s.newHTTPServer()
	return s, nil
}

// newEcho builds the router. Echo is used for routing alone: what it does beside that (binding, logging, its own error
// documents) is replaced or left off.
func (s *Server) newEcho() *echo.Echo {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.handleUnrouted
	s.addRoutes(e)
	return e
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// withTimeout bounds the Store's part of r.
func (s *Server) withTimeout(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), s.cfg.RequestTimeout)
}
