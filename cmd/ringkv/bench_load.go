package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// loadConfig is the shape of a load.
type loadConfig struct {
	clients    int // requests under way at a time
	valueBytes int
	keys       int
	hot        int // only so many keys, in place of keys; 0 for keys
	rate       int // operations a second at most; 0 for as many as can be
	warmup     time.Duration
	duration   time.Duration
	count      int64 // requests, in place of duration; 0 for duration
}

func (c *loadConfig) validate() error {
	const mostClients, mostKeys = 10_000, 100_000_000
	switch {
	case c.clients < 1 || c.clients > mostClients:
		return fmt.Errorf("--clients %d: want 1 to %d", c.clients, mostClients)
	case c.valueBytes < 0 || c.valueBytes > api.DefaultMaxValueBytes:
		return fmt.Errorf("--value-size %d: want 0 to %d", c.valueBytes, api.DefaultMaxValueBytes)
	case c.keys < 1 || c.keys > mostKeys:
		return fmt.Errorf("--keys %d: want 1 to %d", c.keys, mostKeys)
	case c.count < 0:
		return fmt.Errorf("--count %d: want 1 or more", c.count)
	case c.rate < 0:
		return fmt.Errorf("--rate %d: want 0 or more", c.rate)
	case c.duration <= 0 || c.warmup < 0:
		return errors.New("--duration must be positive, --warmup not negative")
	}
	return nil
}

// phase is what a load is doing at the moment.
type phase int32

const (
	warming phase = iota
	measuring
	done
)

// load is one closed loop: workers that each send their next request when the last is answered.
type load struct {
	cfg      loadConfig
	workload *workload
	keys     *benchKeys
	opts     []client.TxnOption
	clients  []*client.Client // worker i uses clients[i % len]
	progress progressFunc

	phase    atomic.Int32
	released sync.Map      // of locks, by name: *atomic.Int64, when their release was last sent, ns of Unix time
	finished atomic.Int64  // requests answered without error since the start
	failed   atomic.Int64  // requests that failed since the start
	sampled  *atomic.Int64 // a sampler's count of operations
	measured atomic.Int64  // requests that were answered, or failed, within the measured time
	enough   chan struct{} // closed when those are as many as were wanted
	turns    atomic.Int64  // handed out where there is a rate
	began    time.Time
}

// fill writes every key once, and fails on the first write that does.
func (l *load) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for i := range l.cfg.clients {
		wg.Go(func() {
			value := l.workload.value(l.cfg.valueBytes)
			c := l.clients[i%len(l.clients)]
			for k := next.Add(1) - 1; k < int64(l.keys.n) && ctx.Err() == nil; k = next.Add(1) - 1 {
				if err := l.fillKey(ctx, c, int(k), value); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	stop := l.watch("loading keys")
	wg.Wait()
	stop()
	l.finished.Store(0)
	return context.Cause(ctx)
}

// fillKey writes the keys with number k.
func (l *load) fillKey(ctx context.Context, c *client.Client, k int, value []byte) error {
	for _, key := range l.workload.names(l.keys, k) {
		if _, err := c.Put(ctx, key, value); err != nil {
			return err
		}
		l.finished.Add(1)
	}
	return nil
}

// run warms up, measures, and returns what was measured; pids are the servers to account.
func (l *load) run(ctx context.Context, pids []int) (*benchResult, error) {
	l.began, l.enough = time.Now(), make(chan struct{})
	l.phase.Store(int32(warming))
	workers := make([]*worker, l.cfg.clients)
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = newWorker(l, i)
		wg.Go(func() { workers[i].loop(ctx) })
	}
	stop := l.watch(l.workload.name)
	result, err := l.conduct(ctx, pids)
	l.phase.Store(int32(done))
	wg.Wait()
	stop()
	if err != nil {
		return nil, err
	}
	result.gather(l, workers)
	return result, nil
}

// conduct takes l through its phases and the servers' accounts at their borders.
func (l *load) conduct(ctx context.Context, pids []int) (*benchResult, error) {
	if !sleep(ctx, l.cfg.warmup) {
		return nil, context.Cause(ctx)
	}
	before, err := readUsages(pids)
	if err != nil {
		return nil, err
	}
	self := ownCPU()
	began := time.Now()
	l.phase.Store(int32(measuring))
	if !l.last(ctx) {
		return nil, context.Cause(ctx)
	}
	l.phase.Store(int32(done))
	result := &benchResult{elapsed: time.Since(began), ownCPU: ownCPU() - self}
	after, err := readUsages(pids)
	if err != nil {
		return nil, err
	}
	result.Servers = accounts(before, after)
	return result, nil
}

// last waits for the end of the measured time. It reports false when ctx ended first.
func (l *load) last(ctx context.Context) bool {
	if l.cfg.count == 0 {
		return sleep(ctx, l.cfg.duration)
	}
	select {
	case <-l.enough:
		return true
	case <-ctx.Done():
		return false
	}
}

// worker is one client of a load, and what it measured. Owned by one goroutine until the load has ended.
type worker struct {
	load   *load
	client *client.Client
	keys   *benchKeys
	opts   []client.TxnOption
	rand   *rand.Rand
	value  []byte

	gets, puts     opStats
	txns           opStats // whole transactions
	reads, commits opStats // of transactions: their parts
	locks, handed  opStats // locks taken and given back; from the sending of a release to the next holder
	conflicts      int64   // how many times a transaction began again
}

func newWorker(l *load, i int) *worker {
	return &worker{
		load: l, client: l.clients[i%len(l.clients)], keys: l.keys, opts: l.opts, value: l.workload.value(l.cfg.valueBytes),
		rand: rand.New(rand.NewPCG(uint64(i), 0)), gets: newOpStats(), puts: newOpStats(),
		txns: newOpStats(), reads: newOpStats(), commits: newOpStats(), locks: newOpStats(), handed: newOpStats(),
	}
}

// loop sends requests until the load or ctx is done. It counts those that lie wholly within the measured time.
func (w *worker) loop(ctx context.Context) {
	for ctx.Err() == nil {
		if !w.load.await(ctx) {
			return
		}
		before := phase(w.load.phase.Load())
		if before == done {
			return
		}
		began := time.Now()
		stats, err := w.load.workload.step(w, ctx)
		took := time.Since(began)
		if err != nil {
			w.load.failed.Add(1)
		} else {
			w.load.finished.Add(1)
			w.load.sampled.Add(1)
		}
		if before == measuring && phase(w.load.phase.Load()) == measuring {
			stats.record(took, err)
			if w.load.measured.Add(1) == w.load.cfg.count {
				close(w.load.enough)
			}
		}
	}
}

// await waits for the next turn where there is a rate; turns that come late are made up for. It reports false when ctx
// has ended.
func (l *load) await(ctx context.Context) bool {
	if l.cfg.rate == 0 {
		return true
	}
	turn := l.began.Add(time.Duration(l.turns.Add(1)) * time.Second / time.Duration(l.cfg.rate))
	return sleep(ctx, max(0, time.Until(turn)))
}

// netHTTPClient is net/http with as many idle connections as there are clients.
func netHTTPClient(clients int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
}
