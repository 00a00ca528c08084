package sim

import (
	"errors"
	"time"
)

// failed ends a process whose worker gave up: as the node does, it answers everybody who waits.
func (n *node) failed(error) {
	n.w.stats.DiskFails++
	n.w.stats.Torn += n.worker.Installing()
	n.close()
	n.release(n.w.chance(0.5))
	n.restartLater()
}

// close ends the process in order, but for its disk.
func (n *node) close() {
	n.w.note("close", uint64(n.index), uint64(n.life))
	wk := n.worker
	n.ended()
	wk.Close()
	if n.waiting != 0 {
		n.w.violate("node %s: %d requests were never answered", n.name, n.waiting)
	}
}

// release takes the disk from a process; with power, what is not synced may be lost.
func (n *node) release(power bool) {
	n.loseMemory()
	if !power {
		n.disk.Engine.Kill()
		n.disk.FS.Kill()
		return
	}
	n.w.stats.Forgotten += n.disk.Engine.Crash(n.w.rng)
	n.disk.FS.Crash(n.w.rng)
}

// ended makes everything void that the process has planned.
func (n *node) ended() {
	n.worker = nil
	n.life++
	if n.side != nil {
		n.side.die()
	}
}

// stop is an orderly end.
func (n *node) stop() {
	if !n.w.cfg.Direct && n.worker.Sync() != nil { // as the node's loop does
		if !n.fuse.blown {
			n.w.violate("node %s: sync at the end on a good disk", n.name)
		}
		n.close()
		n.release(false)
		return
	}
	n.close()
	if err := errors.Join(n.engine.Close(), n.log.Close()); err != nil && !n.fuse.blown {
		n.w.violate("node %s: close disk: %w", n.name, err)
	}
	n.release(false)
}

// crash ends the process at once: with power, what is not synced is lost as well. Nobody is answered.
func (n *node) crash(power bool) {
	if n.worker == nil {
		return
	}
	n.w.note("crash", uint64(n.index), uint64(n.life))
	n.w.stats.Torn += n.worker.Installing()
	n.ended()
	n.release(power)
	if power {
		n.w.stats.Powercuts++
	} else {
		n.w.stats.Kills++
	}
}

func (n *node) restartLater() {
	n.w.after(n.w.between(10*time.Millisecond, 3*time.Second), n.start)
}
