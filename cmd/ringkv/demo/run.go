package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api/client"
)

const (
	// patience is how long one transaction may take, retries and asking for lost answers included.
	patience = 30 * time.Second
	// auditPatience is how long reading the books may take.
	auditPatience = time.Minute
	// cleanUpPatience is how long removing the keys may take, also after ctx has ended.
	cleanUpPatience = 30 * time.Second
	// progressPause is between two calls of Config.Progress.
	progressPause = 200 * time.Millisecond
	// failurePause is after a transaction that could not be done, so that a cluster without a majority is not stormed.
	failurePause = 50 * time.Millisecond
)

// run is one game: the players, and when it ends.
type run struct {
	cfg      Config
	client   *client.Client
	prefix   string
	business business

	tried   atomic.Int64 // transactions begun
	stop    atomic.Bool  // no further one is to begin
	broken  chan Check   // the first promise seen broken while the players worked
	players []*player
	tally   tally
}

// play sets up, lets the players work, and audits.
func (r *run) play(ctx context.Context) (*Report, error) {
	r.broken = make(chan Check, 1)
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	worked := r.work(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	report := r.report(worked)
	auditCtx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	books, how, err := readBooks(auditCtx, r.client, r.prefix)
	if err != nil {
		return report, fmt.Errorf("read the books: %w", err)
	}
	report.Keys, report.ReadIn = len(books), how
	report.Checks = r.business.audit(books, r.players)
	select {
	case c := <-r.broken:
		report.Checks = append([]Check{c}, report.Checks...)
	default:
	}
	return report, report.broken()
}

// page is how many operations one transaction of set-up or audit has at most.
const page = 500

// open writes what the business begins with.
func (r *run) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	values := r.business.open()
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for part := range slices.Chunk(keys, page) {
		t := client.NewTxn(client.ExactlyOnce())
		for _, key := range part {
			t.Put(key, values[key])
		}
		if _, err := r.client.Transact(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// work lets the players play until the time or the count is over, and returns how long that took. The transaction that a
// player is at then is brought to its end.
func (r *run) work(ctx context.Context) time.Duration {
	began := time.Now()
	var wg sync.WaitGroup
	for i := range r.cfg.Clients {
		p := newPlayer(r, i)
		r.players = append(r.players, p)
		wg.Go(func() { p.play(ctx) })
	}
	over := make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	r.watch(ctx, began, over)
	<-over
	return time.Since(began)
}

// watch reports the progress, and ends the game, until over.
func (r *run) watch(ctx context.Context, began time.Time, over <-chan struct{}) {
	ticker := time.NewTicker(progressPause)
	defer ticker.Stop()
	deadline := time.NewTimer(r.cfg.Duration)
	defer deadline.Stop()
	if r.cfg.Count > 0 {
		deadline.Stop()
	}
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-deadline.C:
			r.stop.Store(true)
		case now := <-ticker.C:
			part := float64(now.Sub(began)) / float64(r.cfg.Duration)
			if r.cfg.Count > 0 {
				part = float64(r.tried.Load()) / float64(r.cfg.Count)
			}
			r.cfg.Progress(min(1, part), r.tally.now())
		}
	}
}

// next reports whether a player may begin one more transaction.
func (r *run) next(ctx context.Context) bool {
	if ctx.Err() != nil || r.stop.Load() {
		return false
	}
	return r.tried.Add(1) <= r.cfg.Count || r.cfg.Count == 0
}

// foul ends the game: a promise was seen broken while it went on.
func (r *run) foul(c Check) {
	select {
	case r.broken <- c:
	default:
	}
	r.stop.Store(true)
}

func (r *run) report(worked time.Duration) *Report {
	report := &Report{
		Business: r.cfg.Business, Prefix: r.prefix, Clients: r.cfg.Clients, Size: r.cfg.Size,
		Seconds: worked.Seconds(), Tally: r.tally.now(),
	}
	report.PerSecond = float64(report.Committed) / report.Seconds
	h := newLatencies()
	for _, p := range r.players {
		h.Merge(p.latencies)
	}
	if h.TotalCount() > 0 {
		report.P50Ms, report.P99Ms = float64(h.ValueAtQuantile(50))/1000, float64(h.ValueAtQuantile(99))/1000
		report.MaxMs = float64(h.Max()) / 1000
	}
	return report
}

// cleanUp removes all keys of the run. It does so even if ctx has ended.
func (r *run) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpPatience)
	defer cancel()
	keys := make(chan string)
	var (
		wg   sync.WaitGroup
		errs = make([]error, r.cfg.Clients)
	)
	for i := range r.cfg.Clients {
		wg.Go(func() {
			for key := range keys {
				errs[i] = errors.Join(errs[i], r.client.Delete(ctx, key))
			}
		})
	}
	var listing error
	for item, err := range r.client.List(ctx, client.ListOptions{Prefix: r.prefix, KeysOnly: true}) {
		if err != nil {
			listing = err
			break
		}
		keys <- item.Key
	}
	close(keys)
	wg.Wait()
	if err := errors.Join(append(errs, listing)...); err != nil {
		return fmt.Errorf("keys under %s may be left: %w", r.prefix, err)
	}
	return nil
}
