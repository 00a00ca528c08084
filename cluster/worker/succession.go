package worker

import (
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// heirTurns is for how many ticks in a row an heir stands for election where a leader's node is gone.
const heirTurns = 3

// orphaned is a group whose leader's node is gone; the zero value is a group of which that is not known.
type orphaned struct {
	gone  ring.NodeID
	since int // tick
}

// NodeGone tells that the connection to a node broke. Where that node led, the others stand for election at once and in
// turn instead of after the election timeout; if the node still leads for the rest, its group refuses by PreVote and
// nothing changes.
func (w *Worker) NodeGone(id ring.NodeID) {
	for _, g := range w.order {
		if g.install != nil || g.rep.Leader().Node() != id {
			continue
		}
		g.rep.ForgetLeader()
		g.orphaned = orphaned{gone: id, since: w.ticks}
		w.standInTurn(g)
		w.touch(g)
	}
}

// standInTurn lets this replica stand for the leader's place if it is its turn. An heir has several: while the others have
// not noticed that the leader is gone they vote for nobody, and if that is a millisecond later, the first turn was in vain.
// Then comes the next heir, as this one may be behind, and so on until raft's own election timeout takes over.
func (w *Worker) standInTurn(g *group) {
	o := &g.orphaned
	if o.gone == 0 {
		return
	}
	passed := w.ticks - o.since
	if passed > 0 && (g.rep.Leader() != 0 || passed >= w.cfg.ElectionTicks) {
		g.orphaned = orphaned{}
		return
	}
	heirs := w.heirs(g, o.gone)
	if len(heirs) > 0 && heirs[passed/heirTurns%len(heirs)] == g.rep.ID() {
		g.rep.Campaign()
	}
}

// heirs are the voters on other nodes, in the same order everywhere: that of the placement, which spreads what a node led
// among the others, or where it is not known that of the identities.
func (w *Worker) heirs(g *group, gone ring.NodeID) []replica.ID {
	voters := slices.Clone(w.target(g.id).Voters)
	if len(voters) == 0 {
		for _, v := range g.rep.Conf().GetVoters() {
			voters = append(voters, replica.ID(v))
		}
		slices.Sort(voters)
	}
	return slices.DeleteFunc(voters, func(v replica.ID) bool { return v.Node() == gone })
}
