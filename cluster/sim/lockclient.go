package sim

import (
	"strconv"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// locker is a client that takes one lock after the other and writes, while it holds it, what the lock guards. At times it
// stands still for longer than its lock lasts, and goes on as if nothing had happened.
type locker struct {
	w  *world
	id int
}

const (
	lockNames   = 3
	guardedKeys = 2 // of each lock, wherever they hash
	minLockTTL  = 300 * time.Millisecond
	maxLockTTL  = 3 * time.Second
	maxLockWait = 6 * time.Second
)

func lockName(i int) string { return "lock/" + strconv.Itoa(i) }

func (w *world) startLockers() {
	for i := range max(0, w.cfg.LockClients) {
		c := &locker{w: w, id: 2000 + i}
		w.after(w.between(0, time.Second), c.next)
	}
}

func (c *locker) next() {
	if c.w.closed {
		return
	}
	w := c.w
	again := func() { w.after(w.between(time.Millisecond, 300*time.Millisecond), c.next) }
	gate := w.anyNode()
	if gate == nil {
		again()
		return
	}
	l := w.locks.all[w.rng.IntN(lockNames)]
	var wait time.Duration
	if w.chance(0.7) {
		wait = w.between(300*time.Millisecond, maxLockWait)
	}
	ttl := w.between(minLockTTL, maxLockTTL).Truncate(time.Millisecond)
	h := &holding{c: c, l: l, ttl: ttl, then: again}
	begun := w.now
	wish := gate.side.acquire(l, ttl, wait, func(r *storage.LeaseReply, err error) { h.answered(r, err, begun) })
	if wait > 0 && w.chance(0.1) {
		w.after(w.between(0, wait), wish.hangUp)
	}
}

// holding is a lock in a client's hands, as far as the client knows.
type holding struct {
	c     *locker
	l     *lock
	ttl   time.Duration
	t     *tenure
	steps int
	lost  bool // the client has heard that the lock is another's, and goes on all the same
	then  func()
}

func (h *holding) answered(r *storage.LeaseReply, err error, begun time.Duration) {
	w := h.c.w
	switch {
	case err != nil:
		w.stats.LockFailures++
		h.then()
		return
	case r.Kind == storage.LeaseHeld:
		w.stats.LocksHeld++
		h.then()
		return
	case r.Kind != storage.LeaseGranted:
		w.violate("lock %s: an acquire is answered with %d", h.l.name, r.Kind)
		return
	}
	w.stats.LocksTaken++
	h.t = h.l.granted(r, begun, h.ttl)
	h.steps = 1 + w.rng.IntN(6)
	if w.chance(0.1) {
		h.steps += 20
	}
	if w.now-begun > h.ttl/3 {
		h.renew(h.step) // it is old already
		return
	}
	h.step()
}

// step does the next thing under the lock.
func (h *holding) step() {
	w := h.c.w
	h.steps--
	switch {
	case h.steps < 0 || h.lost:
		h.finish()
	case w.chance(0.6):
		h.write(h.rest)
	default:
		h.renew(h.rest)
	}
}

// rest lets some time pass, now and then too much.
func (h *holding) rest() {
	w := h.c.w
	d := w.between(time.Millisecond, h.ttl/3)
	if w.chance(0.1) {
		w.stats.ClientPauses++
		d = h.ttl + w.between(50*time.Millisecond, 4*time.Second)
		if w.chance(0.5) {
			h.steps = -1 // nothing but a last write
			w.after(d, func() { h.write(h.finish) })
			return
		}
	}
	w.after(d, h.step)
}

// finish gives the lock back, or leaves it to its TTL.
func (h *holding) finish() {
	w := h.c.w
	switch {
	case h.lost && w.chance(0.5):
		h.lost = false
		h.write(h.then) // it should have stopped
	case w.chance(0.75):
		h.release()
	default:
		w.stats.Abandoned++
		h.then()
	}
}

func (h *holding) renew(then func()) {
	w := h.c.w
	gate, sent := w.anyNode(), w.now
	if gate == nil {
		w.after(w.between(0, 100*time.Millisecond), then)
		return
	}
	heard := h.once(then)
	gate.side.tell(h.l, storage.KindRenew, storage.LeaseCommand{Token: h.t.token}, tellTime, func(r *storage.LeaseReply, _ bool) {
		switch {
		case r == nil:
		case r.Kind == storage.LeaseGranted:
			w.stats.Renewals++
			h.t.renewed(r, sent)
		case r.Kind == storage.LeaseLost:
			w.stats.LocksLost++
			h.lost = true
			h.t.lost("a renewal")
		default:
			w.violate("lock %s: a renewal is answered with %d", h.l.name, r.Kind)
		}
		heard()
	})
}

func (h *holding) release() {
	w := h.c.w
	gate := w.anyNode()
	if gate == nil {
		h.then()
		return
	}
	before := h.t.given
	h.t.given = true
	heard := h.once(h.then)
	gate.side.tell(h.l, storage.KindRelease, storage.LeaseCommand{Token: h.t.token}, tellTime, func(r *storage.LeaseReply, repeated bool) {
		switch {
		case r == nil:
		case r.Kind == storage.LeaseReleased:
			w.stats.Released++
		case r.Kind == storage.LeaseLost && !repeated && !before:
			h.t.given = false
			h.t.lost("a release")
			h.t.given = true
		case r.Kind != storage.LeaseLost:
			w.violate("lock %s: a release is answered with %d", h.l.name, r.Kind)
		}
		heard()
	})
}

// once goes on when there is an answer, or when none can come any more as the node has died.
func (h *holding) once(then func()) func() {
	over := false
	heard := func() {
		if !over {
			over = true
			then()
		}
	}
	h.c.w.after(tellTime+time.Second, heard)
	return heard
}

// write writes what the lock guards, under the condition that it is held.
func (h *holding) write(then func()) {
	w := h.c.w
	g := h.l.begin(h.t)
	g.req.Protocol = []storage.Protocol{storage.Auto, storage.Auto, storage.TwoPhase, storage.ThreePhase}[w.rng.IntN(4)]
	g.req.Timeout = w.between(300*time.Millisecond, 3*time.Second)
	if !w.cfg.Sabotage.Unguarded {
		g.req.If = []storage.TxnCondition{{Test: storage.TestToken, Key: []byte(h.l.name), Want: h.t.token}}
	}
	for _, i := range w.rng.Perm(guardedKeys)[:1+w.rng.IntN(guardedKeys)] {
		key := h.l.guarded(i)
		g.req.Then = append(g.req.Then, getOf(key), putOf(key, g.value()))
	}
	gate := w.anyNode()
	if gate == nil {
		w.after(w.between(0, 100*time.Millisecond), then)
		return
	}
	r := *g.req
	w.load.byRequest[&r] = &g.deed
	gate.side.transact(&r, func(o *txn.Outcome, _ error) {
		h.wrote(g, o)
		then()
	})
}

func (h *holding) wrote(g *guardedWrite, o *txn.Outcome) {
	w := h.c.w
	switch {
	case o == nil:
	case o.Decision == storage.DecideThen:
		w.stats.GuardedWrites++
		g.took(o.Results)
	default:
		w.stats.GuardedRefused++
		h.lost = true
		for i := range o.Failed {
			if f := &o.Failed[i]; f.Lock {
				h.t.refused(f.Version)
			}
		}
	}
}
