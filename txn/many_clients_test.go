package txn_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
	"github.com/ringkv/ringkv/txn/serial"
)

// clients append to lists in transactions, read them, and ask what became of transactions.
type clients struct {
	w       *world
	value   serial.Value // the last one appended
	left    int          // how many operations may still begin
	running []*operation
	readers []*reader
	ids     []storage.TxnID // all transactions ever begun
	homes   map[storage.TxnID]storage.PartitionID
	tokens  uint64
}

func newClients(w *world) *clients {
	return &clients{w: w, left: 1 + w.rng.IntN(w.weights.operations), homes: map[storage.TxnID]storage.PartitionID{}}
}

// operation is one transaction as a client wants it, over all its runs and retries.
type operation struct {
	entry   *serial.Txn
	request *txn.Request
	reads   []string // keys, in the order of the conditions and of else
	appends []string // keys, in the order of then
	base    map[string]storage.Version
	value   serial.Value
	age     storage.Millis
	node    *node // which coordinates; nil when it is over
	retries int
}

func (c *clients) act() {
	w := c.w
	if len(c.readers) > 0 && w.chance(60) {
		c.readers[w.rng.IntN(len(c.readers))].step(w)
		return
	}
	if c.left == 0 {
		return
	}
	c.left--
	switch w.pick(w.weights.transact, w.weights.put, w.weights.read) {
	case 0:
		c.transact()
	case 1:
		c.put()
	default:
		c.read()
	}
}

// some picks up to n different keys.
func (c *clients) some(n int) []string {
	keys := slices.Clone(c.w.keys)
	c.w.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys[:1+c.w.rng.IntN(min(n, len(keys)))]
}

// transact reads some keys and appends to some of them: write skew, lost updates and half transactions would show.
func (c *clients) transact() {
	w := c.w
	keys := c.some(3)
	if w.chance(w.weights.wide) {
		keys = slices.Clone(w.keys)
	}
	o := &operation{reads: keys, base: map[string]storage.Version{}, age: storage.Millis(w.now.UnixMilli())}
	o.appends = o.reads[:1+w.rng.IntN(len(o.reads))]
	o.request = &txn.Request{HasElse: w.chance(50), Protocol: w.protocols[w.rng.IntN(len(w.protocols))]}
	c.value++
	o.value = c.value
	for _, key := range o.reads {
		it := w.keyGroup(key).items[key]
		if w.chance(20) {
			it = modelItem{}
		}
		o.base[key] = it.version
		cond := storage.TxnCondition{Test: storage.TestVersion, Key: []byte(key), Want: it.version}
		o.request.If = append(o.request.If, cond)
		if o.request.HasElse {
			o.request.Else = append(o.request.Else, storage.TxnOp{Kind: storage.OpGet, Key: []byte(key)})
		}
		if slices.Contains(o.appends, key) {
			value := strings.TrimSpace(it.value + " " + strconv.FormatInt(int64(o.value), 10))
			o.request.Then = append(o.request.Then, storage.TxnOp{Kind: storage.OpPut, Key: []byte(key), Value: []byte(value)})
		}
	}
	if w.chance(35) {
		c.tokens++
		o.request.Token = tokenIn(w.ring, w.groups[w.rng.IntN(len(w.groups))].id)
		for i := range 8 {
			o.request.Token.Key[15-i] = byte(c.tokens >> (8 * i))
		}
		o.request.Token.Body[0] = byte(c.tokens)
		o.request.Token = relocate(w, o.request.Token)
	}
	o.entry = w.judge.begin(o.unknown())
	c.running = append(c.running, o)
	c.run(o, w.nodes[w.rng.IntN(len(w.nodes))], 0)
}

// relocate varies a token until its record lives in one of the world's groups.
func relocate(w *world, t *storage.Token) *storage.Token {
	for {
		p := w.ring.Partition(t.Key[:])
		if slices.ContainsFunc(w.groups, func(g *modelGroup) bool { return g.id == p }) {
			return t
		}
		t.Key[0]++
		if t.Key[0] == 0 {
			t.Key[1]++
		}
	}
}

// unknown is what is known of an operation that has no answer.
func (o *operation) unknown() []serial.Op {
	var ops []serial.Op
	for _, key := range o.appends {
		ops = append(ops, serial.Append(serial.Key(key), o.value))
	}
	return ops
}

// run coordinates o at n.
func (c *clients) run(o *operation, n *node, run int) {
	w := c.w
	plan, err := txn.NewPlan(w.ring, o.request)
	if err != nil {
		panic(err)
	}
	if w.faults.has(twoPhaseAnswersOnVotes) && plan.Protocol == storage.TwoPhase {
		plan.Protocol = storage.Auto // its prepares still say 2pc
	}
	t := n.ledger.Begin()
	c.ids = append(c.ids, t)
	c.homes[t] = plan.Home()
	w.judge.transaction(t, plan.Participants(), o.request.Token)
	n.nonce++
	core := txn.NewCoordinator(txn.Config{
		ID:       t,
		Name:     t.String(),
		Plan:     plan,
		Deadline: w.now.Add(time.Duration(1+w.rng.IntN(200)) * time.Millisecond),
		Grace:    100 * time.Millisecond,
		Age:      o.age,
		Run:      run,
		Nonce:    n.nonce,
		Seed:     w.rng.Uint64(),
	})
	o.node = n
	ledger := n.ledger
	p := &proc{name: "C" + t.String(), core: core, node: n, mark: ledger.Mark}
	if w.faults.has(markAboveRunning) {
		p.mark = func() uint64 { return ledger.Mark() + ledger.Unfinished() }
	}
	p.bend = func(r *txn.Reply) { w.bendCoordinator(core, r) }
	p.effects = func(e *txn.Effects) {
		if e.Finished || e.Answer != nil && w.faults.has(finishedWhenDecided) {
			ledger.Finish(t)
		}
		c.effects(o, t, n, run, e)
	}
	if w.chance(5) {
		defer w.step(p, txn.Cancel{})
	}
	w.logf("%s: %s of %v appends %d to %q reads %q base %v", p.name, protocolName(plan.Protocol), plan.Participants(), o.value, o.appends, o.reads, o.base)
	w.spawn(p)
}

func protocolName(p storage.Protocol) string { return [...]string{"", "1pc", "auto", "2pc", "3pc"}[p] }

func (c *clients) effects(o *operation, t storage.TxnID, n *node, run int, e *txn.Effects) {
	for _, s := range e.Suspect {
		c.suspect(s.ID)
	}
	switch {
	case e.Restart:
		c.w.judge.seen["restart"]++
		c.w.judge.told("C"+t.String(), t, storage.DecideAbort)
		c.run(o, n, run+1)
	case e.Answer == nil:
	case e.Answer.Err != nil:
		c.failed(o, t, e.Answer.Err)
	default:
		out := e.Answer.Outcome
		c.w.logf("C%v answers %s", t, outcomeString(out))
		c.w.judge.seen["answer: "+decisionString(out.Decision)]++
		if out.Attempts >= 3 {
			c.w.judge.seen["attempt 3"]++
		}
		if out.Replayed {
			c.w.judge.seen["answer: replayed"]++
		} else {
			c.w.judge.told("C"+t.String(), t, out.Decision)
		}
		c.w.judge.replayed(o, out)
		if o.node != nil {
			c.answered(o, out)
		}
	}
}

func (c *clients) suspect(t storage.TxnID) {
	c.w.judge.seen["suspect"]++
	for _, g := range c.w.groups {
		for _, open := range g.open(func(id storage.TxnID) bool { return id == t }) {
			c.w.recover(*open, nil)
			return
		}
	}
}

func (c *clients) failed(o *operation, t storage.TxnID, err error) {
	c.w.logf("C%v answers %v", t, err)
	unknown := errors.Is(err, txn.ErrUnknownOutcome)
	for what, is := range map[string]error{
		"unknown": txn.ErrUnknownOutcome, "conflict": txn.ErrConflict, "timeout": txn.ErrTimeout,
		"unavailable": txn.ErrUnavailable, "in flight": txn.ErrInFlight,
	} {
		if errors.Is(err, is) {
			c.w.judge.seen["answer: "+what]++
		}
	}
	if !unknown {
		c.w.judge.told("C"+t.String(), t, storage.DecideAbort)
	}
	if errors.Is(err, txn.ErrTokenReused) {
		c.w.judge.convict("a token met another body")
	}
	if o.node == nil {
		return
	}
	if (unknown || o.retries > 0) && c.retry(o) {
		return
	}
	if !unknown && o.retries == 0 {
		c.w.judge.end(o.entry, serial.Aborted, o.unknown())
	}
	o.node = nil
}

// retry sends the same request with the same token to any node.
func (c *clients) retry(o *operation) bool {
	if o.request.Token == nil || o.retries == 3 || !c.w.chance(70) {
		return false
	}
	o.retries++
	c.w.judge.seen["retry"]++
	c.run(o, c.w.nodes[c.w.rng.IntN(len(c.w.nodes))], 0)
	return true
}

// answered puts what the answer says into the history.
func (c *clients) answered(o *operation, out *txn.Outcome) {
	o.node = nil
	var ops []serial.Op
	switch out.Decision {
	case storage.DecideThen:
		for _, key := range o.reads {
			ops = append(ops, c.readAt(key, o.base[key]))
		}
		ops = append(ops, o.unknown()...)
	case storage.DecideElse:
		for _, r := range out.Results {
			ops = append(ops, serial.Read(serial.Key(r.Key), listOf(string(r.Value))...))
		}
	case storage.DecideNothing: // R6: the false ones are of one moment; so are those that held
		failed := map[string]storage.Version{}
		for _, f := range out.Failed {
			failed[string(f.Key)] = f.Version
		}
		for _, key := range o.reads {
			v, isFalse := failed[key]
			if !isFalse {
				v = o.base[key]
			}
			ops = append(ops, c.readAt(key, v))
		}
	}
	c.w.judge.end(o.entry, serial.Committed, ops)
}

// readAt is the list that the key held under a version.
func (c *clients) readAt(key string, v storage.Version) serial.Op {
	value, known := c.w.keyGroup(key).past[key][v]
	if v != 0 && !known { // not applied yet: told of in a vote
		c.w.judge.convict(fmt.Sprintf("key %s never had version %d", key, v))
	}
	return serial.Read(serial.Key(key), listOf(value)...)
}

func listOf(value string) []serial.Value {
	var list []serial.Value
	for f := range strings.FieldsSeq(value) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			panic(err)
		}
		list = append(list, serial.Value(n))
	}
	return list
}

// lost: the clients of a node that crashed get no answer.
func (c *clients) lost(n *node) {
	for _, o := range slices.Clone(c.running) {
		if o.node == n && !c.retry(o) {
			o.node = nil
		}
	}
}

// wakeSleeper lets a process of a crashed node go on as if nothing had happened.
func (c *clients) wakeSleeper() {
	var asleep []*proc
	for _, p := range c.w.procs {
		if p.asleep && !p.over {
			asleep = append(asleep, p)
		}
	}
	if len(asleep) > 0 {
		p := asleep[c.w.rng.IntN(len(asleep))]
		p.asleep = false
		c.w.judge.seen["zombie"]++
		c.w.logf("%s wakes", p.name)
		c.w.step(p, txn.Tick{})
	}
}

// put appends by a plain PUT under If-Match.
func (c *clients) put() {
	w := c.w
	key := w.keys[w.rng.IntN(len(w.keys))]
	g := w.keyGroup(key)
	it := g.items[key]
	c.value++
	value := strings.TrimSpace(it.value + " " + strconv.FormatInt(int64(c.value), 10))
	entry := w.judge.begin(nil)
	held, version := g.put(key, value, it.version)
	w.logf("PUT %s %q: held=%t", key, value, held)
	if w.shadow != nil {
		if err := w.shadow.put(g.id, key, value, it.version, held, version); err != nil {
			w.judge.convict(fmt.Sprintf("real participant: %v", err))
		}
	}
	w.judge.seen["PUT"]++
	if held {
		w.judge.seen["PUT held"]++
		w.judge.end(entry, serial.Aborted, nil)
		return
	}
	w.judge.end(entry, serial.Committed, []serial.Op{
		serial.Read(serial.Key(key), listOf(it.value)...),
		serial.Append(serial.Key(key), c.value),
	})
}
