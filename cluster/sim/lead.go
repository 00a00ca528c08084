package sim

import (
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

func (n *node) onLead(p ring.PartitionID, leader replica.ID, term uint64) {
	n.leaders[p] = leader.Node()
	if leader.Node() == n.id {
		n.w.stats.Leaders++
		n.w.note("leads", uint64(n.index)<<32|uint64(p), term)
		n.announce(p)
		if n.w.cfg.Sabotage.ForgetLines {
			n.forgetLine(p)
		}
	}
}

// announce tells the others that this node leads a group; what arrives late is a wrong hint, which must do no harm.
func (n *node) announce(p ring.PartitionID) {
	for _, o := range n.w.up() {
		if d, ok := n.w.net.pass(n, o); ok && o != n {
			n.w.after(d, func() {
				if o.worker != nil {
					o.leaders[p] = n.id
				}
			})
		}
	}
}
