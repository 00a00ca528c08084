package waitline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// world is some groups, each with a line, and transactions over them. Everything that can happen next stands in
// pending; a run takes one after the other at random until nothing is left.
type world struct {
	rng     *rand.Rand
	rule    func(*search, blocker) bool // nil: the real one
	groups  []*group
	txns    []*txn
	plains  int  // still to be done
	changes int  // of leaders, still to come
	behind  bool // others are let behind a commit that is proposed
	pending []func()
	wrong   error
}

// group is a leader with its line, and the state machine with its log.
type group struct {
	w    *world
	line *Line
	held *held
	log  []entry
}

type entry struct {
	r      *Request // a prepare
	deny   bool
	abort  storage.Attempt // of txn: an abort up to this attempt
	commit bool
	txn    *txn
	life   *Line // of the leader that proposed it
}

// txn is a transaction with its coordinator.
type txn struct {
	id      storage.TxnID
	age     storage.Millis
	parts   [][]Lock // by group; empty: not a participant
	attempt storage.Attempt
	yes     []bool
	done    bool
}

func newWorld(rng *rand.Rand, rule func(*search, blocker) bool) *world {
	w := &world{rng: rng, rule: rule, changes: rng.IntN(3), behind: rng.IntN(2) == 0}
	for range 2 + rng.IntN(2) {
		g := &group{w: w, held: newHeld()}
		g.line = w.newLine()
		w.groups = append(w.groups, g)
	}
	for i := range 2 + rng.IntN(4) {
		w.addTxn(i)
	}
	for range rng.IntN(5) {
		w.addPlain()
	}
	for range w.changes {
		g := w.groups[rng.IntN(len(w.groups))]
		w.later(g.changeLeader)
	}
	return w
}

func (w *world) newLine() *Line {
	l := New(Limits{})
	if w.rule != nil {
		l.mayWait = w.rule
	}
	return l
}

func (w *world) addTxn(i int) {
	t := &txn{
		id: storage.TxnID{Node: 1, Incarnation: 1, Seq: uint64(i + 1)}, age: storage.Millis(w.rng.IntN(4)),
		parts: make([][]Lock, len(w.groups)), yes: make([]bool, len(w.groups)),
	}
	for p := range t.parts {
		t.parts[p] = w.someLocks(0)
	}
	p := w.rng.IntN(len(t.parts))
	t.parts[p] = w.someLocks(1)
	w.txns = append(w.txns, t)
	w.later(func() { w.begin(t) })
}

// someLocks are up to two locks, and at least so many, on the two keys of a group.
func (w *world) someLocks(least int) []Lock {
	var locks []Lock
	keys := w.rng.Perm(2)[:max(least, w.rng.IntN(3))]
	for _, k := range keys {
		locks = append(locks, Lock{Key: []byte{'x' + byte(k)}, Exclusive: w.rng.IntN(3) > 0})
	}
	return Merge(locks)
}

func (w *world) addPlain() {
	g := w.groups[w.rng.IntN(len(w.groups))]
	r := &Request{Kind: Plain, Locks: w.someLocks(1)}
	if w.rng.IntN(4) == 0 {
		r.Kind = Read
		for i := range r.Locks {
			r.Locks[i].Exclusive = false
		}
	}
	w.plains++
	w.later(func() { g.plain(r) })
}

func (w *world) later(fn func()) { w.pending = append(w.pending, fn) }

// run reports what went wrong: a circle, or a broken rule.
func (w *world) run() error {
	for len(w.pending) > 0 && w.wrong == nil {
		i := w.rng.IntN(len(w.pending))
		fn := w.pending[i]
		w.pending = slices.Delete(w.pending, i, i+1)
		fn()
	}
	if w.wrong != nil {
		return w.wrong
	}
	for _, t := range w.txns {
		if !t.done {
			return fmt.Errorf("transaction %v never ends (attempt %d, yes %v)", t.id, t.attempt, t.yes)
		}
	}
	for i, g := range w.groups {
		if len(g.held.txns) > 0 || !g.line.Idle() || len(g.line.queues) > 0 {
			return fmt.Errorf("group %d is not at rest", i)
		}
	}
	if w.plains > 0 {
		return fmt.Errorf("%d plain requests never end", w.plains)
	}
	return nil
}

// begin starts the next attempt: the first is parallel, the others take one group after the other.
func (w *world) begin(t *txn) {
	t.attempt++
	clear(t.yes)
	if t.attempt > 3*storage.Attempt(2+w.changes) {
		w.wrong = fmt.Errorf("transaction %v was refused %d times", t.id, t.attempt)
		return
	}
	for p, locks := range t.parts {
		if len(locks) == 0 {
			continue
		}
		w.send(t, p)
		if t.attempt > 1 {
			return
		}
	}
}

func (w *world) send(t *txn, p int) {
	a := t.attempt
	w.later(func() { w.groups[p].prepare(t, a) })
	if w.rng.IntN(4) == 0 {
		w.later(func() { w.groups[p].prepare(t, a) }) // sent again
	}
}

// hear is a vote that arrives at the coordinator.
func (w *world) hear(t *txn, g *group, a storage.Attempt, yes bool) {
	if t.attempt != a || t.done {
		return
	}
	if !yes {
		for p, locks := range t.parts {
			if len(locks) > 0 {
				w.later(func() { w.groups[p].propose(entry{txn: t, abort: a}) })
			}
		}
		w.begin(t)
		return
	}
	at := slices.Index(w.groups, g)
	if t.yes[at] {
		return
	}
	t.yes[at] = true
	for p, locks := range t.parts {
		if len(locks) == 0 || t.yes[p] {
			continue
		}
		if a > 1 {
			w.send(t, p)
		}
		return
	}
	t.done = true
	for p, locks := range t.parts {
		if len(locks) > 0 {
			w.later(func() { w.groups[p].propose(entry{txn: t, commit: true}) })
		}
	}
}

func (g *group) prepare(t *txn, a storage.Attempt) {
	if o := g.line.Of(t.id); o != nil && o.Attempt == a {
		return // answered with that one
	}
	g.decide(g.line.Withdraw(t.id, a-1, nil))
	r := &Request{Kind: Prepare, Locks: t.parts[slices.Index(g.w.groups, g)], Txn: t.id, Attempt: a, Age: t.age, Ordered: a > 1, Owner: t}
	switch v := g.line.Submit(r, g.held); v {
	case Wait:
		if r.Holds >= a {
			g.w.wrong = fmt.Errorf("transaction %v would be aborted although it may have committed", t.id)
		}
		if r.Holds != 0 {
			g.propose(entry{txn: t, abort: r.Holds})
		}
	default:
		g.decide([]Decision{{r, v}})
	}
	g.serve()
}

func (g *group) plain(r *Request) {
	if v := g.line.Submit(r, g.held); v != Wait {
		g.decide([]Decision{{r, v}})
	}
	g.serve()
}

func (g *group) serve() { g.decide(g.line.Serve(g.held, nil)) }

func (g *group) decide(ds []Decision) {
	for _, d := range ds {
		if d.Verdict == Grant {
			g.notOvertaking(d.Request)
		}
		t, isTxn := d.Request.Owner.(*txn)
		switch {
		case isTxn:
			g.propose(entry{r: d.Request, txn: t, deny: d.Verdict == Deny})
		case d.Verdict == Grant:
			g.w.plains--
		default:
			g.w.wrong = fmt.Errorf("a plain request was refused")
		}
	}
}

// notOvertaking checks that nobody who came earlier and conflicts still waits.
func (g *group) notOvertaking(r *Request) {
	for o := g.line.first; o != nil && r.Kind != Read; o = o.next {
		if o.Kind == Read || r.order != 0 && o.order > r.order {
			continue
		}
		for i := range r.Locks {
			for _, l := range o.Locks {
				if string(l.Key) == string(r.Locks[i].Key) && (l.Exclusive || r.Locks[i].Exclusive) {
					g.w.wrong = fmt.Errorf("a request overtook one that came before it")
				}
			}
		}
	}
}

func (g *group) propose(e entry) {
	e.life = g.line
	g.log = append(g.log, e)
	g.w.later(g.apply)
	if e.commit && g.w.behind {
		g.line.Leaving(e.txn.id)
		g.serve()
	}
}

// apply takes the next entry of the log.
func (g *group) apply() {
	e := g.log[0]
	g.log = g.log[1:]
	t := e.txn
	open := slices.IndexFunc(g.held.txns, func(o *storage.OpenTxn) bool { return o.ID == t.id })
	switch {
	case e.commit:
		if open < 0 || g.held.txns[open].Attempt != t.attempt {
			g.w.wrong = fmt.Errorf("transaction %v committed although its vote is gone", t.id)
		}
		g.held.free(t.id)
		g.line.Left(t.id)
	case e.abort != 0:
		if open >= 0 && g.held.txns[open].Attempt <= e.abort {
			g.held.free(t.id)
		}
	case open >= 0 && g.held.txns[open].Attempt >= e.r.Attempt:
	default:
		g.vote(e, e.r)
	}
	if e.r != nil && e.life == g.line {
		g.line.Release(e.r)
	}
	g.serve()
}

func (g *group) vote(e entry, r *Request) {
	t := e.txn
	g.held.free(t.id)
	yes := !e.deny && r.Attempt == t.attempt && !t.done // a dead attempt meets the tombstone of its abort
	for _, l := range r.Locks {
		g.held.Holders(l.Space, l.Key, l.Exclusive, func(*storage.OpenTxn) bool { yes = false; return false })
	}
	if yes {
		g.held.hold(r)
		if e.life != g.line {
			g.line.Surprise()
		}
	}
	g.w.later(func() { g.w.hear(t, g, r.Attempt, yes) })
}

// changeLeader loses the line; the log stays. Those who waited ask again.
func (g *group) changeLeader() {
	for _, r := range g.line.Clear(nil) {
		if t, ok := r.Owner.(*txn); ok {
			g.w.later(func() { g.prepare(t, r.Attempt) })
			continue
		}
		g.w.later(func() { g.plain(&Request{Kind: r.Kind, Locks: r.Locks}) })
	}
	g.line = g.w.newLine()
}

// TestNoCircle: whatever order things happen in, everything ends, over leader changes and duplicates.
func TestNoCircle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		if err := newWorld(rand.New(rand.NewPCG(seed, 1)), nil).run(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestConvictsBrokenRules shows that TestNoCircle can fail: each is a shortcut that the protocol's page warns of.
func TestConvictsBrokenRules(t *testing.T) {
	rules := map[string]func(*search, blocker) bool{
		"everybody queues":           func(*search, blocker) bool { return true },
		"parallel waits for ordered": func(s *search, b blocker) bool { b.ordered = false; return waitsSafely(s, b) },
		"older waits for younger or the other way round": func(s *search, b blocker) bool {
			return b.waiter != nil && b.waiter.Kind == Plain && waitsSafely(s, b) || !b.ordered
		},
		"only holders are compared": func(s *search, b blocker) bool {
			return b.waiter != nil && b.waiter.Kind == Prepare || waitsSafely(s, b)
		},
		"a plain request hides whom it waits for": func(s *search, b blocker) bool {
			return b.waiter != nil && b.waiter.Kind == Plain || waitsSafely(s, b)
		},
	}
	const seeds = 100_000
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				if err := newWorld(rand.New(rand.NewPCG(seed, 2)), rule).run(); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Fatalf("not convicted within %d seeds", seeds)
		})
	}
}
