package serial_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ringkv/ringkv/txn/serial"
)

// dice is what decides in a simulation: a seeded generator, or rapid where a failure should be made small.
type dice interface{ IntN(n int) int }

// store is a way to run transactions, right or wrong. The simulator calls begin, one op for each operation and then one
// of commit and abort, for many transactions at once. Reads fill in what op saw.
type store interface {
	begin(t *running)
	op(t *running, op *serial.Op)
	commit(t *running) bool // false: it aborted instead
	abort(t *running)
	state() lists
}

// running is a transaction that a simulated client is in.
type running struct {
	txn      serial.Txn
	next     int // operation; then the commit, then the return
	fate     fate
	own      []*serial.Op // appends so far
	snapshot int          // for stores that need one
	refused  bool         // by a store that will abort it
}

type fate uint8

const (
	commits fate = iota
	aborts
	vanishes      // unknown, without effect
	commitsUnseen // unknown, with effect before the client gave up
	commitsLater  // unknown, with effect at some later moment
)

// lists is the state of a store, embedded in each.
type lists map[serial.Key][]serial.Value

func (l lists) state() lists { return l }

func (l lists) append(key serial.Key, v serial.Value) { l[key] = append(slices.Clip(l[key]), v) }

// read is the list and what the transaction has appended to it so far.
func (l lists) read(t *running, key serial.Key) []serial.Value { return t.see(key, l[key]) }

// see is a list with what the transaction has appended to it so far.
func (t *running) see(key serial.Key, list []serial.Value) []serial.Value {
	list = slices.Clip(list)
	for _, op := range t.own {
		if op.Key == key {
			list = append(list, op.Value)
		}
	}
	return list
}

// apply appends all that t does.
func (l lists) apply(t *running) {
	for _, op := range t.own {
		l.append(op.Key, op.Value)
	}
}

// load says what a simulation runs.
type load struct {
	txns, clients int
	keys          int  // in use at a time
	length        int  // appends to a key until another takes its place
	ops           int  // of a transaction, at most
	unknown       int  // of a hundred
	aborted       int  // too
	once          bool // a transaction reads a key once at most
}

func small() load {
	return load{txns: 6, clients: 3, keys: 2, length: 100, ops: 3, unknown: 15, aborted: 10}
}

func large() load {
	return load{txns: 200, clients: 8, keys: 4, length: 30, ops: 4, unknown: 5, aborted: 5}
}

func huge() load {
	return load{txns: 100_000, clients: 64, keys: 24, length: 100, ops: 6, unknown: 1, aborted: 2}
}

// simulation is one run: clients take steps in a random order, one each nanosecond.
type simulation struct {
	load
	dice    dice
	store   store
	now     serial.Time
	begun   int
	value   serial.Value
	appends []int // to each slot of keys so far
	history []serial.Txn
	later   []*running
}

// simulate returns what the clients saw, and the state after everything that will ever take effect.
func simulate(d dice, l load, s store) ([]serial.Txn, lists) {
	sim := &simulation{load: l, dice: d, store: s, appends: make([]int, l.keys)}
	clients := make([]*running, l.clients)
	for len(sim.history) < l.txns {
		i := d.IntN(l.clients)
		sim.now++
		clients[i] = sim.step(clients[i], serial.Client(i))
		sim.finishLate(false)
	}
	sim.finishLate(true)
	return sim.history, s.state()
}

// step does the next thing that a client does. It returns the transaction that the client is then in, or nil.
func (s *simulation) step(t *running, c serial.Client) *running {
	switch {
	case t == nil && s.begun == s.txns:
		return nil
	case t == nil:
		t = s.begin(c)
		s.store.begin(t)
	case t.next < len(t.txn.Ops):
		op := &t.txn.Ops[t.next]
		s.store.op(t, op)
		if op.Kind == serial.OpAppend {
			t.own = append(t.own, op)
		}
		t.next++
	case t.next == len(t.txn.Ops):
		s.end(t)
		t.next++
	default:
		s.giveBack(t)
		return nil
	}
	return t
}

func (s *simulation) begin(c serial.Client) *running {
	s.begun++
	t := &running{txn: serial.Txn{ID: serial.TxnID(s.begun), Client: c, Invoked: s.now}}
	for range 1 + s.dice.IntN(s.ops) {
		s.addOp(t)
	}
	switch n := s.dice.IntN(100); {
	case n < s.aborted:
		t.fate = aborts
	case n < s.aborted+s.unknown:
		t.fate = []fate{vanishes, commitsUnseen, commitsLater}[s.dice.IntN(3)]
	}
	return t
}

func (s *simulation) addOp(t *running) {
	slot := s.dice.IntN(s.keys)
	key := serial.Key(fmt.Sprintf("%c%d", 'a'+slot, s.appends[slot]/s.length))
	switch {
	case s.dice.IntN(2) == 0:
		s.value++
		s.appends[slot]++
		t.txn.Ops = append(t.txn.Ops, serial.Append(key, s.value))
	case !s.once || !t.reads(key):
		t.txn.Ops = append(t.txn.Ops, serial.Read(key))
	}
}

func (t *running) reads(key serial.Key) bool {
	return slices.ContainsFunc(t.txn.Ops, func(op serial.Op) bool { return op.Kind == serial.OpRead && op.Key == key })
}

func (s *simulation) end(t *running) {
	switch t.fate {
	case commits, commitsUnseen:
		if !s.store.commit(t) {
			t.fate = aborts
		}
	case aborts, vanishes:
		s.store.abort(t)
	case commitsLater:
		s.later = append(s.later, t)
	}
}

// giveBack puts t into the history as its client knows it.
func (s *simulation) giveBack(t *running) {
	t.txn.Returned = s.now
	switch t.fate {
	case commits:
		t.txn.Outcome = serial.Committed
	case aborts:
		t.txn.Outcome = serial.Aborted
	default:
		t.txn.Outcome, t.txn.Returned = serial.Unknown, 0
	}
	s.history = append(s.history, t.txn)
}

// finishLate commits some of what commits later, or all.
func (s *simulation) finishLate(all bool) {
	s.later = slices.DeleteFunc(s.later, func(t *running) bool {
		due := all || s.dice.IntN(10) == 0
		if due {
			s.store.commit(t)
		}
		return due
	})
}

// serialStore is right: everything takes effect in the moment of the commit.
type serialStore struct{ lists }

func newSerial() store { return &serialStore{lists{}} }

func (s *serialStore) begin(*running)          {}
func (s *serialStore) op(*running, *serial.Op) {}
func (s *serialStore) abort(*running)          {}
func (s *serialStore) commit(t *running) bool  { return s.execute(t) }

// execute runs the operations of t at once.
func (l lists) execute(t *running) bool {
	t.own = nil
	for i := range t.txn.Ops {
		op := &t.txn.Ops[i]
		if op.Kind == serial.OpRead {
			op.Seen = l.read(t, op.Key)
			continue
		}
		t.own = append(t.own, op)
	}
	l.apply(t)
	return true
}

// lockStore is right too: two-phase locking, where what meets a lock aborts. It reads as it goes.
type lockStore struct {
	lists
	holders map[serial.Key]*running
}

func newLocking() store { return &lockStore{lists{}, map[serial.Key]*running{}} }

func (s *lockStore) begin(*running) {}

func (s *lockStore) op(t *running, op *serial.Op) {
	if h := s.holders[op.Key]; h != nil && h != t {
		t.refused = true
		return
	}
	s.holders[op.Key] = t
	if op.Kind == serial.OpRead {
		op.Seen = s.read(t, op.Key)
	}
}

func (s *lockStore) commit(t *running) bool {
	if !t.refused {
		s.apply(t)
	}
	s.abort(t)
	return !t.refused
}

func (s *lockStore) abort(t *running) {
	maps.DeleteFunc(s.holders, func(_ serial.Key, h *running) bool { return h == t })
}
