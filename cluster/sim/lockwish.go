package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

// What a node does for a client that wants a lock, in the rules of package cluster. Locks are leases to package storage.

// wish is one client's wish for a lock at the node that it asked. It dies with the node's process.
type wish struct {
	s     *txnSide
	l     *lock
	ttl   time.Duration
	wait  time.Duration
	until time.Duration
	id    storage.WaiterID
	asked bool // a group may know of it
	over  bool
	ask   *request // under way
	place *place   // what the judge knows of it
	end   func(*storage.LeaseReply, error)
}

var (
	errRefused = errors.New("nothing was done")
	errHungUp  = errors.New("the client has gone")
)

// askAgain bounds for how long one leader's answer is waited for; mostly it is less, so that more is asked.
const askAgain = 4 * time.Second

// takeBack bounds the attempt to cancel what nobody wants any more, tellTime that to renew or release.
const (
	takeBack = 2 * time.Second
	tellTime = 2 * time.Second
)

// acquire asks for a lock; end is called once, with the reply, or errCut if the process has ended.
func (s *txnSide) acquire(l *lock, ttl, wait time.Duration, end func(*storage.LeaseReply, error)) *wish {
	w := &wish{s: s, l: l, ttl: ttl, wait: wait, until: s.n.w.now + wait, end: end}
	if s.dead() || s.incarnation == 0 {
		w.finish(nil, errRefused)
		return w
	}
	s.wishes = append(s.wishes, w)
	w.begin()
	return w
}

// begin gives the wish an id of its own.
func (w *wish) begin() {
	w.s.wished++
	w.id = storage.WaiterID{Node: w.s.n.id, Incarnation: w.s.incarnation, Number: w.s.wished}
	w.asked = false
	w.place = w.s.n.w.locks.begin(w)
	w.send()
}

func (w *wish) finish(r *storage.LeaseReply, err error) {
	if !w.over {
		w.over = true
		w.place.conclude(r, err)
		w.end(r, err)
	}
}

// send brings the wish to the group and waits for an answer, for a while.
func (w *wish) send() {
	world := w.s.n.w
	d := world.between(askAgain/20, askAgain/5)
	if world.chance(0.3) {
		d = world.between(askAgain/5, askAgain)
	}
	w.ask = &request{
		ask: askLease, group: w.l.group, lock: w.l, place: w.place, encode: w.command, waits: w.wait > 0,
		deadline: world.now + d, wait: d,
	}
	w.ask.done = func(rep reply) { w.s.run(func() { w.heard(rep) }) }
	world.send(w.s.n, w.ask)
}

// command is as the attempt under way sends it.
func (w *wish) command() []byte {
	return storage.AppendCommand(nil, &storage.Command{Kind: storage.KindAcquire, Lease: &storage.LeaseCommand{
		Name: []byte(w.l.name), Waiter: w.id, Again: w.asked || w.ask.sent, Owner: w.id.String(),
		TTL: millis(w.ttl), Wait: millis(max(0, w.until-w.s.n.w.now)),
	}})
}

func millis(d time.Duration) storage.Millis { return storage.Millis(d.Milliseconds()) }

func (w *wish) heard(rep reply) {
	w.asked = w.asked || w.ask.sent
	switch {
	case w.over:
	case rep.outcome == answered && rep.result.Lease == nil:
		w.s.n.w.violate("a command about a lock is answered with %v", rep.result.Status)
	case rep.outcome == answered && rep.result.Lease.Kind == storage.LeaseOver:
		w.place.cancelled()
		w.begin() // it was given up for dead: at the end of the line again
	case rep.outcome == answered:
		if change := w.s.n.w.cfg.Sabotage.Token; change != nil {
			rep.result.Lease.Token = change(rep.result.Lease.Token)
		}
		w.finish(rep.result.Lease, nil)
	case rep.refused:
		w.giveUp()
		w.finish(nil, errRefused)
	case !w.s.n.w.cfg.Sabotage.AskOnce:
		w.place.unheard = true
		w.send()
	}
}

// hangUp is the client going away.
func (w *wish) hangUp() {
	if !w.over && !w.s.dead() {
		w.s.n.w.stats.HangUps++
		w.ask.over = true
		w.ask.leave(w.s.n)
		w.giveUp()
		w.finish(nil, errHungUp)
	}
}

// giveUp takes back what was asked for: its client would never hear of it.
func (w *wish) giveUp() {
	if w.asked || w.ask.sent || w.ask.op != nil {
		w.s.tell(w.l, storage.KindCancel, storage.LeaseCommand{Waiter: w.id}, takeBack, func(*storage.LeaseReply, bool) {})
	}
}

// tell has a command about a lock applied that may be repeated. r is nil if nobody said that it was; repeated tells that an
// attempt before the one that was answered may have had an effect.
func (s *txnSide) tell(l *lock, k storage.Kind, c storage.LeaseCommand, limit time.Duration, then func(r *storage.LeaseReply, repeated bool)) {
	c.Name = []byte(l.name)
	ask := &request{
		ask: askLease, group: l.group, lock: l, data: storage.AppendCommand(nil, &storage.Command{Kind: k, Lease: &c}),
		deadline: s.n.w.now + limit, wait: txnAttemptTime,
	}
	ask.done = func(rep reply) { s.run(func() { then(rep.result.Lease, ask.sent) }) }
	s.n.w.send(s.n, ask)
}

// wishFor is what the worker is asked with where an acquire may have to wait.
func (r *request) wishFor() *worker.Wish {
	if r.place == nil || !r.waits && !r.sent {
		return nil
	}
	return &worker.Wish{Waiter: r.place.id}
}

// leave tells the node that was asked, sooner or later, that nobody waits for its answer any more.
func (r *request) leave(from *node) {
	to, op, life := r.at, r.op, r.atLife
	if op == nil {
		return
	}
	if d, ok := r.w.net.pass(from, to); ok {
		r.w.after(d, func() { to.left(r, op, life) })
	}
}

// left is a handler noticing that its client has gone, or is late.
func (n *node) left(r *request, wish *worker.Wish, life int) {
	if n.life == life {
		n.arrive(func(wk *worker.Worker) {
			wish.Left.Store(true)
			wk.Leave(r.group, wish)
		})
	}
}

// cut is how a client learns that the process it talks to has ended. The node that was asked learns it too, at times late.
func (w *wish) cut() {
	if w.over {
		return
	}
	world := w.s.n.w
	w.ask.over = true
	if r := w.ask; r.op != nil && world.chance(0.7) {
		at, op, life := r.at, r.op, r.atLife
		world.after(world.between(20*time.Millisecond, 400*time.Millisecond), func() { at.left(r, op, life) })
	}
	world.after(world.between(0, 50*time.Millisecond), func() { w.finish(nil, errCut) })
}

// bring carries an attempt about a lock to a node, some of them very late. Whoever handles it there waits no longer than the
// asker.
func (r *request) bring(to *node, serial int) {
	w := r.w
	if r.encode != nil {
		r.data = r.encode()
	}
	r.op, r.at, r.atLife = r.wishFor(), to, to.life
	d, ok := w.net.pass(r.gate, to)
	if !ok {
		return
	}
	if w.net.ghosts > 0 && w.chance(w.net.ghosts) {
		w.stats.Ghosts++
		d += w.between(0, maxGhost)
	}
	data, wish := r.data, r.op
	w.after(d, func() {
		if w.closed && r.over {
			return
		}
		life := to.life
		to.arrive(func(wk *worker.Worker) { to.serveLease(wk, r, serial, data, wish) })
		if wish != nil {
			w.after(r.wait, func() { to.left(r, wish, life) })
		}
	})
}

func (n *node) serveLease(wk *worker.Worker, r *request, serial int, data []byte, wish *worker.Wish) {
	if change := n.w.cfg.Sabotage.Command; change != nil {
		data = change(n.w.rng, data)
	}
	r.lock.touched = n.w.now
	op := &worker.Op{
		Group: r.group, Kind: worker.Write, Data: slices.Clone(data), Wish: wish,
		Deadline: n.w.now + max(0, r.deadline-n.w.now)*7/8,
	}
	if r.place != nil && n.roomFor(r, op) {
		r.place.brought(n)
	}
	n.submit(wk, r, serial, op)
}

// forgetLine is sabotage: a leader begins by sending everybody away who waits for a lock.
func (n *node) forgetLine(p storage.PartitionID) {
	n.arrive(func(wk *worker.Worker) {
		v := n.engine.View()
		defer v.Close()
		part, err := storage.OpenPartition(v, p)
		if err != nil {
			return
		}
		for _, x := range part.Waiters() {
			c := storage.Command{Kind: storage.KindCancel, Lease: &storage.LeaseCommand{Name: []byte(x.Name), Waiter: x.Waiter}}
			wk.Submit(&worker.Op{Group: p, Kind: worker.Write, Data: storage.AppendCommand(nil, &c), Done: func(*worker.Op) {}})
		}
	})
}
