package txn_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// world is groups, nodes that coordinate, recoverers and clients under one seeded scheduler: every message may be lost,
// late, doubled and overtaken; every process but the groups may die at any instant, or sleep and go on.
type world struct {
	rng       *rand.Rand
	weights   weights
	now       time.Time
	faults    faults
	protocols []storage.Protocol
	ring      *ring.Ring
	groups    []*modelGroup
	keys      []string
	nodes     []*node
	lastInc   uint32
	procs     []*proc
	commands  []command
	replies   []answer
	clients   *clients
	judge     *judge
	shadow    *shadow // the real participants, in lockstep with the model; nil without
	reliable  bool    // no more faults
	trace     *strings.Builder
}

// node coordinates. Its ledger is of the present incarnation; processes of an older one keep theirs.
type node struct {
	id     ring.NodeID
	ledger *txn.Ledger
	nonce  uint64
}

// proc is one running machine.
type proc struct {
	name    string
	core    core
	effects func(*txn.Effects)
	mark    func() uint64 // what its commands carry
	bend    func(*txn.Reply)
	wake    time.Time
	over    bool
	asleep  bool
	node    *node               // whose death it shares; nil for recoverers
	ended   func()              // by itself or by death; may be nil
	cut     storage.PartitionID // it cannot reach this group as long as anything goes wrong; 0 for none
}

// command is on its way to a group, answer on its way back.
type command struct {
	from    *proc
	send    txn.Send
	applied bool // this is a copy
}

type answer struct {
	to    *proc
	reply txn.Reply
}

type worldConfig struct {
	seed      uint64
	groups    int
	protocols []storage.Protocol
	faults    faults
	weights   weights
	shadow    bool // real participants, too
	trace     bool
}

// weights are how often what happens, relative to each other.
type weights struct {
	crash, wake, recover, die, status, sweep, lose, restart, act int // mishaps
	transact, put, read                                          int // acts
	operations                                                   int // at most, of a life
	copies                                                       int // percent of commands
	cut                                                          int // percent of processes
	wide                                                         int // percent of transactions that span all groups
}

func usual() weights {
	return weights{
		crash: 1, wake: 1, recover: 2, die: 1, status: 1, sweep: 1, lose: 1, restart: 1, act: 7,
		transact: 60, put: 15, read: 25, operations: 12, copies: 15, cut: 15,
	}
}

// pick returns an index with the probability of its weight.
func (w *world) pick(weights ...int) int {
	sum := 0
	for _, x := range weights {
		sum += x
	}
	r := w.rng.IntN(sum)
	for i, x := range weights {
		if r -= x; r < 0 {
			return i
		}
	}
	return 0
}

func newWorld(cfg worldConfig) *world {
	rg, err := ring.New(64)
	if err != nil {
		panic(err)
	}
	w := &world{
		rng:       rand.New(rand.NewPCG(cfg.seed, 7)),
		weights:   cfg.weights,
		now:       time.Unix(1_000_000, 0),
		faults:    cfg.faults,
		protocols: cfg.protocols,
		ring:      rg,
	}
	if cfg.trace {
		w.trace = &strings.Builder{}
	}
	w.judge = newJudge(w)
	for i := range cfg.groups {
		g := newModelGroup(storage.PartitionID(1+3*i), cfg.faults)
		g.saw = func(t storage.TxnID, a storage.Attempt, s storage.TxnState, d storage.Decision) {
			w.judge.saw(g.id, t, a, s, d)
		}
		w.groups = append(w.groups, g)
		w.keys = append(w.keys, string(keyIn(rg, g.id)))
	}
	for i := range 2 {
		n := &node{id: ring.NodeID(1 + i)}
		w.nodes = append(w.nodes, n)
		w.incarnate(n)
	}
	w.clients = newClients(w)
	if cfg.shadow {
		if w.shadow, err = newShadow(w.groups); err != nil {
			panic(err)
		}
	}
	return w
}

func (w *world) logf(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, format+"\n", args...)
	}
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// incarnate begins a new life of a node.
func (w *world) incarnate(n *node) {
	w.lastInc++
	n.ledger = txn.NewLedger(n.id, w.lastInc)
}

func (w *world) group(id storage.PartitionID) *modelGroup {
	return w.groups[slices.IndexFunc(w.groups, func(g *modelGroup) bool { return g.id == id })]
}

func (w *world) keyGroup(key string) *modelGroup { return w.group(w.ring.Partition([]byte(key))) }

// spawn starts a machine.
func (w *world) spawn(p *proc) {
	if w.chance(w.weights.cut) {
		p.cut = w.groups[w.rng.IntN(len(w.groups))].id
	}
	w.procs = append(w.procs, p)
	w.logf("%s starts", p.name)
	w.step(p, txn.Start{})
}

func (w *world) step(p *proc, ev txn.Event) {
	if p.over {
		return
	}
	e := p.core.Step(w.now, ev)
	p.wake = e.Wake
	for _, s := range e.Send {
		if p.mark != nil {
			s.Txn.Mark = p.mark()
		}
		w.commands = append(w.commands, command{from: p, send: s})
	}
	if e.Alarm != "" {
		w.judge.convict(fmt.Sprintf("%s: alarm %s", p.name, e.Alarm))
	}
	p.effects(e)
	if e.Finished {
		p.over = true
		p.end()
	}
}

// turn lets one thing happen. It returns false when there is nothing left to happen.
func (w *world) turn() bool {
	w.now = w.now.Add(time.Duration(w.rng.IntN(300)) * time.Microsecond)
	busy := len(w.commands)+len(w.replies) > 0
	switch r := w.rng.IntN(100); {
	case r < 48 && len(w.commands) > 0:
		w.deliver(w.rng.IntN(len(w.commands)))
	case r < 85 && len(w.replies) > 0:
		w.answer(w.rng.IntN(len(w.replies)))
	case w.reliable && busy: // time passes for those only who wait in vain
	case w.reliable, r < 4, r < 40 && !busy:
		return w.pass() || busy
	case r >= 85 || !busy:
		w.mishap()
	}
	return true
}

// deliver applies a command; its copy may stay on the way.
func (w *world) deliver(i int) {
	c := &w.commands[i]
	if !w.reliable && c.from.cut == c.send.To {
		return
	}
	if !w.reliable && !c.applied && w.chance(5) {
		w.fail(i)
		return
	}
	w.apply(c.from, &c.send)
	if w.reliable || !w.chance(w.weights.copies) {
		w.commands = slices.Delete(w.commands, i, i+1)
		return
	}
	c.applied = true // and may arrive once more
}

// apply lets a group judge a command, and most often sends the reply.
func (w *world) apply(from *proc, send *txn.Send) {
	g := w.group(send.To)
	r := g.apply(send.Kind, &send.Txn)
	if w.trace != nil {
		w.logf("%s: %v %s at %d: %s", from.name, send.Txn.ID, commandString(send), g.id, replyString(r))
	}
	if r.Alarm != "" {
		w.judge.convict(fmt.Sprintf("alarm %s at group %d, of %s's %s", r.Alarm, g.id, from.name, commandString(send)))
	}
	if w.shadow != nil {
		if err := w.shadow.apply(g.id, &storage.Command{Kind: send.Kind, Txn: &send.Txn}, r); err != nil {
			w.judge.convict(fmt.Sprintf("real participant: %v", err))
		}
	}
	if w.reliable || !w.chance(10) {
		w.replies = append(w.replies, answer{from, txn.Reply{From: g.id, Ref: send.Ref, Reply: r}})
	}
}

// fail reports that a command got no answer: it is lost, or still on its way.
func (w *world) fail(i int) {
	c := w.commands[i]
	ev := txn.Failed{From: c.send.To, Ref: c.send.Ref, NotSent: w.chance(50)}
	if w.timesOut(&c) {
		return
	}
	w.logf("%s: %s to %d fails, not sent=%t", c.from.name, commandString(&c.send), c.send.To, ev.NotSent)
	if ev.NotSent {
		w.commands = slices.Delete(w.commands, i, i+1)
	}
	if !c.from.asleep {
		w.step(c.from, ev)
	}
}

func (w *world) answer(i int) {
	a := w.replies[i]
	if w.reliable || !w.chance(10) {
		w.replies = slices.Delete(w.replies, i, i+1)
	}
	if a.to.asleep {
		return
	}
	if a.to.bend != nil {
		bent := *a.reply.Reply
		a.reply.Reply = &bent
		a.to.bend(&a.reply)
	}
	w.step(a.to, &a.reply)
	if _, ok := a.to.core.(*txn.Coordinator); ok && w.faults.has(firstPreCommit) && a.reply.Reply.Kind == storage.ReplyAccepted {
		for _, g := range w.groups {
			w.step(a.to, &txn.Reply{From: g.id, Ref: a.reply.Ref, Reply: a.reply.Reply})
		}
	}
}

// pass lets time pass until some machine wants to be woken. It returns false where none does.
func (w *world) pass() bool {
	var next *proc
	w.procs = slices.DeleteFunc(w.procs, func(p *proc) bool { return p.over })
	for _, p := range w.procs {
		if !p.asleep && !p.wake.IsZero() && (next == nil || p.wake.Before(next.wake)) {
			next = p
		}
	}
	if next == nil {
		return false
	}
	if next.wake.After(w.now) {
		w.now = next.wake
	}
	w.step(next, txn.Tick{})
	return true
}

func replyString(r *storage.TxnReply) string {
	name := map[storage.ReplyKind]string{
		storage.ReplyYes: "yes", storage.ReplyNo: "no", storage.ReplyCommitted: "committed", storage.ReplyGone: "gone",
		storage.ReplyAck: "ack", storage.ReplyAccepted: "accepted", storage.ReplyPromise: "promise",
		storage.ReplyNack: "nack", storage.ReplySuperseded: "superseded", storage.ReplyOpen: "open",
		storage.ReplyAlarm: "alarm", storage.ReplyAbsent: "absent",
	}[r.Kind]
	if r.Kind == storage.ReplyCommitted || r.Kind == storage.ReplyPromise {
		name += " " + decisionString(r.Decision|r.Accepted)
	}
	return fmt.Sprintf("%s(%d) sealed=%t reason=%d %s", name, r.Attempt, r.Sealed, r.Reason, r.Alarm)
}
