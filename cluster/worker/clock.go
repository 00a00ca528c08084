package worker

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/storage"
)

// clock estimates a partition's clock between its stamps: the one that it goes by, and the time since this node saw it,
// on the monotonic clock of the turns. What lives until a deadline is never ended early, because of this: once an entry is
// in a node's log, that node's estimate never gains more on the entry's stamp than the time since the entry was stamped.
//
// For the stamps of one leader that holds by itself: they grow with its own time, and each is seen later than it was made.
// Leaders need not agree, though. One that was started while its group was quiet counts from its start, and stamps low; who
// has counted all along must come down to it, or it would end at once what that leader has let live for a while. So the first
// stamp of every new term replaces the estimate, also by a lower one. A leader only ever follows those before it: who is
// elected has in its log whatever is committed, so it has come down to all of them.
type clock struct {
	Clock
	term uint64 // of Base's entry; 0: it is from the state, and any stamp replaces it
}

// Clock is what a partition's clock was seen to be at a moment of the turns' clock.
type Clock struct {
	Base storage.Millis
	At   time.Duration
}

// Now is what it is about to be at t.
func (c Clock) Now(t time.Duration) storage.Millis {
	return c.Base + storage.Millis(max(0, t-c.At)/time.Millisecond)
}

func (c *clock) now(t time.Duration) storage.Millis { return c.Now(t) }

// observe takes in what the partition's clock is known to have reached.
func (c *clock) observe(stamp storage.Millis, t time.Duration) {
	if stamp > c.now(t) {
		c.Base, c.At = stamp, t
	}
}

// follow takes in the stamp of an entry of another leader. applied is the clock of the state, which never goes back.
func (c *clock) follow(stamp, applied storage.Millis, term uint64, t time.Duration) {
	if term == c.term {
		c.observe(stamp, t)
		return
	}
	c.Clock, c.term = Clock{max(stamp, applied), t}, term
}

// readClocks takes in the stamps of what is appended to a group's log. Waiting until it is applied would be too late: a new
// leader stamps before it has applied all that its log holds.
func (w *Worker) readClocks(g *group, entries []*raftpb.Entry) {
	own := uint64(0)
	if g.rep.Leading() {
		own = g.rep.Term()
	}
	for _, e := range entries {
		stamp, some := storage.ClockOf(e.GetData())
		if e.GetType() != raftpb.EntryNormal || !some || e.GetTerm() == own {
			continue
		}
		g.clock.follow(stamp, g.part.Meta().Clock, e.GetTerm(), w.now)
		if storage.NeedsSpace(e.GetData()) && g.id != storage.MetaPartition {
			w.purger.asked = w.ticks
		}
	}
}
