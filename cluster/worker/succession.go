package worker

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

const (
	heirTurns   = 3 // for so many ticks in a row an heir stands for election where a leader's node is gone
	votingTicks = 2 // so long a candidate waits for votes before it begins anew
)

// orphaned is a group whose leader's node is gone; the zero value is a group of which that is not known.
type orphaned struct {
	gone ring.NodeID
	term uint64 // that it led, or in which this replica is a candidate; in another one somebody else is
	from int    // tick from which on the heirs have their turns
}

// NodeGone tells that the connection to a node broke. Where that node led, the others stand for election at once and in
// turn instead of after the election timeout; if a majority still has a connection to it, PreVote is refused and nothing
// changes.
func (w *Worker) NodeGone(id ring.NodeID) {
	for _, g := range w.order {
		if g.install != nil || g.rep.Leader().Node() != id {
			continue
		}
		g.rep.ForgetLeader()
		g.orphaned = orphaned{gone: id, term: g.rep.Term(), from: w.ticks}
		w.campaign(g)
		w.touch(g)
	}
}

// NodeBack tells that there is a connection to a node again. If it has led all the while, its next heartbeat says so, and
// until then nobody takes its groups from it. If it was started anew, nothing of that kind will come.
func (w *Worker) NodeBack(id ring.NodeID) {
	for _, g := range w.order {
		if g.orphaned.gone == id {
			g.orphaned.from = w.ticks + w.cfg.HeartbeatTicks + 1
		}
	}
}

// succeed lets a tick pass for a group, which is orphaned no more once somebody leads it or raft's own timers have taken over.
//
// Two who stand at the same time, because they noticed at different ticks, may become candidates both, each waiting for a
// vote that it does not get. For both the turns then begin anew, now at the same tick.
func (w *Worker) succeed(g *group) {
	o := &g.orphaned
	switch {
	case o.gone == 0:
	case g.rep.Leader() != 0, w.ticks-o.from >= w.cfg.ElectionTicks:
		*o = orphaned{}
	case g.rep.Candidate() && g.rep.Term() != o.term:
		o.term, o.from = g.rep.Term(), w.ticks+votingTicks
	default:
		w.campaign(g)
	}
}

// campaign lets this replica stand for the leader's place if it is its turn. An heir has several: while the others have
// not noticed that the leader is gone they vote for nobody, and if that is a millisecond later, the first turn was in vain.
// Then comes the next heir, as this one may be behind, and so on. Who has voted for another leaves it to that one.
func (w *Worker) campaign(g *group) {
	passed := w.ticks - g.orphaned.from
	if passed < 0 || g.rep.Term() != g.orphaned.term {
		return
	}
	if heirs := w.heirs(g); len(heirs) > 0 && heirs[passed/heirTurns%len(heirs)] == g.rep.ID() {
		g.rep.Campaign()
	}
}

// heirs are the voters on other nodes than the one that is gone, in the order of the placement, which spreads what a node
// led among the others; those it does not know come last. Nodes whose descriptions differ may see another order: then two
// of them stand at the same time.
func (w *Worker) heirs(g *group) []replica.ID {
	var heirs []replica.ID
	for _, v := range g.rep.Conf().GetVoters() {
		if id := replica.ID(v); id.Node() != g.orphaned.gone {
			heirs = append(heirs, id)
		}
	}
	placed := w.target(g.id).Voters
	place := func(id replica.ID) int {
		i := slices.IndexFunc(placed, func(p replica.ID) bool { return p.Node() == id.Node() })
		if i < 0 {
			return len(placed)
		}
		return i
	}
	slices.SortFunc(heirs, func(a, b replica.ID) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) })
	return heirs
}
