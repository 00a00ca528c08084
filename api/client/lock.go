package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
)

// LockOption changes how a lock is taken.
type LockOption func(*locking)

type locking struct {
	owner string
	ttl   time.Duration
	until time.Time // the end of the wait; zero: ctx ends it
}

// LockTTL is how long the lock outlives the last word of its holder: 100 ms to 24 h, 30 s without this option. It is
// renewed after a third of that.
func LockTTL(ttl time.Duration) LockOption { return func(l *locking) { l.ttl = ttl } }

// LockOwner is what others are told of the holder: 1 to 256 bytes. Without this option it is the host and the process.
func LockOwner(owner string) LockOption { return func(l *locking) { l.owner = owner } }

// LockWait is how long Lock waits for a lock that somebody else has; without this option, until ctx ends. When ctx ends,
// a request may be under way of which nobody knows what it will come to; the end of the wait is told by the nodes
// themselves, as api.ErrLockHeld. So give ctx a few seconds more.
func LockWait(d time.Duration) LockOption {
	return func(l *locking) { l.until = time.Now().Add(d) }
}

// waitFor is how long the cluster is to let a request wait that ends with ctx.
func (l *locking) waitFor(ctx context.Context) time.Duration {
	if l.until.IsZero() {
		return waitUntil(ctx)
	}
	return min(waitUntil(ctx), max(0, time.Until(l.until).Truncate(time.Millisecond)))
}

// over reports whether the wait has ended, as far as it can be told to the nodes.
func (l *locking) over() bool { return !l.until.IsZero() && time.Until(l.until) < time.Millisecond }

// Lock is a lock that this process holds, and renews until Unlock.
type Lock struct {
	c     *Client
	name  string
	token api.FencingToken
	ttl   time.Duration

	lost   chan struct{}
	cancel context.CancelFunc // of the renewal
	done   chan struct{}      // closed when the renewal has ended
	once   sync.Once
}

// Lock waits for the lock called name, in the order of arrival over the whole cluster, until ctx or LockWait ends. It
// is not re-entrant. What ctx does afterwards is of no matter to the lock.
//
// The lock is renewed in the background. A process that stands still for longer than the TTL loses it all the same, and
// may wake up without having heard of it: so writes that must not come too late belong into a transaction with IfLock.
//
// Where an answer was lost, the lock may be held in this caller's name by nobody, until its TTL ends; Lock waits for that
// too. Errors: *Error; api.ErrLockHeld when LockWait ended first, or ctx, if a node had told by then that another has
// the lock; ErrUnavailable; ErrUnknownOutcome.
func (c *Client) Lock(ctx context.Context, name string, opts ...LockOption) (*Lock, error) {
	l := newLocking(opts)
	var held *api.LockHeldError
	for n := 1; ; n++ {
		lock, err := c.acquire(ctx, name, l, l.waitFor(ctx))
		again := errors.As(err, &held) || errors.Is(err, api.ErrLockLost) || errors.Is(err, ErrUnknownOutcome)
		switch {
		case err == nil:
			return lock, nil
		case ended(ctx, time.Now()) != nil, again && (l.over() || !pauseForOthers(ctx, n)):
			return nil, tellHeld(err, held)
		case !again:
			return nil, err
		}
	}
}

// tellHeld adds to the failure of the last attempt, which ctx cut short, who was told to have the lock before.
func tellHeld(err error, held *api.LockHeldError) error {
	var last *Error
	if held != nil && errors.As(err, &last) && !errors.Is(err, api.ErrLockHeld) {
		last.Err = fmt.Errorf("%w; then: %w", held, last.Err)
	}
	return err
}

// TryLock is Lock without waiting: api.ErrLockHeld, with an *api.LockHeldError, where somebody has the lock.
func (c *Client) TryLock(ctx context.Context, name string, opts ...LockOption) (*Lock, error) {
	return c.acquire(ctx, name, newLocking(opts), 0)
}

func newLocking(opts []LockOption) locking {
	l := locking{ttl: api.DefaultLockTTL}
	for _, o := range opts {
		o(&l)
	}
	if l.owner == "" {
		host, _ := os.Hostname() // a name for people, no more
		l.owner = fmt.Sprintf("%.200s/%d", cmp.Or(host, "unknown"), os.Getpid())
	}
	return l
}

// waitUntil is how long the cluster is to let a request wait that ends with ctx.
func waitUntil(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return api.MaxLockWait
	}
	left := time.Until(deadline)
	left -= min(left/5, time.Second) // for the ways
	return max(0, min(left.Truncate(time.Millisecond), api.MaxLockWait))
}

// lockSlack is how much longer than its wait an acquire may last: the nodes' own patience, and the ways.
const lockSlack = 15 * time.Second

func (c *Client) acquire(ctx context.Context, name string, l locking, wait time.Duration) (*Lock, error) {
	const op = "lock"
	body, err := json.Marshal(api.LockRequest{Owner: l.owner, TTL: l.ttl, Wait: wait})
	if err != nil {
		return nil, &Error{Op: op, Key: name, Outcome: api.Aborted, Err: err}
	}
	cl := lockCall(op, http.MethodPost, name, "", body)
	cl.write, cl.patience = true, wait+lockSlack
	sent := time.Now()
	got, err := c.lockAnswer(ctx, cl)
	if err != nil {
		return nil, err
	}
	return c.hold(ctx, name, got, sent)
}

func lockCall(op, method, name, query string, body []byte) *call {
	target := string(api.AppendKeyPath([]byte(api.PathLocks+"/"), []byte(name))) + query
	cl := &call{op: op, key: name, near: name, req: request{method: method, target: target, body: body}}
	if body != nil {
		cl.req.header = http.Header{api.HeaderContentType: {api.TypeJSON}}
	}
	return cl
}

// lockAnswer carries cl out and reads the lock in its answer.
func (c *Client) lockAnswer(ctx context.Context, cl *call) (got api.Lock, err error) {
	if err := checkKey(cl.key); err != nil {
		return got, &Error{Op: cl.op, Key: cl.key, Outcome: cl.nothingDone(), Err: err}
	}
	resp, err := c.do(ctx, cl)
	if err != nil {
		return got, err
	}
	if err := json.Unmarshal(resp.body, &got); err != nil || got.Token == 0 || got.TTL <= 0 {
		return got, &Error{Op: cl.op, Key: cl.key, Outcome: cl.lost(true), Err: fmt.Errorf("%w: %w", errMalformed, cmp.Or(err, errNoLock))}
	}
	return got, nil
}

var errNoLock = errors.New("it tells no lock")

// hold begins to renew a lock that was granted. One that was waited for may be old already, so it is renewed first.
func (c *Client) hold(ctx context.Context, name string, got api.Lock, sent time.Time) (*Lock, error) {
	l := &Lock{c: c, name: name, token: got.Token, ttl: got.TTL, lost: make(chan struct{}), done: make(chan struct{})}
	until := l.end(sent, got.TTL)
	if time.Since(sent) > got.TTL/3 {
		var err error
		if until, err = l.renew(ctx); err != nil {
			l.giveBack()
			return nil, err
		}
	}
	life, cancel := context.WithCancel(c.life)
	l.cancel = cancel
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel()
		return nil, &Error{Op: "lock", Key: name, Outcome: api.Unknown, Err: ErrClosed}
	}
	c.tasks.Go(func() { l.keep(life, until) })
	return l, nil
}

// giveBack releases, in the background and if it can, a lock that nobody was handed: else others would wait for its TTL.
func (l *Lock) giveBack() {
	const patience = 5 * time.Second
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(c.life, patience)
		defer cancel()
		_ = l.release(ctx) // its TTL ends it
	})
}

// end is when a lock that was asked for, or renewed, at sent has to be taken for lost: before the cluster, which began
// to count later, could give it to somebody else, even if the two clocks do not run alike.
func (l *Lock) end(sent time.Time, ttl time.Duration) time.Time { return sent.Add(ttl - ttl/20) }

// Name is the lock's name.
func (l *Lock) Name() string { return l.name }

// Token is the fencing token, for IfLock.
func (l *Lock) Token() api.FencingToken { return l.token }

// Lost is closed as soon as the lock may be somebody else's: it was taken away, or could not be renewed in time, or the
// client was closed. It is not closed by Unlock.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Unlock gives the lock back and ends its renewal, also where it fails. The second call does nothing. Errors: *Error;
// api.ErrLockLost if the lock had been lost; ErrUnknownOutcome, ErrUnavailable: then its TTL ends it.
func (l *Lock) Unlock(ctx context.Context) (err error) {
	l.once.Do(func() {
		l.cancel()
		<-l.done
		err = l.release(ctx)
	})
	return err
}

func (l *Lock) query() string {
	return "?" + api.QueryToken + "=" + strconv.FormatUint(uint64(l.token), 10)
}

// release may be repeated whatever became of an attempt. One that finds the lock lost after another may have released it.
func (l *Lock) release(ctx context.Context) error {
	_, err := l.c.do(ctx, lockCall("unlock", http.MethodDelete, l.name, l.query(), nil))
	var failed *Error
	if errors.As(err, &failed) {
		if failed.Attempts > 1 && errors.Is(err, api.ErrLockLost) {
			failed.Outcome = api.Unknown
		}
	}
	return err
}

// renew lets the TTL begin anew and returns when the lock has to be taken for lost. Repeating it does no harm.
func (l *Lock) renew(ctx context.Context) (time.Time, error) {
	sent := time.Now()
	got, err := l.c.lockAnswer(ctx, lockCall("renew lock", http.MethodPut, l.name, l.query(), []byte("{}")))
	if err != nil {
		return time.Time{}, err
	}
	return l.end(sent, got.TTL), nil
}

// keep renews the lock until life ends or the lock is lost. All its times are on the monotonic clock.
func (l *Lock) keep(life context.Context, until time.Time) {
	defer close(l.done)
	pause := l.ttl / 3
	for wait(life, min(pause, time.Until(until))) {
		ctx, cancel := context.WithDeadline(life, until)
		next, err := l.renew(ctx)
		cancel()
		switch {
		case err == nil:
			until, pause = next, l.ttl/3
		case errors.Is(err, api.ErrLockLost), !time.Now().Before(until):
			close(l.lost)
			return
		default:
			pause = l.ttl / 20
		}
	}
	if l.c.life.Err() != nil {
		close(l.lost)
	}
}

// LockState says who holds the lock called name, and how many wait for it. Errors: *Error; api.ErrLockNotFound where
// nobody does.
func (c *Client) LockState(ctx context.Context, name string) (api.Lock, error) {
	return c.lockAnswer(ctx, lockCall("lock state", http.MethodGet, name, "", nil))
}
