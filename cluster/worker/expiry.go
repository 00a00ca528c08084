package worker

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// Keys whose time is over go in small steps, so that requests hardly notice even a million of them: an expire removes
// few keys of one group, and a turn proposes only as many expires as promise to remove expireIdle keys in all, going by
// what those before found; or expireBusy beside requests, whatever the backlog, so that on a machine without time to spare
// it is the keys that are late. Groups take turns. What a tick finds due is so spread over the turns until the next one;
// where few keys are due one turn, with one fsync, does for all groups.
const (
	expireFirst = 8  // keys that an expire may remove at first; then twice as many as the one before found
	expireIdle  = 64 // more in one expire makes no key cheaper, and its batch longer for whoever waits behind it
	expireBusy  = 32
	// expireSlack is how much later than its deadline a key goes at the earliest: the answer to the write that set
	// the deadline took a while to get to the client.
	expireSlack storage.Millis = 100
)

// noteDue puts a group with keys whose time is over into the line, once.
func (w *Worker) noteDue(g *group) {
	if !g.queued && w.hasDue(g) {
		g.queued = true
		w.due = append(w.due, g)
	}
}

// hasDue reports whether g may propose an expire that finds something.
func (w *Worker) hasDue(g *group) bool {
	next, some := g.part.NextDeadline()
	now := g.clock.now(w.now)
	return some && !g.expiring && now >= expireSlack && next <= now-expireSlack && g.rep.Serving()
}

// expire proposes the removal of keys in the groups that are next in line.
func (w *Worker) expire() {
	most := uint32(expireIdle)
	if w.asked {
		most = expireBusy
	}
	n := 0
	for budget := int(most); n < len(w.due) && budget > 0; n++ {
		g := w.due[n]
		g.queued = false
		if g.install != nil || !w.hasDue(g) {
			continue
		}
		data := storage.AppendCommand(nil, &storage.Command{
			Kind: storage.KindExpire, Clock: g.clock.now(w.now) - expireSlack, Limit: min(most, max(expireFirst, 2*g.lastExpired)),
		})
		if g.expiring = g.rep.Propose(data, nil) == nil; g.expiring {
			w.touch(g)
		}
		budget -= max(1, int(g.lastExpired))
	}
	w.due = append(w.due[:0], w.due[n:]...)
}

// noteExpired takes in that an expire was applied. One that found as much as it may remove leaves more.
func (w *Worker) noteExpired(g *group, removed uint32) {
	g.expiring, g.lastExpired = false, removed
	if !g.rep.Leading() {
		return
	}
	w.expired += uint64(removed)
	if w.space < Full {
		w.noteDue(g)
	}
}

// overdue is how long ago the first key of g that is still there should have gone.
func (w *Worker) overdue(g *group) time.Duration {
	next, some := g.part.NextDeadline()
	now := g.clock.now(w.now)
	if !some || next > now || !g.rep.Leading() {
		return 0
	}
	return time.Duration(now-next) * time.Millisecond
}

// Expired counts the keys whose time was over and that went away in groups that this node led, since the start.
func (w *Worker) Expired() uint64 { return w.expired }
