package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
)

func (t *Transport) newServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(t.serveHTTP),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(t.cfg.Logger.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return t.ctx },
	}
}

// serve accepts until Close.
func (t *Transport) serve() {
	ln := t.cfg.Listener
	if t.cfg.TLS != nil {
		ln = tls.NewListener(ln, http1Only(t.cfg.TLS))
	}
	if err := t.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) && t.ctx.Err() == nil {
		t.cfg.Logger.Error("the peer port stopped accepting", "error", err)
	}
}

// serveHTTP is the mux, counted so that Close waits for handlers.
func (t *Transport) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !t.begin() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer t.wg.Done()
	if r.URL.Path != streamPath {
		moves := mover{http.NewResponseController(w), t.cfg.StallTimeout}
		w = stallWriter{w, moves}
		r.Body = stallBody{r.Body, moves}
	}
	t.mux.ServeHTTP(w, r)
}

// mover gives every single read and write of a plain request's two bodies a deadline, as stallConn does at the other
// end.
type mover struct {
	*http.ResponseController
	timeout time.Duration
}

type stallBody struct {
	io.ReadCloser
	moves mover
}

func (b stallBody) Read(p []byte) (int, error) {
	if err := b.moves.SetReadDeadline(time.Now().Add(b.moves.timeout)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil { // the end: the server now waits for the client to hang up, for as long as the handler runs
		_ = b.moves.SetReadDeadline(time.Time{})
	}
	return n, err
}

type stallWriter struct {
	http.ResponseWriter
	moves mover
}

func (w stallWriter) Write(p []byte) (int, error) {
	if err := w.moves.SetWriteDeadline(time.Now().Add(w.moves.timeout)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets an http.ResponseController through.
func (w stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (t *Transport) newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, t.cfg.DialTimeout)
			defer cancel()
			conn, err := t.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return stallConn{conn, t.cfg.StallTimeout}, nil
		},
		ResponseHeaderTimeout: t.cfg.StallTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   4,
		DisableCompression:    true,
	}}
}

// dial makes a connection, with TLS if that is configured.
func (t *Transport) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := t.cfg.Dial(ctx, network, addr)
	if err != nil || t.cfg.TLS == nil {
		return conn, err
	}
	cfg := http1Only(t.cfg.TLS)
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// http1Only returns a copy of cfg that does not negotiate HTTP/2, which cannot be upgraded to a stream.
func http1Only(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}
