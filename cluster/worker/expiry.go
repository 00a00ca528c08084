package worker

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

const (
	// expireEvery is how often, in ticks, a group with keys that are due lets them expire: the groups in turn, so that not
	// all of them do so at once. An expire is cheap, but it is an entry.
	expireEvery = 3
	// expireSlack is how much later than its deadline a key goes at the earliest: the answer to the write that set
	// the deadline took a while to get to the client.
	expireSlack storage.Millis = 100
)

// expire lets a group's keys expire whose time is over, now and then; at once those that the last expire has left.
func (w *Worker) expire(g *group) {
	if !g.expiring && ((w.ticks+int(g.id))%expireEvery == 0 || g.expireAll) && w.hasDue(g) {
		w.proposeExpire(g)
	}
}

// hasDue reports whether g may propose an expire that finds something.
func (w *Worker) hasDue(g *group) bool {
	next, some := g.part.NextDeadline()
	now := g.clock.now(w.now)
	return some && now >= expireSlack && next <= now-expireSlack && g.rep.Serving()
}

func (w *Worker) proposeExpire(g *group) {
	data := storage.AppendCommand(nil, &storage.Command{
		Kind: storage.KindExpire, Clock: g.clock.now(w.now) - expireSlack, Limit: storage.MaxExpire,
	})
	if g.expiring = g.rep.Propose(data, nil) == nil; g.expiring {
		w.touch(g)
	}
}

// noteExpired takes in that an expire was applied. Where it could not let all go, the next turn goes on with the rest.
func (w *Worker) noteExpired(g *group) {
	g.expiring = false
	if g.rep.Leading() && len(g.part.Meta().Horizon.Key) > 0 && !g.expireAll {
		g.expireAll = true
		w.due = append(w.due, g)
	}
}

// expireRest goes on where an expire has left keys that are due.
func (w *Worker) expireRest() {
	for _, g := range w.due {
		if g.install == nil {
			w.expire(g)
		}
		g.expireAll = false
	}
	w.due = w.due[:0]
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

// Expired counts the keys whose time was over in groups that this node led, since the start.
func (w *Worker) Expired() uint64 { return w.expired }
