package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
)

// errStopped is the cause of requests' cancellation when Shutdown ran out of patience.
var errStopped = errors.New("HTTP server stopped")

// newHTTPServer builds the net/http server with every limit set: a zero there means "unlimited".
func (s *Server) newHTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		ReadTimeout:       s.cfg.ReadTimeout,
		WriteTimeout:      s.cfg.WriteTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug), // clients' mistakes, mostly
		BaseContext:       func(net.Listener) context.Context { return s.life },
		ConnState:         s.countConn,
		// Otherwise net/http answers OPTIONS * itself.
		DisableGeneralOptionsHandler: true,
	}
}

// countConn follows the connections, so that Shutdown can wait for their goroutines. net/http reports a connection as
// new before it starts its goroutine and as closed at the end of it.
func (s *Server) countConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
		s.metrics.conns.Inc()
	case http.StateClosed, http.StateHijacked:
		s.connEnded()
	}
}

// Serve answers connections from l until Shutdown, and closes l. It returns nil after a Shutdown, else why it stopped.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting, closes idle connections, and lets running requests finish until ctx ends; after that it
// cuts them, cancels what they wait for, and returns ctx's cause. It returns after the last connection's goroutine in
// any case, provided that the Store honours its contexts. A second call only waits.
func (s *Server) Shutdown(ctx context.Context) error {
	s.unwatch()
	err := s.http.Shutdown(ctx)
	if err == nil {
		err = s.awaitConns(ctx) // watches are out of net/http's hands
	}
	if err != nil {
		err = context.Cause(ctx)
		_ = s.http.Close() // its listeners are closed already
	}
	s.end(errStopped)
	s.conns.Wait()
	return err
}

// awaitConns waits for all connections to end, at most until ctx does; no new ones come any more.
func (s *Server) awaitConns(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
