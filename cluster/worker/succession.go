package worker

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

const (
	heirTurns   = 3 // for so many ticks in a row an heir stands for election where a leader's node is gone
	votingTicks = 2 // so long the heirs wait for an election to end, the first time; then twice as long, and so on
)

// orphaned is a group whose leader's node is gone; the zero value is a group of which that is not known.
type orphaned struct {
	gone  ring.NodeID
	back  bool   // there is a connection to it again
	term  uint64 // in which the turns began
	from  int    // tick at which they begin
	until int    // tick at which raft's own timers take over
	wait  int    // ticks for the next election; votingTicks before the first
}

// NodeGone tells that the connection to a node broke. Where that node led, the others stand for election at once and in
// turn instead of after the election timeout; if a majority has heard from it lately, PreVote is ignored and nothing
// changes.
func (w *Worker) NodeGone(id ring.NodeID) {
	for _, g := range w.order {
		lead, term := g.rep.Latest() // what came before in this turn counts
		switch {
		case g.install != nil:
			continue
		case lead.Node() == id:
			g.orphaned = orphaned{gone: id, term: term, from: w.ticks, until: w.ticks + w.cfg.ElectionTicks, wait: votingTicks}
		case g.orphaned.gone == id && lead == 0:
			g.orphaned.back, g.orphaned.from = false, min(g.orphaned.from, w.ticks)
		default:
			continue
		}
		g.rep.ForgetLeader()
		w.campaign(g)
		w.touch(g)
	}
}

// NodeBack tells that there is a connection to a node again. If it has led all the while, its next heartbeat says so, and
// until then the heirs keep still. If it was started anew, nothing of that kind will come.
func (w *Worker) NodeBack(id ring.NodeID) {
	for _, g := range w.order {
		if g.orphaned.gone == id {
			g.orphaned.back, g.orphaned.from = true, w.ticks+w.cfg.HeartbeatTicks+1
		}
	}
}

// succeed lets a tick pass for a group, which is orphaned no more once somebody leads it or raft's own timers take over.
//
// Two who stand at the same time, because they noticed at different ticks, may become candidates both, each waiting for a
// vote that it does not get. With a new term the turns begin anew: for those two at about the same tick, and whoever has
// voted leaves time for the answer.
func (w *Worker) succeed(g *group) {
	o, lead := &g.orphaned, g.rep.Leader()
	switch {
	case o.gone == 0:
	case w.ticks >= o.until, lead != 0 && (lead.Node() != o.gone || o.back):
		*o = orphaned{}
	case lead != 0: // something that it had sent before has come after the news of its end
		g.rep.ForgetLeader()
		w.campaign(g)
	case g.rep.Term() != o.term:
		o.term, o.from, o.wait = g.rep.Term(), w.ticks+o.wait, 2*o.wait
	default:
		w.campaign(g)
	}
}

// campaign lets this replica stand for the leader's place if it is its turn. An heir has several: while the others have
// not noticed that the leader is gone they vote for nobody, and if that is a millisecond later, the first turn was in vain.
// Then comes the next heir, as this one may be behind, and so on.
func (w *Worker) campaign(g *group) {
	passed := w.ticks - g.orphaned.from
	if passed < 0 {
		return
	}
	if heirs := w.heirs(g); len(heirs) > 0 && heirs[passed/heirTurns%len(heirs)] == g.rep.ID() {
		g.rep.Campaign()
	}
}

// heirs are the voters on other nodes than the one that is gone, in the order of the placement, which spreads what a node
// led among the others. Nodes whose descriptions differ see another order, so after an election without an end it is that
// of the identities.
func (w *Worker) heirs(g *group) []replica.ID {
	var heirs []replica.ID
	for _, v := range g.rep.Conf().GetVoters() {
		if id := replica.ID(v); id.Node() != g.orphaned.gone {
			heirs = append(heirs, id)
		}
	}
	var placed []replica.ID
	if g.orphaned.wait == votingTicks {
		placed = w.target(g.id).Voters
	}
	place := func(id replica.ID) uint { // the largest for who is not placed
		return uint(slices.IndexFunc(placed, func(p replica.ID) bool { return p.Node() == id.Node() }))
	}
	slices.SortFunc(heirs, func(a, b replica.ID) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) })
	return heirs
}
