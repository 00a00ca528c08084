package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ringkv/ringkv/api/client"
)

// shop sells: an order takes goods from the stock and money from the customer to the till, and exists only if all of that
// was done. Some orders are cancelled later, which gives both back. What is sold out is delivered again, and customers
// without money get their wages, both written down.
type shop struct {
	prefix string
	size   int // products, and as many customers
}

const (
	openingStock = 50
	openingMoney = 1000
	lot          = 100  // pieces in a delivery
	wage         = 5000 // what a payday brings
	maxPieces    = 3
	cancelOneIn  = 5 // steps
)

// shopper is what a player of the shop remembers.
type shopper struct {
	next    int
	live    []string            // orders told placed
	expect  map[string][]string // by order: the states that the books may have it in, "" for none
	restock string              // the product that was sold out last
	payday  string              // the customer who had no money last
}

func newShop(prefix string, size int) *shop { return &shop{prefix: prefix, size: size} }

// key is the name of what belongs to the i-th product or customer.
func (s *shop) key(what string, i int) string { return s.named(what, strconv.Itoa(i)) }

func (s *shop) named(what, name string) string { return s.prefix + what + "/" + name }

func (s *shop) open() map[string][]byte {
	values := make(map[string][]byte)
	for i := range s.size {
		values[s.key("stock", i)] = number(openingStock)
		values[s.key("money", i)] = number(openingMoney)
	}
	return values
}

// price is what a piece of the product costs.
func price(product int) int64 { return int64(5 + 7*product%40) }

func (s *shop) step(ctx context.Context, p *player) error {
	if p.state == nil {
		p.state = &shopper{expect: make(map[string][]string)}
	}
	me := p.state.(*shopper)
	switch {
	case me.restock != "":
		product := me.restock
		me.restock = ""
		return p.transact(ctx, p.newTxn().Add(s.named("stock", product), lot).Add(s.named("delivered", product), lot))
	case me.payday != "":
		customer := me.payday
		me.payday = ""
		return p.transact(ctx, p.newTxn().Add(s.named("money", customer), wage).Add(s.named("wages", customer), wage))
	case len(me.live) > 0 && p.rand.IntN(cancelOneIn) == 0:
		return s.cancel(ctx, p, me)
	default:
		return s.place(ctx, p, me)
	}
}

// order is what an order's key holds.
type order struct {
	state             string
	product, customer int
	pieces, cost      int64
}

const (
	placed    = "placed"
	cancelled = "cancelled"
)

func (o order) value() []byte {
	return fmt.Appendf(nil, "%s product %d customer %d pieces %d cost %d", o.state, o.product, o.customer, o.pieces, o.cost)
}

func parseOrder(value []byte) (o order, err error) {
	_, err = fmt.Sscanf(string(value), "%s product %d customer %d pieces %d cost %d",
		&o.state, &o.product, &o.customer, &o.pieces, &o.cost)
	if err != nil {
		return o, fmt.Errorf("%q is no order: %w", value, err)
	}
	return o, nil
}

// place sells a few pieces of one product to one customer.
func (s *shop) place(ctx context.Context, p *player, me *shopper) error {
	o := order{state: placed, product: p.rand.IntN(s.size), customer: p.rand.IntN(s.size), pieces: 1 + p.rand.Int64N(maxPieces)}
	o.cost = o.pieces * price(o.product)
	key := fmt.Sprintf("%sorder/%d-%d", s.prefix, p.number, me.next)
	me.next++
	err := p.transact(ctx, p.newTxn().
		IfAbsent(key).
		Add(s.key("stock", o.product), -o.pieces, client.AtLeast(0)).
		Add(s.key("money", o.customer), -o.cost, client.AtLeast(0)).
		Add(s.key("till", o.product), o.cost).
		Put(key, o.value()))
	switch {
	case err == nil:
		me.live = append(me.live, key)
		me.expect[key] = []string{placed}
	case errors.Is(err, client.ErrUnknownOutcome):
		me.expect[key] = []string{"", placed}
	default:
		me.expect[key] = []string{""}
		s.remember(me, o, err)
	}
	return err
}

// remember notes what was missing for o.
func (s *shop) remember(me *shopper, o order, err error) {
	var refused *client.TxnFailedError
	if !errors.As(err, &refused) || len(refused.Failed) == 0 {
		return
	}
	switch string(refused.Failed[0].Key) {
	case s.key("stock", o.product):
		me.restock = strconv.Itoa(o.product)
	case s.key("money", o.customer):
		me.payday = strconv.Itoa(o.customer)
	}
}

// cancel takes back one of the player's orders.
func (s *shop) cancel(ctx context.Context, p *player, me *shopper) error {
	i := p.rand.IntN(len(me.live))
	key := me.live[i]
	err := p.txn(ctx, func(tx *client.Tx) error {
		value, err := tx.Get(ctx, key)
		if err != nil {
			return err
		}
		o, err := parseOrder(value)
		if err != nil || o.state != placed { // nobody else changes it: what was told is not true
			p.run.foul(Check{Name: "orders", Detail: fmt.Sprintf("%s was told placed and is %q", key, value)})
			return errRefused
		}
		o.state = cancelled
		tx.Put(key, o.value())
		tx.Add(s.key("stock", o.product), o.pieces)
		tx.Add(s.key("money", o.customer), o.cost)
		tx.Add(s.key("till", o.product), -o.cost, client.AtLeast(0))
		return nil
	})
	switch {
	case err == nil:
		me.live = slices.Delete(me.live, i, i+1)
		me.expect[key] = []string{cancelled}
	case errors.Is(err, client.ErrUnknownOutcome):
		me.live = slices.Delete(me.live, i, i+1)
		me.expect[key] = []string{placed, cancelled}
	}
	return err
}

func (s *shop) audit(books books, players []*player) []Check {
	pieces, costs, tills := make([]int64, s.size), make([]int64, s.size), make([]int64, s.size)
	var wrong []string
	keys := books.under(s.prefix + "order/")
	for _, key := range keys {
		o, err := parseOrder(books[key])
		switch {
		case err != nil || o.product >= s.size || o.customer >= s.size:
			wrong = append(wrong, fmt.Sprintf("%s holds %q", key, books[key]))
		case o.state == placed:
			pieces[o.product] += o.pieces
			costs[o.customer] += o.cost
			tills[o.product] += o.cost
		}
	}
	checks := []Check{
		s.balance("stock", books, openingStock, "delivered", pieces),
		s.balance("money", books, openingMoney, "wages", costs),
		s.balance("till", books, 0, "", negated(tills)),
	}
	for _, p := range players {
		if me, ok := p.state.(*shopper); ok {
			wrong = append(wrong, me.surprises(books)...)
		}
	}
	return append(checks, kept("orders", fmt.Sprintf("all %d are as the clients were told", len(keys)), wrong))
}

// balance checks for each product or customer that what is there is what was there at first, plus what came, less what
// went; and never less than nothing.
func (s *shop) balance(what string, books books, opening int64, in string, out []int64) Check {
	var (
		broken []string
		sum    int64
	)
	for i := range s.size {
		have, err := books.number(s.key(what, i))
		came := int64(0)
		if in != "" && err == nil {
			came, err = books.number(s.key(in, i))
		}
		want := opening + came - out[i]
		switch {
		case err != nil:
			broken = append(broken, err.Error())
		case have != want || have < 0:
			broken = append(broken, fmt.Sprintf("%s is %d, not %d", s.key(what, i), have, want))
		}
		sum += have
	}
	return kept(what, fmt.Sprintf("%d in all, as the orders say", sum), broken)
}

func negated(list []int64) []int64 {
	out := make([]int64, len(list))
	for i, n := range list {
		out[i] = -n
	}
	return out
}

// surprises returns the orders that the books have otherwise than the shopper was told.
func (me *shopper) surprises(books books) []string {
	var list []string
	for key, may := range me.expect {
		state := ""
		if o, err := parseOrder(books[key]); err == nil {
			state = o.state
		}
		if !slices.Contains(may, state) {
			list = append(list, fmt.Sprintf("%s is %q, told %q", key, state, may))
		}
	}
	slices.Sort(list)
	return list
}
