package systemtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

var bankFor = flag.Duration("bank-for", 2*time.Minute, "how long TestBank moves money and kills nodes")

const (
	bankAccounts = 1000
	bankClients  = 32
	bankOpening  = 1000 // of each account
)

// bank is accounts whose sum never changes.
type bank struct {
	f                           *fleet
	moved, refused, lost, reads atomic.Int64
	wrong                       chan error // cap 1: the first thing that must not be
	mu                          sync.Mutex
	errs                        map[string]int
}

func account(i int) string { return fmt.Sprintf("bank/%d", i) }

// TestBank moves money among 1,000 accounts with 32 clients while random nodes are killed with kill -9: every snapshot of
// all accounts has the same total, and so has the end.
func TestBank(t *testing.T) {
	f := newFleet(t, 3)
	for i := range 3 {
		f.start(i)
		f.ready(i)
	}
	b := &bank{f: f, wrong: make(chan error, 1), errs: make(map[string]int)}
	b.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), *bankFor)
	defer cancel()
	var wg sync.WaitGroup
	for id := range bankClients {
		wg.Go(func() { b.work(ctx, id) })
	}
	wg.Go(func() { b.audit(ctx) })
	kills := b.killSome(ctx)
	wg.Wait()
	f.ready(0, 1, 2)
	b.finalAudit(t)
	select {
	case err := <-b.wrong:
		t.Error(err)
	default:
	}
	t.Logf("%d kills; %d transfers, %d refused, %d of unknown outcome; %d snapshots of all accounts; errors %v",
		kills, b.moved.Load(), b.refused.Load(), b.lost.Load(), b.reads.Load(), b.errs)
	if b.moved.Load() < 100 || b.reads.Load() < 1 {
		t.Errorf("too little happened to show anything")
	}
}

func (b *bank) open(t *testing.T) {
	t.Helper()
	c := b.f.client()
	defer c.Close()
	for i := 0; i < bankAccounts; i += 250 {
		tx := client.NewTxn()
		for j := i; j < i+250; j++ {
			tx.Put(account(j), fmt.Append(nil, bankOpening))
		}
		if _, err := c.Transact(t.Context(), tx); err != nil {
			t.Fatalf("open accounts: %v", err)
		}
	}
}

// killSome kills random nodes, one at a time, until ctx ends.
func (b *bank) killSome(ctx context.Context) (kills int) {
	for ctx.Err() == nil {
		b.f.pause(4 * time.Second)
		i := rand.IntN(3)
		b.f.nodes[i].kill()
		kills++
		b.f.pause(time.Duration(rand.IntN(3000)) * time.Millisecond)
		b.f.start(i)
		b.f.ready(i)
	}
	return kills
}

func (b *bank) work(ctx context.Context, id int) {
	c := b.f.client()
	defer c.Close()
	rng := rand.New(rand.NewPCG(uint64(id), 7))
	for ctx.Err() == nil {
		from, to := rng.IntN(bankAccounts), rng.IntN(bankAccounts)
		if rng.IntN(4) == 0 {
			from, to = rng.IntN(8), rng.IntN(8) // some accounts are busy
		}
		if from == to {
			continue
		}
		b.note(b.transfer(c, rng, from, to, int64(1+rng.IntN(20))))
	}
}

// transfer moves an amount in one of the ways there are.
func (b *bank) transfer(c *client.Client, rng *rand.Rand, from, to int, amount int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if rng.IntN(4) == 0 {
		return c.Txn(ctx, func(tx *client.Tx) error { return readAndWrite(ctx, tx, from, to, amount) })
	}
	protocols := []api.TxnProtocol{api.ProtocolAuto, api.ProtocolAuto, api.Protocol2PC, api.Protocol3PC}
	opts := []client.TxnOption{client.Protocol(protocols[rng.IntN(len(protocols))])}
	if rng.IntN(3) == 0 {
		opts = append(opts, client.ExactlyOnce())
	}
	_, err := c.Transact(ctx, client.NewTxn(opts...).Add(account(from), -amount, client.AtLeast(0)).Add(account(to), amount))
	return err
}

var errPoor = errors.New("not enough money")

func readAndWrite(ctx context.Context, tx *client.Tx, from, to int, amount int64) error {
	var have [2]int64
	for i, key := range []string{account(from), account(to)} {
		v, err := tx.Get(ctx, key)
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(v), &have[i]); err != nil {
			return fmt.Errorf("account %s: %w", key, err)
		}
	}
	if have[0] < amount {
		return errPoor
	}
	tx.Put(account(from), fmt.Append(nil, have[0]-amount))
	tx.Put(account(to), fmt.Append(nil, have[1]+amount))
	return nil
}

func (b *bank) note(err error) {
	var failed *client.TxnFailedError
	switch {
	case err == nil:
		b.moved.Add(1)
	case errors.As(err, &failed), errors.Is(err, errPoor):
		b.refused.Add(1)
	case errors.Is(err, client.ErrUnknownOutcome):
		b.lost.Add(1)
	default:
		b.refused.Add(1)
		b.remember(err.Error())
	}
}

// remember keeps the first few errors for the log.
func (b *bank) remember(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errs) < 10 {
		b.errs[text]++
	}
}

// audit takes snapshots of all accounts in one read-only transaction each.
func (b *bank) audit(ctx context.Context) {
	c := b.f.client()
	defer c.Close()
	for ctx.Err() == nil {
		err := b.snapshot(c)
		switch {
		case err == nil:
			b.reads.Add(1)
		case errors.Is(err, errWrongTotal):
			b.accuse(err)
		default:
			b.remember("snapshot: " + err.Error())
		}
		b.f.pause(100 * time.Millisecond)
	}
}

var errWrongTotal = errors.New("money was made or lost")

func (b *bank) snapshot(c *client.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	tx := client.NewTxn(client.TxnTimeout(60 * time.Second))
	for i := range bankAccounts {
		tx.Get(account(i))
	}
	res, err := c.Transact(ctx, tx)
	if err != nil {
		return err
	}
	total := int64(0)
	for i := range res.Results {
		n, err := res.Results[i].Int()
		if err != nil || n < 0 {
			return fmt.Errorf("%w: account %s has %q: %w", errWrongTotal, res.Results[i].Key, res.Results[i].Value, err)
		}
		total += n
	}
	if total != bankAccounts*bankOpening {
		return fmt.Errorf("%w: %d in all accounts, not %d", errWrongTotal, total, bankAccounts*bankOpening)
	}
	return nil
}

func (b *bank) accuse(err error) {
	select {
	case b.wrong <- err:
	default:
	}
}

// finalAudit looks through every node, and again after a while in which whatever was left open is finished.
func (b *bank) finalAudit(t *testing.T) {
	t.Helper()
	for range 2 {
		for _, p := range b.f.nodes {
			c, err := client.New(client.Config{Nodes: []string{p.http}})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.snapshot(c); err != nil {
				t.Errorf("final snapshot through %s: %v", p.name, err)
			}
			c.Close()
		}
		b.f.pause(5 * time.Second)
	}
}
