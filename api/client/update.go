package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ringkv/ringkv/api"
)

// Update changes one key by what it holds: it reads the key, asks fn for the new value, and writes that on condition
// that nobody else wrote in between. If somebody did, it begins again, until ctx ends. The key keeps its time to live
// and its content type.
//
// fn is given nil if the key is absent, and returns nil to have it absent; an empty value is empty but not nil. It may
// be called several times. An error of fn ends the update without a write and is returned as it is.
//
// Other errors: *Error; ErrConflict when ctx ended amid conflicts; ErrUnknownOutcome if the value may or may not have
// been stored. Where that must not stay open, use Txn with ExactlyOnce.
func (c *Client) Update(ctx context.Context, key string, fn func(old []byte) ([]byte, error)) error {
	for n := 1; ; n++ {
		err := c.updateOnce(ctx, key, fn)
		if !errors.Is(err, errLostRace) {
			return err
		}
		if !pauseForOthers(ctx, n) {
			return &Error{Op: "update", Key: key, Attempts: n, Outcome: api.Aborted, Err: withCause(ctx, ErrConflict)}
		}
	}
}

// errLostRace is wrapped where another writer was faster, and beginning again may help.
var errLostRace = errors.New("another writer was faster")

// updateOnce is one round of Update. Errors: errLostRace, those of fn, *Error.
func (c *Client) updateOnce(ctx context.Context, key string, fn func(old []byte) ([]byte, error)) error {
	item, err := c.Get(ctx, key)
	absent := errors.Is(err, ErrNotFound)
	if err != nil && !absent {
		return err
	}
	value, err := fn(item.Value)
	switch {
	case err != nil:
		return err
	case value == nil && absent:
		return nil
	case value == nil:
		err = c.Delete(ctx, key, IfMatch(item.Version))
	case absent:
		_, err = c.Put(ctx, key, value, IfAbsent())
	default:
		_, err = c.Put(ctx, key, value, IfMatch(item.Version), KeepTTL(), ContentType(item.ContentType))
	}
	if errors.Is(err, ErrConditionFailed) {
		return errLostRace
	}
	return err
}

// The pause after a lost race: a random part of what doubling gives, so that the losers do not meet again.
const (
	firstRacePause = 4 * time.Millisecond
	maxRacePause   = 2 * time.Second
)

// pauseForOthers waits before round n+1. It reports false, at once, if ctx would end before that.
func pauseForOthers(ctx context.Context, n int) bool {
	d := firstRacePause
	for i := 1; i < n && d < maxRacePause; i++ {
		d *= 2
	}
	return wait(ctx, rand.N(min(d, maxRacePause)))
}

// wait waits for d. It reports false, at once, if ctx has ended or would end before that.
func wait(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
