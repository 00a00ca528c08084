package worker

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/storage"
)

// What nobody waits for lingers in its group until it can leave in company: with the next thing that the group does, or
// with what lingers in all other groups, at the latest Config.Linger after the first of it came. Two kinds do:
//
//   - commits of transactions whose clients have their answer. Whoever comes to the group is let behind them, so a lock
//     is held longer only while nobody asks for it;
//   - the news that entries are committed, which every message with entries brings along. raft sends it apart, at once,
//     and that was half of all messages between nodes.
//
// To linger is to be slow, which raft and the commit protocol allow at any time.
type lingerers struct {
	listed bool              // the group is in Worker.lingering
	ops    []*Op             // to be proposed, in order of arrival
	news   []*raftpb.Message // one for each member at most
}

// maxLingering bounds the commits that linger in one group; with one more they all leave.
const maxLingering = 256

// commit takes the commit of a transaction that is decided. Where somebody waits it goes at once, and who waited for it
// right behind it.
func (w *Worker) commit(g *group, op *Op, t storage.TxnID) {
	op.ends = t
	if w.cfg.Linger == 0 || g.line.Waiting() > 0 || len(g.lingering.ops) >= maxLingering {
		w.proposeLingering(g)
		w.proposeCommit(g, op)
		w.serve(g)
		return
	}
	w.expectCompany(g)
	g.lingering.ops = append(g.lingering.ops, op)
}

// proposeCommit lets everybody behind the transaction who is proposed from now on.
func (w *Worker) proposeCommit(g *group, op *Op) {
	g.line.Leaving(op.ends)
	w.propose(g, op)
}

// proposeLingering hands the commits that linger in a group to raft, ahead of what comes next.
func (w *Worker) proposeLingering(g *group) {
	if len(g.lingering.ops) == 0 {
		return
	}
	for _, op := range g.lingering.ops {
		w.proposeCommit(g, op)
	}
	g.lingering.ops = reuse(g.lingering.ops)
}

// isNews reports whether a message tells of nothing but a higher commit index. A probe for where a member's log ends looks
// the same; to be late does it no harm either.
func (w *Worker) isNews(g *group, m *raftpb.Message) bool {
	return w.cfg.Linger > 0 && m.GetType() == raftpb.MsgApp && len(m.GetEntries()) == 0 && g.id != storage.MetaPartition
}

// holdNews keeps a message for later, in place of an older one to the same member.
func (w *Worker) holdNews(g *group, m *raftpb.Message) {
	w.expectCompany(g)
	g.lingering.drop(m.GetTo())
	g.lingering.news = append(g.lingering.news, m)
}

// drop forgets the news for a member: what is sent now knows more.
func (l *lingerers) drop(to uint64) {
	l.news = slices.DeleteFunc(l.news, func(m *raftpb.Message) bool { return m.GetTo() == to })
}

func (w *Worker) sendNews(g *group) {
	for _, m := range g.lingering.news {
		w.post(g, m)
	}
	g.lingering.news = reuse(g.lingering.news)
}

// expectCompany notes that something lingers in a group.
func (w *Worker) expectCompany(g *group) {
	if g.lingering.listed {
		return
	}
	if len(w.lingering) == 0 {
		w.lingerEnd = w.now + w.cfg.Linger
	}
	g.lingering.listed = true
	w.lingering = append(w.lingering, g)
}

// Lingering tells whether something lingers, and when a Turn is due that ends it.
func (w *Worker) Lingering() (until time.Duration, some bool) {
	return w.lingerEnd, len(w.lingering) > 0
}

// endLinger proposes what lingers if it has lingered long enough. It returns the groups whose news is to be sent once
// their entries have left, which mostly bring it along.
func (w *Worker) endLinger() []*group {
	if len(w.lingering) == 0 || w.now < w.lingerEnd {
		return nil
	}
	late := w.lingering
	w.lingering = nil
	for _, g := range late {
		g.lingering.listed = false
		w.proposeLingering(g)
	}
	return late
}

// sendLingeringAway answers the commits that linger where this replica can no longer propose them, and forgets the news.
func (w *Worker) sendLingeringAway(g *group, err error) {
	ops := g.lingering.ops
	g.lingering.ops, g.lingering.news = nil, nil
	for _, op := range ops {
		w.finish(g, op, err)
	}
}

// reuse empties a slice for the next ones.
func reuse[T any](s []*T) []*T {
	clear(s)
	return s[:0]
}
