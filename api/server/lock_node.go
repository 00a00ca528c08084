package server

import (
	"context"
	"errors"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/storage"
)

func (s nodeStore) AcquireLock(ctx context.Context, name []byte, r api.LockRequest) (api.Lock, error) {
	l, err := s.n.AcquireLock(ctx, cluster.LockRequest{Name: name, Owner: r.Owner, TTL: r.TTL, Wait: r.Wait})
	return nodeLock(l), lockError(err)
}

func (s nodeStore) RenewLock(ctx context.Context, name []byte, token storage.Version, ttl time.Duration) (api.Lock, error) {
	l, err := s.n.RenewLock(ctx, name, token, ttl)
	return nodeLock(l), lockError(err)
}

func (s nodeStore) ReleaseLock(ctx context.Context, name []byte, token storage.Version) error {
	return lockError(s.n.ReleaseLock(ctx, name, token))
}

func (s nodeStore) ReadLock(ctx context.Context, name []byte) (api.Lock, error) {
	l, err := s.n.ReadLock(ctx, name)
	lock := nodeLock(l)
	lock.Waiters = &l.Waiters
	return lock, lockError(err)
}

func nodeLock(l cluster.Lock) api.Lock {
	return api.Lock{Name: l.Name, Owner: l.Owner, Token: api.FencingToken(l.Token), TTL: l.TTL}
}

// lockError is a node's error about a lock as clients know it.
func lockError(err error) error {
	var held *cluster.LockHeldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &held):
		return &api.LockHeldError{Holder: api.LockHolder{Owner: held.Owner, TTLMs: held.TTL.Milliseconds()}}
	case errors.Is(err, cluster.ErrLockLost):
		return api.ErrLockLost // which says the same
	case errors.Is(err, cluster.ErrNotFound):
		return api.ErrLockNotFound
	}
	return nodeError(err)
}
