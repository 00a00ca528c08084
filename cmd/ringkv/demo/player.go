package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ringkv/ringkv/api/client"
)

// Tally counts transactions by how they ended.
type Tally struct {
	Committed int64  `json:"committed"`
	Refused   int64  `json:"refused"`   // the business said no: not enough money, sold out
	Conflicts int64  `json:"conflicts"` // how many times a transaction began again because others were faster
	GivenUp   int64  `json:"given_up"`  // of those, how many ran out of time
	Replayed  int64  `json:"replayed"`  // committed, and the answer of an earlier copy was given
	Unknown   int64  `json:"unknown"`   // nobody could tell in time
	Failed    int64  `json:"failed"`    // not done for another reason: no majority, overload
	LastError string `json:"last_error,omitempty"`
}

// tally is a Tally that many count on.
type tally struct {
	committed, refused, conflicts, givenUp, replayed, unknown, failed atomic.Int64
	lastError                                                         atomic.Pointer[string]
}

func (t *tally) now() Tally {
	now := Tally{
		Committed: t.committed.Load(), Refused: t.refused.Load(), Conflicts: t.conflicts.Load(),
		GivenUp: t.givenUp.Load(), Replayed: t.replayed.Load(), Unknown: t.unknown.Load(), Failed: t.failed.Load(),
	}
	if text := t.lastError.Load(); text != nil {
		now.LastError = *text
	}
	return now
}

// newLatencies keeps microseconds, from one to a minute, to three digits.
func newLatencies() *hdrhistogram.Histogram {
	const most, digits = 60_000_000, 3
	return hdrhistogram.New(1, most, digits)
}

// player is one client of the business, and what it was told. Owned by one goroutine until the game is over.
type player struct {
	run       *run
	number    int
	rand      *rand.Rand
	latencies *hdrhistogram.Histogram

	done, doubt int64 // transactions told committed, and those that may or may not be
	state       any   // the business's own
}

func newPlayer(r *run, number int) *player {
	return &player{
		run: r, number: number, latencies: newLatencies(),
		rand: rand.New(rand.NewPCG(rand.Uint64(), uint64(number))),
	}
}

// errRefused is returned by a step for which the business said no: nothing was done, and that is as it should be.
var errRefused = errors.New("refused")

// play carries out transactions until the game is over.
func (p *player) play(ctx context.Context) {
	for p.run.next(ctx) {
		stepCtx, cancel := context.WithTimeout(ctx, patience)
		err := p.run.business.step(stepCtx, p)
		cancel()
		p.book(ctx, err)
	}
}

// book counts a transaction that ended with err.
func (p *player) book(ctx context.Context, err error) {
	t := &p.run.tally
	switch {
	case err == nil:
		p.done++
		t.committed.Add(1)
		return
	case errors.Is(err, errRefused):
		t.refused.Add(1)
		return
	case errors.Is(err, client.ErrUnknownOutcome):
		p.doubt++
		t.unknown.Add(1)
	case errors.Is(err, client.ErrConflict):
		t.givenUp.Add(1)
	default:
		t.failed.Add(1)
	}
	text := err.Error()
	t.lastError.Store(&text)
	select {
	case <-ctx.Done():
	case <-time.After(failurePause):
	}
}

// options are those of every transaction.
func (p *player) options() []client.TxnOption {
	return append([]client.TxnOption{client.ExactlyOnce()}, p.run.cfg.Options...)
}

// newTxn returns an empty transaction.
func (p *player) newTxn() *client.Txn { return client.NewTxn(p.options()...) }

// transact carries out t. Errors: errRefused if a condition or bound did not hold; the client's.
func (p *player) transact(ctx context.Context, t *client.Txn) error {
	began := time.Now()
	r, err := p.run.client.Transact(ctx, t)
	if errors.Is(err, client.ErrConditionFailed) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return err
	}
	p.committed(began)
	p.run.tally.conflicts.Add(int64(max(0, r.Attempts-1)))
	if r.Replayed {
		p.run.tally.replayed.Add(1)
	}
	return nil
}

// txn runs fn as a transaction. Errors: errRefused if a bound did not hold; fn's; the client's.
func (p *player) txn(ctx context.Context, fn func(tx *client.Tx) error) error {
	began, runs := time.Now(), int64(0)
	err := p.run.client.Txn(ctx, func(tx *client.Tx) error {
		runs++
		return fn(tx)
	}, p.options()...)
	p.run.tally.conflicts.Add(max(0, runs-1))
	if errors.Is(err, client.ErrConditionFailed) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err == nil {
		p.committed(began)
	}
	return err
}

// committed books how long a transaction that began then has taken.
func (p *player) committed(began time.Time) {
	_ = p.latencies.RecordValue(max(1, time.Since(began).Microseconds()))
}

// told reports whether n is what the players were told, give or take what they were left in doubt about.
func told(what string, n, done, doubt int64) Check {
	detail := fmt.Sprintf("%d %s in the books, %d told to the clients", n, what, done)
	if doubt > 0 {
		detail += fmt.Sprintf(", %d more in doubt", doubt)
	}
	return Check{Name: "exactly once", Kept: done <= n && n <= done+doubt, Detail: detail}
}

// sums returns how many transactions the players were told of, and left in doubt about.
func sums(players []*player) (done, doubt int64) {
	for _, p := range players {
		done += p.done
		doubt += p.doubt
	}
	return done, doubt
}
