package server_test

import (
	"context"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/storage"
)

// fakeLocks is a Locker in memory without time: a lock is held until it is released, and a wait lasts until ctx ends.
type fakeLocks struct {
	mu    sync.Mutex // guards what follows
	held  map[string]api.Lock
	token api.FencingToken
	asked []api.LockRequest
}

func (f *fakeLocks) AcquireLock(ctx context.Context, name []byte, r api.LockRequest) (api.Lock, error) {
	l, holder := f.take(name, r)
	if holder == "" {
		return l, nil
	}
	if r.Wait > 0 {
		<-ctx.Done()
		return api.Lock{}, context.Cause(ctx)
	}
	return api.Lock{}, &api.LockHeldError{Holder: api.LockHolder{Owner: holder, TTLMs: 5}}
}

func (f *fakeLocks) take(name []byte, r api.LockRequest) (l api.Lock, holder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r)
	if l, held := f.held[string(name)]; held {
		return l, l.Owner
	}
	f.token++
	l = api.Lock{Name: name, Owner: r.Owner, Token: f.token, TTL: r.TTL}
	if f.held == nil {
		f.held = make(map[string]api.Lock)
	}
	f.held[string(name)] = l
	return l, ""
}

func (f *fakeLocks) RenewLock(_ context.Context, name []byte, token storage.Version, ttl time.Duration) (api.Lock, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, held := f.held[string(name)]
	if !held || storage.Version(l.Token) != token {
		return api.Lock{}, api.ErrLockLost
	}
	if ttl != 0 {
		l.TTL = ttl
	}
	f.held[string(name)] = l
	return l, nil
}

func (f *fakeLocks) ReleaseLock(_ context.Context, name []byte, token storage.Version) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l, held := f.held[string(name)]; !held || storage.Version(l.Token) != token {
		return api.ErrLockLost
	}
	delete(f.held, string(name))
	return nil
}

func (f *fakeLocks) ReadLock(_ context.Context, name []byte) (api.Lock, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, held := f.held[string(name)]
	if !held {
		return api.Lock{}, api.ErrLockNotFound
	}
	l.Waiters = new(int)
	return l, nil
}
