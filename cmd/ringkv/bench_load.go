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

// The workloads.
const (
	workloadPut = "put"
	workloadGet = "get"
	workloadMix = "mix"
)

func isWorkload(name string) bool {
	return name == workloadPut || name == workloadGet || name == workloadMix
}

// loadConfig is the shape of a load.
type loadConfig struct {
	clients    int // requests under way at a time
	valueBytes int
	keys       int
	warmup     time.Duration
	duration   time.Duration
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
	workload string
	clients  []*client.Client // worker i uses clients[i % len]
	progress progressFunc

	phase    atomic.Int32
	finished atomic.Int64 // requests answered without error since the start
	failed   atomic.Int64 // requests that failed since the start
}

func newLoad(cfg loadConfig, workload string, clients []*client.Client, progress progressFunc) *load {
	return &load{cfg: cfg, workload: workload, clients: clients, progress: progress}
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
			value := newValue(l.cfg.valueBytes)
			c := l.clients[i%len(l.clients)]
			for k := next.Add(1) - 1; k < int64(l.cfg.keys) && ctx.Err() == nil; k = next.Add(1) - 1 {
				if _, err := c.Put(ctx, benchKey(int(k)), value); err != nil {
					cancel(err)
					return
				}
				l.finished.Add(1)
			}
		})
	}
	stop := l.watch("loading keys")
	wg.Wait()
	stop()
	l.finished.Store(0)
	return context.Cause(ctx)
}

// run warms up, measures, and returns what was measured; pids are the servers to account.
func (l *load) run(ctx context.Context, pids []int) (*benchResult, error) {
	workers := make([]*worker, l.cfg.clients)
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = newWorker(l, i)
		wg.Go(func() { workers[i].loop(ctx) })
	}
	stop := l.watch(l.workload)
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
	if !sleep(ctx, l.cfg.duration) {
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

// worker is one client of a load, and what it measured. Owned by one goroutine until the load has ended.
type worker struct {
	load   *load
	client *client.Client
	rand   *rand.Rand
	value  []byte

	gets, puts opStats
}

func newWorker(l *load, i int) *worker {
	return &worker{
		load: l, client: l.clients[i%len(l.clients)], value: newValue(l.cfg.valueBytes),
		rand: rand.New(rand.NewPCG(uint64(i), 0)), gets: newOpStats(), puts: newOpStats(),
	}
}

// newValue returns n bytes that do not compress.
func newValue(n int) []byte {
	value := make([]byte, n)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	return value
}

// loop sends requests until the load or ctx is done. It counts those that lie wholly within the measured time.
func (w *worker) loop(ctx context.Context) {
	for ctx.Err() == nil {
		before := phase(w.load.phase.Load())
		if before == done {
			return
		}
		stats, op := w.pick()
		began := time.Now()
		err := op(ctx, benchKey(w.rand.IntN(w.load.cfg.keys)))
		took := time.Since(began)
		if err != nil {
			w.load.failed.Add(1)
		} else {
			w.load.finished.Add(1)
		}
		if before == measuring && phase(w.load.phase.Load()) == measuring {
			stats.record(took, err)
		}
	}
}

// pick chooses the next operation and where to book it.
func (w *worker) pick() (*opStats, func(context.Context, string) error) {
	get := w.load.workload == workloadGet || w.load.workload == workloadMix && w.rand.Uint32()&1 == 0
	if get {
		return &w.gets, w.get
	}
	return &w.puts, w.put
}

func (w *worker) get(ctx context.Context, key string) error {
	_, err := w.client.Get(ctx, key)
	return err
}

func (w *worker) put(ctx context.Context, key string) error {
	_, err := w.client.Put(ctx, key, w.value)
	return err
}

// netHTTPClient is net/http with as many idle connections as there are clients.
func netHTTPClient(clients int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
}
