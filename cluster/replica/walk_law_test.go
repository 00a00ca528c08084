package replica_test

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// drawReplicas draws replicas on different nodes, at any of three epochs.
func drawReplicas(t *rapid.T, nodes []ring.NodeID, label string) []replica.ID {
	var out []replica.ID
	for _, n := range nodes {
		out = append(out, replica.MakeID(n, rapid.Uint32Range(1, 3).Draw(t, label)))
	}
	return out
}

func nodesOf(list []uint64) []ring.NodeID {
	var out []ring.NodeID
	for _, id := range list {
		out = append(out, replica.ID(id).Node())
	}
	slices.Sort(out)
	return out
}

// TestWalkArrives: where everybody answers, every walk from every configuration ends at its target, with the preferred
// leader, and no step takes more voters away than the target allows, or the leader itself.
func TestWalkArrives(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.Permutation([]ring.NodeID{1, 2, 3, 4, 5, 6, 7}).Draw(rt, "members")
		voters := rapid.IntRange(1, 5).Draw(rt, "voters")
		learners := rapid.IntRange(0, len(all)-voters).Draw(rt, "learners")
		g := &group{t: t, conf: &raftpb.ConfState{}, members: make(map[replica.ID]replica.Member)}
		for i, id := range drawReplicas(rt, all[:voters+learners], "epoch") {
			if i < voters {
				g.conf.Voters = append(g.conf.Voters, uint64(id))
			} else {
				g.conf.Learners = append(g.conf.Learners, uint64(id))
			}
		}
		g.self = replica.ID(g.conf.Voters[0])
		places := rapid.Permutation([]ring.NodeID{1, 2, 3, 4, 5, 6, 7}).Draw(rt, "places")
		wanted := rapid.IntRange(1, 5).Draw(rt, "wanted")
		readers := rapid.IntRange(0, len(places)-wanted).Draw(rt, "readers")
		g.target.Voters = drawReplicas(rt, places[:wanted], "target epoch")
		g.target.Learners = drawReplicas(rt, places[wanted:wanted+readers], "reader epoch")
		g.arrive(rt)
		slices.Sort(places[:wanted])
		if !slices.Equal(nodesOf(g.conf.Voters), places[:wanted]) || len(g.conf.Learners) != readers {
			rt.Fatalf("ended at voters %s learners %s, target %v", ids(g.conf.Voters), ids(g.conf.Learners), g.target)
		}
		if g.self.Node() != g.target.Voters[0].Node() {
			rt.Fatalf("led by %v, target %v", g.self, g.target)
		}
	})
}

func (g *group) arrive(t *rapid.T) {
	for range 40 {
		m := g.move()
		switch {
		case m.Transfer != 0:
			g.self = m.Transfer
		case m.Change == nil:
			return
		default:
			before := len(g.conf.Voters)
			g.apply(m.Change)
			if len(g.conf.Voters) < min(before, len(g.target.Voters)) {
				t.Fatalf("%s leaves the voters %s of %d", describe(m), ids(g.conf.Voters), before)
			}
			if !slices.Contains(g.conf.Voters, uint64(g.self)) {
				t.Fatalf("%s takes the leader %v away", describe(m), g.self)
			}
		}
	}
	t.Fatal("still walking after 40 steps")
}
