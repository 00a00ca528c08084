package demo

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ringkv/ringkv/api/client"
)

// bank moves money among accounts: half of the transfers as two bounded adds that read nothing, half by reading both
// balances and writing both. Now and then a client adds up all accounts. Beside each transfer the client's own counter
// goes up by one in the same transaction, which tells at the end whether each was done exactly once.
type bank struct {
	prefix   string
	accounts []string
}

const (
	openingBalance = 1000
	maxTransfer    = 300
	auditOneIn     = 50 // steps
)

func newBank(prefix string, accounts int) *bank {
	b := &bank{prefix: prefix}
	for i := range accounts {
		b.accounts = append(b.accounts, fmt.Sprintf("%sacct/%03d", prefix, i))
	}
	return b
}

func (b *bank) open() map[string][]byte {
	values := make(map[string][]byte)
	for _, a := range b.accounts {
		values[a] = number(openingBalance)
	}
	return values
}

func number(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

func (b *bank) total() int64 { return int64(len(b.accounts)) * openingBalance }

func (b *bank) counter(player int) string { return b.prefix + "done/" + strconv.Itoa(player) }

func (b *bank) step(ctx context.Context, p *player) error {
	i, j := p.rand.IntN(len(b.accounts)), p.rand.IntN(len(b.accounts)-1)
	if j >= i {
		j++
	}
	from, to, amount := b.accounts[i], b.accounts[j], 1+p.rand.Int64N(maxTransfer)
	if p.rand.IntN(auditOneIn) == 0 {
		if err := b.addUp(ctx, p); err != nil {
			return err
		}
	}
	if p.rand.IntN(2) == 0 {
		return p.transact(ctx, p.newTxn().
			Add(from, -amount, client.AtLeast(0)).Add(to, amount).Add(b.counter(p.number), 1))
	}
	return p.txn(ctx, func(tx *client.Tx) error { return b.transfer(ctx, p, tx, from, to, amount) })
}

// transfer reads both balances and writes them.
func (b *bank) transfer(ctx context.Context, p *player, tx *client.Tx, from, to string, amount int64) error {
	payer, err := balance(ctx, tx, from)
	if err != nil {
		return err
	}
	if payer < amount {
		return errRefused
	}
	payee, err := balance(ctx, tx, to)
	if err != nil {
		return err
	}
	tx.Put(from, number(payer-amount))
	tx.Put(to, number(payee+amount))
	tx.Add(b.counter(p.number), 1)
	return nil
}

func balance(ctx context.Context, tx *client.Tx, key string) (int64, error) {
	value, err := tx.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(value), 10, 64)
}

// addUp reads all accounts at one moment while transfers go on.
func (b *bank) addUp(ctx context.Context, p *player) error {
	var sum int64
	err := p.run.client.Txn(ctx, func(tx *client.Tx) error {
		sum = 0
		values, err := tx.GetAll(ctx, b.accounts...)
		for _, value := range values {
			n, _ := strconv.ParseInt(string(value), 10, 64)
			sum += n
		}
		return err
	})
	if err == nil && sum != b.total() {
		p.run.foul(Check{Name: "money at every moment", Detail: fmt.Sprintf("a reader saw %d, not %d", sum, b.total())})
	}
	return err
}

func (b *bank) audit(books books, players []*player) []Check {
	var (
		sum    int64
		broken []string
	)
	for _, a := range b.accounts {
		n, err := books.number(a)
		if err != nil {
			broken = append(broken, err.Error())
		} else if n < 0 {
			broken = append(broken, fmt.Sprintf("%s has %d", a, n))
		}
		sum += n
	}
	done, doubt := sums(players)
	var counted int64
	for _, p := range players {
		n, err := books.number(b.counter(p.number))
		if err != nil {
			broken = append(broken, err.Error())
		}
		counted += n
	}
	return []Check{
		{Name: "money", Kept: sum == b.total(), Detail: fmt.Sprintf("%d in all accounts, %d at the start", sum, b.total())},
		kept("no debt", "no account is below 0", broken),
		told("transfers", counted, done, doubt),
	}
}
