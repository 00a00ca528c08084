package server

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/storage"
)

// Locker is the part of a Store that is about locks. Names are its to keep. Errors of all: api.ErrUnavailable,
// api.ErrOverloaded; of those that change something: api.ErrUnknownOutcome.
type Locker interface {
	// AcquireLock takes a lock or waits for it. If ctx ends first, the wish is taken back. Errors: *api.LockHeldError,
	// api.ErrDiskFull.
	AcquireLock(ctx context.Context, name []byte, r api.LockRequest) (api.Lock, error)
	// RenewLock lets the TTL begin anew, with ttl if it is not 0. Errors: api.ErrLockLost.
	RenewLock(ctx context.Context, name []byte, token storage.Version, ttl time.Duration) (api.Lock, error)
	// ReleaseLock gives a lock back. Errors: api.ErrLockLost.
	ReleaseLock(ctx context.Context, name []byte, token storage.Version) error
	// ReadLock says who holds a lock. Errors: api.ErrLockNotFound.
	ReadLock(ctx context.Context, name []byte) (api.Lock, error)
}

// maxLockBody is the length of the longest body of a request about a lock: an owner, all escaped, and blanks.
const maxLockBody = 8 << 10

// giveBack bounds the release of a lock that was granted to a client which has gone.
const giveBack = 2 * time.Second

// lockRoutes are the routes of locks.
func (s *Server) lockRoutes() []route {
	const path = api.PathLocks + "/{name}"
	return append(read(path, s.readLock),
		route{http.MethodPost, path, s.acquireLock}, route{http.MethodPut, path, s.renewLock}, route{http.MethodDelete, path, s.releaseLock})
}

func lockName(r *http.Request) ([]byte, error) { return keyOf(r.URL, api.PathLocks+"/", 0) }

// acquireLock answers POST /v1/locks/{name}.
func (s *Server) acquireLock(c echo.Context) error {
	r := c.Request()
	name, err := lockName(r)
	if err != nil {
		return err
	}
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return err
	}
	body, err := readLockBody(r)
	if err != nil {
		return err
	}
	req, err := api.DecodeLockRequest(body)
	if err != nil {
		return err
	}
	s.allowAnswer(c, req.Wait+s.cfg.RequestTimeout)
	ctx, cancel := context.WithTimeout(r.Context(), req.Wait+s.cfg.RequestTimeout)
	defer cancel()
	started := time.Now()
	lock, err := s.store.AcquireLock(ctx, name, req)
	s.metrics.locks.observe(err, time.Since(started))
	if err != nil {
		return err
	}
	if r.Context().Err() != nil {
		s.giveBack(r, &lock)
	}
	return s.writeLock(c, http.StatusCreated, lock)
}

// giveBack releases a lock whose client hung up when it was granted.
func (s *Server) giveBack(r *http.Request, lock *api.Lock) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), giveBack)
	defer cancel()
	_ = s.store.ReleaseLock(ctx, lock.Name, storage.Version(lock.Token)) // else its TTL ends it
}

// readLockBody reads a short body.
func readLockBody(r *http.Request) ([]byte, error) {
	body, err := readAll(r.Body, make([]byte, 0, 512), maxLockBody)
	if err != nil {
		return nil, bodyError(err)
	}
	return body, checkLimit("body", len(body), maxLockBody)
}

// renewLock answers PUT /v1/locks/{name}.
func (s *Server) renewLock(c echo.Context) error {
	r := c.Request()
	name, token, err := lockAndToken(r)
	if err != nil {
		return err
	}
	body, err := readLockBody(r)
	if err != nil {
		return err
	}
	ttl, err := api.DecodeLockRenewal(body)
	if err != nil {
		return err
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	lock, err := s.store.RenewLock(ctx, name, token, ttl)
	if err != nil {
		return err
	}
	return s.writeLock(c, http.StatusOK, lock)
}

// releaseLock answers DELETE /v1/locks/{name}.
func (s *Server) releaseLock(c echo.Context) error {
	r := c.Request()
	name, token, err := lockAndToken(r)
	if err != nil {
		return err
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	if err := s.store.ReleaseLock(ctx, name, token); err != nil {
		return err
	}
	c.Response().WriteHeader(http.StatusNoContent)
	return nil
}

// readLock answers GET /v1/locks/{name}.
func (s *Server) readLock(c echo.Context) error {
	r := c.Request()
	name, err := lockName(r)
	if err != nil {
		return err
	}
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return err
	}
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	lock, err := s.store.ReadLock(ctx, name)
	if err != nil {
		return err
	}
	return s.writeLock(c, http.StatusOK, lock)
}

// lockAndToken returns the name in the path and the token in the query.
func lockAndToken(r *http.Request) ([]byte, storage.Version, error) {
	name, err := lockName(r)
	if err != nil {
		return nil, 0, err
	}
	q, err := parseQuery(r.URL.RawQuery, lockParams)
	if err != nil {
		return nil, 0, err
	}
	token, ok := api.ParseOpaqueTag(q.get(api.QueryToken))
	if !ok {
		return nil, 0, invalidParam(api.QueryToken, "is not the token of a lock: a positive integer under 2^53")
	}
	return name, storage.Version(token), nil
}

// writeLock sends a lock as it is at this moment.
func (s *Server) writeLock(c echo.Context, status int, lock api.Lock) error {
	body, err := lock.MarshalJSON()
	if err != nil {
		return err
	}
	c.Response().Header()[headerCacheControl] = s.fixed.noStore
	return s.writeBody(c, status, s.fixed.json, append(body, '\n'))
}
