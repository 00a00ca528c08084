package sim

import (
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
)

// The pace of a node. Its tick is a little faster or slower than the others'.
const (
	tick           = 50 * time.Millisecond
	electionTicks  = 8
	heartbeatTicks = 2
	linger         = 5 * time.Millisecond
	keepEntries    = 12  // so few that a member which was away needs a snapshot
	maxInbox       = 500 // while a node stands still
)

// linger is how long what nobody waits for lingers: not at all where the clock that would end it is sabotaged, which is to
// be found out by what it does to locks.
func (n *node) linger() time.Duration {
	if n.w.cfg.Sabotage.Clock != nil {
		return 0
	}
	return linger
}

// clock is the machine's monotonic clock.
func (n *node) clock() time.Duration {
	if bad := n.w.cfg.Sabotage.Clock; bad != nil {
		return bad(n.index, n.w.now)
	}
	return n.w.now
}

// beat wakes the node once a tick for as long as this process lives.
func (n *node) beat(life int) {
	n.w.after(max(0, n.nextTick-n.w.now), func() {
		if n.life != life || n.worker == nil {
			return
		}
		n.nextTick = n.w.now + n.period
		n.inbox = append(n.inbox, func(wk *worker.Worker) { wk.Tick(n.clock()) })
		n.wake()
		n.beat(life)
	})
}

func (n *node) wake() {
	if n.turning || n.paused {
		return
	}
	n.turning = true
	life := n.life
	n.w.after(n.w.between(0, 2*time.Millisecond), func() {
		if n.life != life || n.worker == nil {
			return
		}
		n.turning = false
		if !n.paused {
			n.turn()
		}
	})
}

// wakeAt has the worker take a turn later, for what it lets linger; several at one time are one.
func (n *node) wakeAt(at time.Duration) {
	if n.wakesAt == at {
		return
	}
	n.wakesAt = at
	life := n.life
	n.w.after(max(0, at-n.clock()), func() {
		if n.life == life && n.worker != nil {
			n.wake()
		}
	})
}
