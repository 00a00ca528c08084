package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/ringkv/ringkv/api"
)

const (
	// maxPause bounds the pause between two attempts that a node did not ask for.
	maxPause = time.Second
	// maxRetryAfter bounds how long a node's Retry-After is believed.
	maxRetryAfter = 10 * time.Second
)

// verdict is what one attempt came to.
type verdict struct {
	resp    *response // of a success
	err     error     // otherwise the cause
	outcome api.Outcome
	retry   bool          // the request may be sent again, and that may help
	after   time.Duration // asked for by the node before the next attempt
	moved   bool          // the node was not reached, or is not in charge: the ring may have changed
	unsent  bool          // the node was not reached: another one may be asked without a pause
}

// do carries cl through its attempts and returns the answer of the one that succeeded. Errors: *Error.
func (c *Client) do(ctx context.Context, cl *call) (*response, error) {
	if c.life.Err() != nil {
		return nil, &Error{Op: cl.op, Key: cl.key, Outcome: cl.nothingDone(), Err: ErrClosed}
	}
	r := c.route(cl)
	var (
		told *Error // what a node that could be reached has said
		d    doubt
	)
	for n := 1; ; n++ {
		e := r.next(time.Now())
		v := c.attempt(ctx, cl, e)
		if v.err == nil {
			return v.resp, nil
		}
		if v.moved {
			c.refreshSoon()
		}
		if cl.replayable {
			d.weigh(&v, time.Now())
		}
		if told == nil || !v.unsent {
			told = cl.failed(e, v)
		}
		if !v.retry || d.over(n, c.cfg.MaxAttempts, time.Now()) || !c.pause(ctx, n, v, r.fresh()) {
			told.Attempts, told.Err = n, withCause(ctx, told.Err)
			if d.exists() {
				told.Outcome = api.Unknown
			}
			return nil, told
		}
	}
}

// failed is what cl fails with if it was e that answered last.
func (cl *call) failed(e *endpoint, v verdict) *Error {
	failed := &Error{Op: cl.op, Key: cl.key, Node: e.addr, Outcome: v.outcome, Err: v.err}
	var p *api.Problem
	if errors.As(v.err, &p) {
		failed.Txn = p.Txn
	}
	return failed
}

// attempt sends cl to e once.
func (c *Client) attempt(ctx context.Context, cl *call, e *endpoint) verdict {
	if ctx.Err() != nil {
		return verdict{err: context.Cause(ctx), outcome: cl.nothingDone()}
	}
	resp, sent, err := c.trans.roundTrip(ctx, e, &cl.req, c.deadline(ctx, cl))
	if err == nil {
		e.answered()
		if cl.allowed(resp.status) {
			return verdict{resp: resp}
		}
		return cl.judge(resp)
	}
	now := time.Now()
	if why := ended(ctx, now); why != nil {
		return verdict{err: fmt.Errorf("%w (%w)", why, err), outcome: cl.lost(sent)}
	}
	e.failed(now)
	if !sent {
		return verdict{err: &unreachableError{err}, outcome: cl.nothingDone(), retry: true, moved: true, unsent: true}
	}
	if !cl.write { // whatever became of it, nothing was changed
		return verdict{err: fmt.Errorf("%w: %w", ErrUnavailable, err), retry: true, moved: true}
	}
	return verdict{err: err, outcome: cl.lost(sent), moved: true}
}

// deadline is when an attempt that begins now is given up.
func (c *Client) deadline(ctx context.Context, cl *call) time.Time {
	limit := c.cfg.ReadTimeout
	if cl.write {
		limit = c.cfg.WriteTimeout
	}
	deadline := time.Now().Add(max(limit, cl.patience))
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		return d
	}
	return deadline
}

// ended returns why ctx has ended, nil if it has not. A connection's deadline may fire before the same one of ctx.
func ended(ctx context.Context, now time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d, ok := ctx.Deadline(); ok && !now.Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

// withCause adds to err why ctx has ended, if it has and err does not say so.
func withCause(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
}

// nothingDone is the outcome of cl if no node has seen it.
func (cl *call) nothingDone() api.Outcome {
	if cl.write {
		return api.Aborted
	}
	return ""
}

// lost is the outcome of cl if no answer came.
func (cl *call) lost(sent bool) api.Outcome {
	if cl.write && sent {
		return api.Unknown
	}
	return cl.nothingDone()
}

// judge turns an error answer into a verdict.
func (cl *call) judge(resp *response) verdict {
	v := verdict{err: cl.problem(resp), after: retryAfter(resp.retryAfter)}
	var p *api.Problem
	known := errors.As(v.err, &p)
	transient := resp.status >= 500 || resp.status == http.StatusTooManyRequests ||
		resp.status == http.StatusRequestTimeout
	v.moved = transient
	if !cl.write {
		v.retry = transient || known && p.Retryable
		return v
	}
	v.outcome = writeOutcome(resp.status, p)
	v.retry = known && p.Retryable && v.outcome == api.Aborted && p.Code != api.CodeLockHeld // it was waited for
	return v
}

// writeOutcome is what became of a write that was answered with an error. p is nil if the answer is no problem
// document: below 500 it is net/http's own then, given before anything was done.
func writeOutcome(status int, p *api.Problem) api.Outcome {
	switch {
	case p != nil && p.Outcome != "":
		return p.Outcome
	case status >= 400 && status < 500:
		return api.Aborted
	default:
		return api.Unknown
	}
}

// problem decodes an error answer. The error is an *api.Problem if it is one.
func (cl *call) problem(resp *response) error {
	p := new(api.Problem)
	err := json.Unmarshal(resp.body, p)
	if err == nil && p.Code != "" {
		return p
	}
	cause := statusError(resp.status)
	const most = 200
	text := resp.body[:min(len(resp.body), most)]
	return fmt.Errorf("status %d: %w: %q", resp.status, cause, text)
}

// statusError is the sentinel for an error answer that names no code.
func statusError(status int) error {
	switch {
	case status == http.StatusServiceUnavailable:
		return api.ErrUnavailable
	case status >= 500:
		return api.ErrInternal
	case status >= 400:
		return api.ErrInvalid
	default:
		return errMalformed
	}
}

// retryAfter reads the value of the header of that name, in seconds.
func retryAfter(value string) time.Duration {
	seconds, err := strconv.Atoi(value)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxRetryAfter)
}

// pause waits before attempt n+1. It reports false, at once, if ctx would end before that.
func (c *Client) pause(ctx context.Context, n int, v verdict, unasked bool) bool {
	if v.unsent && unasked {
		return ctx.Err() == nil
	}
	d := max(c.backoff(n), v.after)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-c.life.Done():
		return false
	}
}

// backoff is the pause after the n-th attempt: between half and all of what doubling gives.
func (c *Client) backoff(n int) time.Duration {
	d := c.cfg.Backoff
	for range n - 1 {
		d = min(2*d, maxPause)
	}
	return d/2 + rand.N(d/2+1)
}
