package transport

import (
	"context"
	"crypto/tls"
	"errors"
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
	t.mux.ServeHTTP(w, r)
}

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
