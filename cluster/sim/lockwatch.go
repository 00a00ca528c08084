package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringkv/ringkv/storage"
)

// leaseTime is how long after the last fault, beyond its TTL, a lock may be held that nobody renews: an election, and the
// leader's slack.
const leaseTime = 3 * time.Second

// watchLeases looks, from the end of the faults on, for locks that are held for ever.
func (w *world) watchLeases() {
	if w.cfg.LockClients <= 0 {
		return
	}
	var look func()
	look = func() {
		for _, l := range w.locks.all {
			if l.heldTooLong() {
				w.violate("lock %s is held under token %d since %v, although nobody asked for it or renewed it since %v", l.name, l.holder, l.held, l.touched)
			}
		}
		if !w.judged {
			w.after(settleStep, look)
		}
	}
	look()
}

func (l *lock) heldTooLong() bool {
	w := l.w
	lease, err := w.lease(l)
	if err == nil && lease.Token != l.holder {
		l.holder, l.held = lease.Token, w.now // granted in line, perhaps, to somebody who is gone: its TTL begins now
	}
	end := max(l.touched, l.held, w.calmAt) + maxLockTTL + leaseTime
	return w.now > end && err == nil && lease.Waiters == 0
}

var errNobodyLeads = errors.New("nobody leads")

// lease is the lock as its group's leader has it: storage.ErrNotFound where nobody does.
func (w *world) lease(l *lock) (storage.Lease, error) {
	part, err := w.partition(l.group)
	if err != nil {
		return storage.Lease{}, err
	}
	n, _ := w.leaderOf(l.group)
	if part == nil || n == nil {
		return storage.Lease{}, errNobodyLeads
	}
	v := n.engine.View()
	defer v.Close()
	return part.ReadLease(v, []byte(l.name), part.Meta().Clock)
}

// locksUnsettled is nil when nobody has, or waits for, any lock.
func (w *world) locksUnsettled() error {
	if w.cfg.LockClients <= 0 {
		return nil
	}
	if w.locks.open > 0 {
		return fmt.Errorf("%d wishes for locks are not answered", w.locks.open)
	}
	for _, l := range w.locks.all {
		if lease, err := w.lease(l); !isNotFound(err) {
			return fmt.Errorf("lock %s is held, %d wait for it: %w", l.name, lease.Waiters, err)
		}
	}
	return nil
}

// judgeLocks judges all locks. What the guarded keys are in the end was read through every view.
func (v *verdict) judgeLocks() error {
	if v.w.cfg.LockClients <= 0 {
		return nil
	}
	for _, l := range v.w.locks.all {
		for i := range guardedKeys {
			key := l.guarded(i)
			p := v.w.ring.Partition([]byte(key))
			item, err := storage.Get(v.views[p], p, []byte(key))
			switch {
			case isNotFound(err):
			case err != nil:
				return err
			default:
				l.sighted(key, item.Version, string(item.Value))
			}
		}
		if err := l.judge(func(d *deed) bool { return v.done[d] }); err != nil {
			return err
		}
	}
	return nil
}
