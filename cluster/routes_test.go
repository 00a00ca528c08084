package cluster

import (
	"testing"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
)

func twoNodeRoutes(t *testing.T) *Node {
	t.Helper()
	s, err := meta.Form("c", 2, 3, meta.Node{UUID: "u", Name: "n1", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{}
	n.identity.Store(&identity{UUID: "u", Node: 1})
	n.routes.setState(s)
	return n
}

func (n *Node) wantLeader(t *testing.T, want ring.NodeID) {
	t.Helper()
	if got := n.routes.leader(0); got != want {
		t.Errorf("leader is node %d, want %d", got, want)
	}
}

func TestRoutesLearnByTerm(t *testing.T) {
	n := twoNodeRoutes(t)
	n.wantLeader(t, 0)
	n.routes.learn(0, 2, 5)
	n.routes.learn(0, 3, 4)
	n.wantLeader(t, 2)
	n.routes.learn(0, 0, 5) // a member has lost sight of it
	n.wantLeader(t, 0)
	n.routes.learn(0, 2, 5)
	n.routes.learn(0, 3, 6)
	n.wantLeader(t, 3)
}

func TestRoutesUnlearn(t *testing.T) {
	n := twoNodeRoutes(t)
	n.routes.learn(0, 2, 5)
	n.unlearn(0, 3, 4) // says nothing of node 2
	n.wantLeader(t, 2)
	n.unlearn(0, 2, 3)
	n.wantLeader(t, 3)
	n.unlearn(0, 3, 0)
	n.wantLeader(t, 0)
}

// An answer of this node's own, or about it, may be older than its election, which the worker tells once.
func TestOwnLeadershipIsNotUnlearned(t *testing.T) {
	n := twoNodeRoutes(t)
	n.routes.learn(0, 1, 5)
	n.unlearn(0, 1, 0)
	n.unlearn(0, 1, 2)
	n.wantLeader(t, 1)
	n.routes.learn(0, 0, 5)
	n.unlearn(0, 1, 2) // nothing known: the hint is welcome
	n.wantLeader(t, 2)
	n.unlearn(0, 2, 1) // whether this node leads, the worker says
	n.wantLeader(t, 0)
}
