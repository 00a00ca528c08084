package systemtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// load is clients that work on a set of keys which changes with time, so that no key's history grows without bound.
type load struct {
	f       *fleet
	history history
	keys    int           // at a time
	every   time.Duration // new keys after this

	acked   atomic.Int64 // writes acknowledged
	unknown atomic.Int64
	refused atomic.Int64 // errors that say that nothing was done

	mu   sync.Mutex
	all  map[string]bool // every key ever written to
	errs []error         // the first few refusals
}

func newLoad(f *fleet, keys int, every time.Duration) *load {
	return &load{f: f, keys: keys, every: every, history: history{begun: time.Now()}, all: make(map[string]bool)}
}

// run keeps n clients at work until ctx ends.
func (l *load) run(ctx context.Context, n int) {
	var wg sync.WaitGroup
	for id := range n {
		wg.Go(func() {
			c := l.f.client()
			defer c.Close()
			rng := rand.New(rand.NewPCG(uint64(id), 1))
			for i := 0; ctx.Err() == nil; i++ {
				l.step(c, id, i, rng)
			}
		})
	}
	wg.Wait()
}

func (l *load) step(c *client.Client, id, i int, rng *rand.Rand) {
	epoch := time.Since(l.history.begun) / l.every
	key := fmt.Sprintf("load/%d/%d", epoch, rng.IntN(l.keys))
	l.mu.Lock()
	l.all[key] = true
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	value := fmt.Sprintf("%d-%d", id, i)
	switch n := rng.IntN(10); {
	case n < 4:
		l.get(ctx, c, id, key)
	case n < 8:
		l.put(ctx, c, id, op{kind: 'p', key: key, value: value})
	case n < 9:
		if item, found := l.get(ctx, c, id, key); found {
			l.put(ctx, c, id, op{kind: 'p', key: key, value: value, match: uint64(item.Version)})
		}
	default:
		l.delete(ctx, c, id, key)
	}
}

func (l *load) get(ctx context.Context, c *client.Client, id int, key string) (client.Item, bool) {
	done := l.history.begin(id, op{kind: 'g', key: key})
	item, err := c.Get(ctx, key)
	switch {
	case err == nil:
		done(outcome{found: true, value: string(item.Value), version: uint64(item.Version)})
		return item, true
	case errors.Is(err, client.ErrNotFound):
		done(outcome{})
	default:
		l.refuse(err) // a read that failed says nothing
	}
	return client.Item{}, false
}

func (l *load) put(ctx context.Context, c *client.Client, id int, in op) {
	done := l.history.begin(id, in)
	var opts []client.PutOption
	if in.match != 0 {
		opts = append(opts, client.IfMatch(api.Version(in.match)))
	}
	res, err := c.Put(ctx, in.key, []byte(in.value), opts...)
	l.wrote(done, uint64(res.Version), err)
}

func (l *load) delete(ctx context.Context, c *client.Client, id int, key string) {
	done := l.history.begin(id, op{kind: 'd', key: key})
	l.wrote(done, 0, c.Delete(ctx, key))
}

func (l *load) wrote(done func(outcome), version uint64, err error) {
	switch {
	case err == nil:
		l.acked.Add(1)
		done(outcome{version: version})
	case errors.Is(err, client.ErrConditionFailed):
		done(outcome{failed: true})
	case errors.Is(err, client.ErrUnknownOutcome):
		l.unknown.Add(1)
		done(outcome{unknown: true})
	default:
		l.refuse(err)
	}
}

// refuse counts an error of a request that had no effect.
func (l *load) refuse(err error) {
	l.refused.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) < 5 {
		l.errs = append(l.errs, err)
	}
}

// readAll reads every key that was ever written, so that the history ends with what was kept.
func (l *load) readAll(ctx context.Context) error {
	c := l.f.client()
	defer c.Close()
	for key := range l.all {
		before := l.refused.Load()
		l.get(ctx, c, 1<<20, key)
		if l.refused.Load() != before {
			return fmt.Errorf("read %s at the end: %w", key, l.errs[0])
		}
	}
	return nil
}
