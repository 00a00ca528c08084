package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// The workload expire measures the same load twice, the second time while many keys fall due.
const (
	// expireBatch is how many keys one transaction loads, all of them in one partition.
	expireBatch = 250
	// loadPerKey and loadRest are the time that is left for the loading of a key, and for what comes after it: the keys'
	// deadlines have to be said beforehand.
	loadPerKey = 50 * time.Microsecond
	loadRest   = 10 * time.Second
	// lateSamples is how many keys are asked for around their deadlines, and latePoll how often.
	lateSamples = 1000
	latePoll    = 20 * time.Millisecond
	// earlyBy is how long before its deadline a sampled key must still be there.
	earlyBy = 50 * time.Millisecond
	// reclaimedWithin is how long after the last deadline the space of the last key may be given back.
	reclaimedWithin = 2 * time.Minute
)

// expiry is a run of the workload expire.
type expiry struct {
	load  *load
	nodes []string // to read metrics of
	pids  []int
	keys  int           // that fall due
	over  time.Duration // from the first deadline to the last
	first time.Time     // deadline

	mu    sync.Mutex // guards what follows
	late  opStats
	early int
}

// errSlowLoad is returned when keys fall due before all of them are there, or soon after.
var errSlowLoad = errors.New("the keys are loaded too slowly for their deadlines")

// due is the deadline of key i.
func (e *expiry) due(i int) time.Time {
	return e.first.Add(time.Duration(float64(e.over) * float64(i) / float64(e.keys)))
}

func (e *expiry) batches() int { return max(1, e.keys/expireBatch) }

// key is the name of key i. Those of a batch share a partition and are spread over all the time.
func (e *expiry) key(i int) string {
	return "bench-ttl/{" + strconv.Itoa(i%e.batches()) + "}/" + eightDigits(i)
}

// runExpiry loads keys that fall due all along the second of two measured times, and returns what was measured.
func (l *load) runExpiry(ctx context.Context, keys int, nodes []string, pids []int) (*benchResult, error) {
	e := &expiry{load: l, nodes: nodes, pids: pids, keys: keys, over: l.cfg.duration, late: newOpStats()}
	r := &expiryResult{Keys: keys}
	if err := r.look(ctx, e, "before"); err != nil {
		return nil, err
	}
	began := time.Now()
	calm := began.Add(time.Duration(keys)*loadPerKey + loadRest)
	e.first = calm.Add(2*l.cfg.warmup + l.cfg.duration + time.Second)
	if err := e.fill(ctx); err != nil {
		return nil, fmt.Errorf("load keys: %w", err)
	}
	r.LoadSeconds = time.Since(began).Seconds()
	if time.Until(calm) < 0 {
		return nil, fmt.Errorf("%d keys in %.0f s: %w", keys, r.LoadSeconds, errSlowLoad)
	}
	if !sleep(ctx, time.Until(calm)) {
		return nil, context.Cause(ctx)
	}
	if err := r.look(ctx, e, "loaded"); err != nil {
		return nil, err
	}
	return e.measure(ctx, r)
}

// measure runs the load in calm, then while keys fall due, and waits for the last of them.
func (e *expiry) measure(ctx context.Context, r *expiryResult) (*benchResult, error) {
	calm, err := e.load.run(ctx, e.pids)
	if err != nil {
		return nil, err
	}
	r.CalmOpsPerSec, r.CalmGet, r.CalmPut = calm.OpsPerSec, calm.Get, calm.Put
	var sampling sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer sampling.Wait()
	defer cancel()
	for n := range min(lateSamples, e.keys) {
		i := (e.keys - 1) * n / max(1, min(lateSamples, e.keys)-1)
		sampling.Go(func() { e.sample(ctx, i) })
	}
	e.load.cfg.warmup = time.Until(e.first)
	result, err := e.load.run(ctx, e.pids)
	if err != nil {
		return nil, err
	}
	if err := r.look(ctx, e, "measured"); err != nil {
		return nil, err
	}
	if err := e.gone(ctx, r); err != nil {
		return nil, err
	}
	sampling.Wait()
	result.Expiry = r
	r.Samples, r.Early, r.Late = int(e.late.latency.TotalCount()), e.early, e.late.result()
	r.compare(result, calm)
	return result, nil
}

// fill writes the keys that are to fall due.
func (e *expiry) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for i := range min(16, e.load.cfg.clients) {
		wg.Go(func() {
			c := e.load.clients[i%len(e.load.clients)]
			value := newText(e.load.cfg.valueBytes)
			for b := int(next.Add(1) - 1); b < e.batches() && ctx.Err() == nil; b = int(next.Add(1) - 1) {
				if err := e.fillBatch(ctx, c, b, value); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	stop := e.load.watch("loading keys that will expire")
	wg.Wait()
	stop()
	e.load.finished.Store(0)
	return context.Cause(ctx)
}

func (e *expiry) fillBatch(ctx context.Context, c *client.Client, b int, value []byte) error {
	txn := client.NewTxn()
	for i := b; i < e.keys; i += e.batches() {
		left := time.Until(e.due(i)).Truncate(time.Millisecond)
		if left <= 0 {
			return errSlowLoad
		}
		txn.Put(e.key(i), value, client.TTL(left))
		e.load.finished.Add(1)
	}
	_, err := c.Transact(ctx, txn)
	return err
}

// sample finds out when key i goes, as a client sees it.
func (e *expiry) sample(ctx context.Context, i int) {
	c := e.load.clients[i%len(e.load.clients)]
	key, due := e.key(i), e.due(i).Add(-time.Millisecond) // the TTL was cut to milliseconds
	if !sleep(ctx, time.Until(due)-earlyBy) {
		return
	}
	if _, err := c.Get(ctx, key); errors.Is(err, client.ErrNotFound) && time.Now().Before(due) {
		e.mu.Lock()
		e.early++
		e.mu.Unlock()
		return
	}
	for sleep(ctx, max(latePoll, time.Until(due))) {
		if _, err := c.Get(ctx, key); errors.Is(err, client.ErrNotFound) {
			e.mu.Lock()
			e.late.record(time.Since(due), nil)
			e.mu.Unlock()
			return
		}
	}
}

// gone waits until all the keys have expired and their space has been given back.
func (e *expiry) gone(ctx context.Context, r *expiryResult) error {
	for began := time.Now(); ; {
		now, err := readSpace(ctx, e.nodes, e.pids)
		if err != nil {
			return err
		}
		if now.Expired-r.Space[0].Expired >= int64(e.keys) && now.Unpurged == 0 {
			r.GoneSeconds = max(0, time.Since(e.due(e.keys-1)).Seconds())
			now.When = "gone"
			r.Space = append(r.Space, now)
			return nil
		}
		if time.Since(began) > reclaimedWithin {
			return fmt.Errorf("%d of %d keys have expired, of %d the space is not given back",
				now.Expired-r.Space[0].Expired, e.keys, now.Unpurged)
		}
		if !sleep(ctx, latePoll) {
			return context.Cause(ctx)
		}
	}
}

// look notes what the cluster holds.
func (r *expiryResult) look(ctx context.Context, e *expiry, when string) error {
	s, err := readSpace(ctx, e.nodes, e.pids)
	s.When = when
	r.Space = append(r.Space, s)
	return err
}

// checkExpiring refuses flags that make no sense with the workload expire.
func (f *benchFlags) checkExpiring() error {
	const most = 10_000_000
	if f.expiring < 1 || f.expiring > most {
		return fmt.Errorf("--expiring %d: want 1 to %d", f.expiring, most)
	}
	if f.load.count > 0 {
		return errors.New("--count: keys fall due in time, give --duration")
	}
	if f.load.duration > api.MaxTTL/2 {
		return errors.New("--duration is too long for keys to expire in")
	}
	return nil
}
