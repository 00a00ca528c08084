package cluster

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
)

// What the worker tells the node, and has it send.

// onState is the worker telling what the cluster looks like now.
func (n *Node) onState(s *meta.State) {
	n.routes.setState(s)
	n.dialMembers(s)
	n.checkLife(s)
	n.poke()
}

func (n *Node) dialMembers(s *meta.State) {
	addrs := make(map[ring.NodeID]string)
	for _, m := range s.Present() {
		addrs[m.ID] = m.Peer
	}
	n.peers.SetPeers(addrs)
}

// onLead is the worker telling who leads a group.
func (n *Node) onLead(p ring.PartitionID, leader replica.ID, term uint64) {
	n.routes.learn(p, leader.Node(), term)
	if leader.Node() == n.self() {
		n.poke()
	}
}

func (n *Node) poke() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// outbox sends what the worker wants sent.
type outbox struct{ n *Node }

func (o outbox) Send(to ring.NodeID, group ring.PartitionID, m *raftpb.Message) {
	o.n.peers.QueueRaft(to, uint16(group), m)
}

func (o outbox) Flush() { o.n.peers.Flush() }

func (o outbox) SendSnapshot(s worker.Snapshot) { o.n.sendSnapshot(s) }

var _ worker.Outbox = outbox{}
