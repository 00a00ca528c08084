package cluster

import (
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// spaceEvery is how often the disk is looked at. At full speed a node writes some ten MiB in that time.
const spaceEvery = 200 * time.Millisecond

// watchSpace looks after the disk, whatever else is going on, and tells the worker how full it and those of the other
// nodes are.
func (n *Node) watchSpace() {
	ticker := time.NewTicker(spaceEvery)
	defer ticker.Stop()
	told := worker.Roomy
	for {
		if err := n.checkDisk(); err != nil {
			n.fail(err)
			return
		}
		crowded := n.findCrowded()
		if space := n.disk.space(); space != told || !slices.Equal(crowded, n.crowdedNodes()) {
			told = space
			n.crowded.Store(&crowded)
			n.loop.do(func(w *worker.Worker) { w.SetSpace(space, crowded) })
		}
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// checkDisk looks at the disk and tells the others when it fills up or there is room again.
func (n *Node) checkDisk() error {
	was := n.disk.space()
	if err := n.disk.look(); err != nil {
		return err
	}
	now := n.disk.space()
	if now == was {
		return nil
	}
	n.logger.Warn("disk space changed: "+consequence(now), "space", now.String(), "was", was.String(),
		"free_bytes", n.disk.free.Load(), "reserve_bytes", n.disk.least)
	return n.gossip.UpdateMeta()
}

func consequence(s worker.Space) string {
	switch s {
	case worker.Low:
		return "giving leaderships away; writes are refused where too few replicas have room"
	case worker.Tight:
		return "taking reads and deletes only; replicas here fall behind"
	case worker.Full:
		return "taking reads only"
	}
	return "there is room for everything"
}

// findCrowded lists the nodes whose disks are nearly full, in order, as far as this node has heard.
func (n *Node) findCrowded() []ring.NodeID {
	var out []ring.NodeID
	self := n.self()
	if self != 0 && n.disk.space() > worker.Roomy {
		out = append(out, self)
	}
	for _, m := range n.gossip.Members() {
		if m.Crowded && m.Alive && m.Node != 0 && m.Node != self {
			out = append(out, m.Node)
		}
	}
	slices.Sort(out)
	return out
}

func (n *Node) crowdedNodes() []ring.NodeID {
	if list := n.crowded.Load(); list != nil {
		return *list
	}
	return nil
}

// roomFor returns ErrDiskFull for a command that a group led here has no room for, or replica.ErrDropped if only this
// node has none: then another is about to lead. The metadata group is small, and needed to mend anything.
func (n *Node) roomFor(p ring.PartitionID, cmd []byte) error {
	if p == storage.MetaPartition {
		return nil
	}
	space := n.disk.space()
	if space < worker.Full && !storage.NeedsSpace(cmd) {
		return nil
	}
	switch {
	case n.outOfRoom(p):
		return ErrDiskFull
	case space >= worker.Tight:
		return replica.ErrDropped
	}
	return nil
}

// outOfRoom reports whether too few of a partition's replicas are on nodes with room: what is written then could soon
// not be committed any more. A node that is the only one short of space goes on leading what others will take over.
func (n *Node) outOfRoom(p ring.PartitionID) bool {
	crowded := n.crowdedNodes()
	if len(crowded) == 0 {
		return false
	}
	voters := n.routes.candidates(p)
	room := 0
	for _, id := range voters {
		if !slices.Contains(crowded, id) {
			room++
		}
	}
	return room <= len(voters)/2
}
