package replica_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

const lastIndex = 1000

// group is a group as its leader sees it. Members that nothing is said of are up to date.
type group struct {
	t       *testing.T
	self    replica.ID
	conf    *raftpb.ConfState
	target  replica.Target
	members map[replica.ID]replica.Member
}

// TestWalk runs the scripts in testdata/walk. "move" prints the next step from a situation, "walk" all of them: each
// change takes effect at once, each learner catches up unless it is said to be dead.
func TestWalk(t *testing.T) {
	datadriven.RunTest(t, "testdata/walk", func(t *testing.T, d *datadriven.TestData) string {
		g := parseGroup(t, d)
		switch d.Cmd {
		case "move":
			return describe(g.move()) + "\n"
		case "walk":
			return g.walk()
		}
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
		return ""
	})
}

func (g *group) move() replica.Move {
	for _, list := range [][]uint64{g.conf.GetVoters(), g.conf.GetLearners(), g.conf.GetVotersOutgoing()} {
		for _, id := range list {
			if _, ok := g.members[replica.ID(id)]; !ok {
				g.members[replica.ID(id)] = replica.Member{Match: lastIndex, Active: true, Steady: true}
			}
		}
	}
	return replica.NextMove(g.self, g.conf, g.members, lastIndex, g.target)
}

func (g *group) walk() string {
	var out strings.Builder
	for range 20 {
		m := g.move()
		fmt.Fprintf(&out, "%s\n", describe(m))
		switch {
		case m.Transfer != 0:
			g.self = m.Transfer
		case m.Change == nil:
			fmt.Fprintf(&out, "voters %s learners %s leader %v\n", ids(g.conf.GetVoters()), ids(g.conf.GetLearners()), g.self)
			return out.String()
		default:
			g.apply(m.Change)
		}
	}
	return out.String() + "still walking\n"
}

// apply does what raft does with a change once it is committed and the joint configuration has been left.
func (g *group) apply(cc *raftpb.ConfChangeV2) {
	for _, c := range cc.GetChanges() {
		id := c.GetNodeId()
		is := func(o uint64) bool { return o == id }
		g.conf.Voters = slices.DeleteFunc(g.conf.Voters, is)
		g.conf.Learners = slices.DeleteFunc(g.conf.Learners, is)
		switch c.GetType() {
		case raftpb.ConfChangeAddNode:
			g.conf.Voters = append(g.conf.Voters, id)
		case raftpb.ConfChangeAddLearnerNode:
			g.conf.Learners = append(g.conf.Learners, id)
		}
	}
	if len(g.conf.Voters) == 0 {
		g.t.Fatal("the walk removed the last voter")
	}
}

func describe(m replica.Move) string {
	if m.Transfer != 0 {
		return "transfer to " + m.Transfer.String()
	}
	if m.Change == nil {
		return "rest"
	}
	var parts []string
	for _, c := range m.Change.GetChanges() {
		verb := map[raftpb.ConfChangeType]string{
			raftpb.ConfChangeAddNode: "voter", raftpb.ConfChangeAddLearnerNode: "learner", raftpb.ConfChangeRemoveNode: "remove",
		}[c.GetType()]
		parts = append(parts, verb+" "+replica.ID(c.GetNodeId()).String())
	}
	return strings.Join(parts, ", ")
}

func ids(list []uint64) string {
	var out []string
	for _, id := range slices.Sorted(slices.Values(list)) {
		out = append(out, replica.ID(id).String())
	}
	return "[" + strings.Join(out, " ") + "]"
}

// parseGroup reads: self=1.1 voters=(1.1,2.1) learners=(…) outgoing=(…) target=(…) readers=(…) crowded=(…) any, and in the input
// lines such as "2.1 behind", "2.1 silent" or "2.1 probed".
func parseGroup(t *testing.T, d *datadriven.TestData) *group {
	g := &group{t: t, conf: &raftpb.ConfState{}, members: make(map[replica.ID]replica.Member)}
	for _, arg := range d.CmdArgs {
		list := make([]replica.ID, len(arg.Vals))
		raw := make([]uint64, len(arg.Vals))
		for i, v := range arg.Vals {
			list[i] = parseID(t, v)
			raw[i] = uint64(list[i])
		}
		switch arg.Key {
		case "self":
			g.self = list[0]
		case "voters":
			g.conf.Voters = raw
		case "learners":
			g.conf.Learners = raw
		case "outgoing":
			g.conf.VotersOutgoing = raw
		case "target":
			g.target.Voters = list
		case "readers":
			g.target.Learners = list
		case "crowded":
			for _, id := range list {
				g.target.Crowded = append(g.target.Crowded, id.Node())
			}
		case "any":
			g.target.AnyLeader = true
		default:
			t.Fatalf("%s: unknown argument %s", d.Pos, arg.Key)
		}
	}
	for line := range strings.Lines(d.Input) {
		id, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := replica.Member{Match: lastIndex, Active: state != "silent", Steady: state != "probed"}
		if state == "behind" {
			m.Match = lastIndex - 65
		}
		g.members[parseID(t, id)] = m
	}
	return g
}

func parseID(t *testing.T, s string) replica.ID {
	t.Helper()
	var node, epoch uint32
	if _, err := fmt.Sscanf(s, "%d.%d", &node, &epoch); err != nil {
		t.Fatalf("id %q: %v", s, err)
	}
	return replica.MakeID(ring.NodeID(node), epoch)
}
