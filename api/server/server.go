package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/cluster/deadline"
)

// Server answers the HTTP API of one node from a Store. New makes it; ServeHTTP alone is enough for tests, Serve and
// Shutdown run it on a listener.
type Server struct {
	cfg     Config
	store   Store
	txns    Transactor // nil only in tests
	watches Watches    // nil only in tests
	echo    *echo.Echo
	metrics *metrics
	fixed   fixedHeaders
	buffers sync.Pool // of *[]byte, for listings, results of transactions, and events
	bodies  budget    // of large transactions
	http    *http.Server

	life     context.Context // of every request; ends when Shutdown's patience does
	end      context.CancelCauseFunc
	watching context.Context // of every watch; ends when Shutdown begins: they would never end by themselves
	unwatch  context.CancelFunc
	conns    sync.WaitGroup // one for each connection's goroutine

	deadlines *deadline.Lender // of transactions
	waits     *waits           // of requests for single keys
}

// fixedHeaders are header values that never change, so that no request has to allocate them. Nobody may change them.
type fixedHeaders struct {
	noSniff, sandbox, noStore, json, ndjson, problem, yaml, eventStream, retryAfter, yes []string
}

// Option adds to a Server what not every test of it needs.
type Option func(*Server)

// WithTransactor lets a Server run transactions. Without it their routes answer 503 not_ready.
func WithTransactor(t Transactor) Option { return func(s *Server) { s.txns = t } }

// New returns a Server for store. Errors: a field of cfg is out of its limits.
func New(cfg Config, store Store, options ...Option) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure HTTP server: %w", err)
	}
	s := &Server{cfg: cfg, store: store, fixed: newFixedHeaders()}
	s.bodies.give(txnBodyBudget)
	for _, option := range options {
		option(s)
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.watching, s.unwatch = context.WithCancel(s.life)
	s.deadlines, s.waits = deadline.NewLender(s.life), newWaits(cfg.RequestTimeout)
	s.metrics = newMetrics(store)
	if s.txns != nil {
		s.metrics.registry.MustRegister(countsCollectors(s.txns)...)
	}
	if s.watches != nil {
		s.metrics.registry.MustRegister(newWatchCollector(s.watches))
	}
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
