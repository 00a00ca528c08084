package sim

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
	"github.com/ringkv/ringkv/txn/serial"
)

// txnClient does one transaction after the other, each through any node, beside plain requests to the same lists.
type txnClient struct {
	w    *world
	id   int
	seen map[string]sighting // of lists, the last one
}

type sighting struct {
	version storage.Version
	list    []serial.Value
}

// deed is one request of a client, with what the history of lists is to know of it.
type deed struct {
	c    *txnClient
	req  *txn.Request
	ops  []serial.Op // of the then branch
	main *serial.Handle
	// The same request may turn out to be a mere look at the lists of its conditions: by the else branch, or by a 412.
	look     *serial.Handle
	lookAt   int
	looked   []string // their keys, in the order of the conditions
	expected map[string]sighting
	appended []serial.Value
	deltas   map[string]int64 // of accounts and counters
	placed   bool             // the item existed before it began
	gates    int              // that were asked and have not answered
	answer   *txn.Outcome     // the first
	doubt    bool             // somebody does not know how it ended
	then     func()
}

func (w *world) startTxnClients() {
	for i := range w.cfg.TxnClients {
		c := &txnClient{w: w, id: 1000 + i, seen: make(map[string]sighting)}
		w.after(w.between(0, time.Second), c.next)
	}
}

func (c *txnClient) next() {
	if c.w.closed {
		return
	}
	again := func() { c.w.after(c.w.between(time.Millisecond, 60*time.Millisecond), c.next) }
	switch n := c.w.rng.IntN(20); {
	case n < 2:
		c.plainGet(again)
	case n < 4:
		c.plainPut(again)
	case n < 6:
		c.askStatus(again)
	case n < 8:
		c.audit(again)
	case n < 10:
		c.moveItem(again)
	case n < 13:
		c.transfer(again)
	case n < 16:
		c.lookThenAppend(again)
	default:
		c.appendLists(c.someLists(), again)
	}
}

// someLists are 1 to 4 lists.
func (c *txnClient) someLists() []string {
	keys := make([]string, 0, 4)
	for _, i := range c.w.rng.Perm(listKeys)[:1+c.w.rng.IntN(4)] {
		keys = append(keys, listKey(i))
	}
	return keys
}

func (c *txnClient) newDeed(then func()) *deed {
	d := &deed{c: c, req: &txn.Request{}, expected: make(map[string]sighting), deltas: make(map[string]int64), then: then}
	d.req.Protocol = []storage.Protocol{storage.Auto, storage.Auto, storage.TwoPhase, storage.ThreePhase}[c.w.rng.IntN(4)]
	if p := c.w.cfg.Protocol; p != 0 {
		d.req.Protocol = p
	}
	d.req.Timeout = c.w.between(300*time.Millisecond, 4*time.Second)
	d.placed = c.w.load.placed
	return d
}

// lookThenAppend reads lists and then appends to them as it has seen them.
func (c *txnClient) lookThenAppend(then func()) {
	keys := c.someLists()
	d := c.newDeed(func() { c.appendLists(keys, then) })
	for _, k := range keys {
		d.get(k)
	}
	d.send()
}

// audit only reads: lists, all accounts, all places of the item.
func (c *txnClient) audit(then func()) {
	d := c.newDeed(then)
	for _, k := range c.someLists() {
		d.get(k)
	}
	if c.w.chance(0.6) {
		d.getAll(accountKey, accountKeys)
	}
	if c.w.chance(0.6) {
		d.getAll(itemKey, itemKeys)
	}
	if c.w.chance(0.3) { // with locks instead of two looks
		d.add("counter", 1)
	}
	d.send()
}

// appendLists reads some lists and appends to others, provided that these are as they were last seen.
func (c *txnClient) appendLists(keys []string, then func()) {
	d := c.newDeed(then)
	writes := 1 + c.w.rng.IntN(len(keys))
	d.req.HasElse = c.w.chance(0.5)
	for i, k := range keys {
		d.get(k)
		if i < writes {
			d.append(k)
		}
	}
	if c.w.chance(0.3) {
		d.useToken()
	}
	d.send()
}

// transfer moves an amount between accounts, which have a lower bound.
func (c *txnClient) transfer(then func()) {
	d := c.newDeed(then)
	p := c.w.rng.Perm(accountKeys)
	if c.w.chance(0.3) {
		d.getAll(accountKey, accountKeys)
	}
	amount := 1 + c.w.rng.Int64N(30)
	least := int64(lowest)
	d.addBound(accountKey(p[0]), -amount, &least)
	d.add(accountKey(p[1]), amount)
	if c.w.chance(0.3) {
		d.get(c.someLists()[0])
	}
	if c.w.chance(0.4) {
		d.useToken()
	}
	d.send()
}

// moveItem takes the item from one place to another, or brings it into the world.
func (c *txnClient) moveItem(then func()) {
	d := c.newDeed(then)
	p := c.w.rng.Perm(itemKeys)
	for _, i := range p {
		t := storage.TestAbsent
		if i == p[0] && d.placed {
			t = storage.TestExists
		}
		d.req.If = append(d.req.If, test(itemKey(i), t))
	}
	if d.placed {
		d.req.Then = append(d.req.Then, storage.TxnOp{Kind: storage.OpDelete, Key: []byte(itemKey(p[0]))})
	}
	d.req.Then = append(d.req.Then, putOf(itemKey(p[1]), []byte("here")))
	d.send()
}

func (d *deed) get(key string) {
	d.req.Then = append(d.req.Then, getOf(key))
	d.ops = append(d.ops, serial.Read(serial.Key(key)))
}

// getAll reads what is no list.
func (d *deed) getAll(key func(int) string, n int) {
	for i := range n {
		d.req.Then = append(d.req.Then, getOf(key(i)))
	}
}

// append appends to a list, provided that it is as it was last seen.
func (d *deed) append(key string) {
	w := d.c.w
	was := d.c.seen[key]
	v := w.load.newValue()
	list := append(slices.Clip(was.list), v)
	cond := test(key, storage.TestVersion)
	cond.Want = was.version
	switch {
	case was.version == 0 && w.chance(0.5):
		cond = test(key, storage.TestAbsent)
	case w.chance(0.2) && was.version != 0 && len(was.list) > 0:
		cond = test(key, storage.TestValue)
		cond.Value = w.load.encodeList(was.list)
	}
	d.req.If = append(d.req.If, cond)
	d.req.Then = append(d.req.Then, putOf(key, w.load.encodeList(list)))
	if d.req.HasElse {
		d.req.Else = append(d.req.Else, getOf(key))
	}
	d.ops = append(d.ops, serial.Append(serial.Key(key), v))
	d.looked = append(d.looked, key)
	d.expected[key] = sighting{was.version, list}
	d.appended = append(d.appended, v)
}

func (d *deed) add(key string, by int64) { d.addBound(key, by, nil) }

func (d *deed) addBound(key string, by int64, least *int64) {
	d.req.Then = append(d.req.Then, addOf(key, by, least))
	d.deltas[key] += by
}

// useToken gives the request an idempotency token, whose effects a counter of its own counts.
func (d *deed) useToken() {
	l := &d.c.w.load
	l.tokens++
	var t storage.Token
	r := rand.NewChaCha8([32]byte{byte(l.tokens), byte(l.tokens >> 8), 1})
	_, _ = r.Read(t.Key[:]) // never fails
	_, _ = r.Read(t.Body[:])
	d.req.Token = &t
	d.add("once/"+strconv.Itoa(l.tokens), 1)
}

// send has the request carried out, one with a token through two nodes, and at times once more when all is over.
func (d *deed) send() {
	c := d.c
	l := &c.w.load
	d.main, _ = l.begin(c.id, d.ops)
	looks := make([]serial.Op, 0, len(d.looked))
	for _, k := range d.looked {
		looks = append(looks, serial.Read(serial.Key(k)))
	}
	d.look, d.lookAt = l.begin(c.id, looks)
	l.deeds = append(l.deeds, d)
	d.gates = 1
	if d.req.Token != nil {
		d.gates = 2 + c.w.rng.IntN(2)
	}
	d.through(c.w.anyNode())
	for range d.gates - 1 {
		c.w.after(c.w.between(0, 400*time.Millisecond), func() { d.through(c.w.anyNode()) })
	}
}

func (d *deed) through(gate *node) {
	if gate == nil || gate.side == nil {
		d.heard(nil, txn.ErrUnavailable)
		return
	}
	r := *d.req
	d.c.w.load.byRequest[&r] = d
	gate.side.transact(&r, d.heard)
}

// heard takes one answer. When all have come, the deed is over.
func (d *deed) heard(o *txn.Outcome, err error) {
	w := d.c.w
	d.gates--
	switch {
	case o != nil && d.answer == nil:
		d.answer = o
	case o != nil && !same(o, d.answer):
		w.violate("one token, two answers: %+v and %+v", d.answer, o)
	case o == nil:
		d.doubt = d.doubt || errors.Is(err, errCut) || errors.Is(err, txn.ErrUnknownOutcome)
	}
	if d.gates > 0 {
		return
	}
	d.conclude()
	d.then()
}
