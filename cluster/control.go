package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

const (
	controlEvery  = time.Second
	controlBound  = 5 * time.Second // for one change of the cluster's description
	strayEvery    = 5               // rounds of control
	confirmEvery  = 30              // rounds of control
	announceEvery = 2 * time.Second
	announcePause = 10 * time.Millisecond // gathers changes that come together
)

// control does what comes up now and then: join, keep our entry in the cluster's description
// true, clear away replicas without a place, and, on the node that leads the metadata group, notice who is gone.
func (n *Node) control() {
	if !n.isMember() {
		if err := n.join(n.ctx); err != nil {
			n.fail(err)
		}
	}
	c := controller{n: n, goneSince: make(map[ring.NodeID]time.Time)}
	ticker := time.NewTicker(controlEvery)
	defer ticker.Stop()
	for round := 0; ; round++ {
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		}
		if n.isMember() {
			c.round(round)
		}
	}
}

// controller is control's memory. Only its goroutine uses it.
type controller struct {
	n         *Node
	goneSince map[ring.NodeID]time.Time
	announced bool // our admission was confirmed since the start

	leaderless int  // rounds in a row in which some partition had no leader
	warned     bool // and that was said
}

func (c *controller) round(round int) {
	s := c.n.routes.state.Load()
	if s == nil {
		c.n.findMembers()
		return
	}
	if round%confirmEvery == 0 {
		c.announced = false
	}
	c.keepEntry(s)
	c.watchLeaders(s)
	if c.n.routes.leader(storage.MetaPartition) == c.n.self() {
		c.watchOthers(s)
	} else {
		clear(c.goneSince) // somebody else counts now
	}
	if round%strayEvery == 0 {
		c.clearStrays()
	}
	if err := c.n.gossip.UpdateMeta(); err != nil {
		c.n.logger.Warn("gossip", "err", err)
	}
}

// keepEntry tells the cluster our addresses if they changed while we were away, and that we hold what we were given.
func (c *controller) keepEntry(s *meta.State) {
	n := c.n
	me, ok := s.Member(n.identity.Load().UUID)
	if !ok {
		return
	}
	if me.State == meta.Left {
		n.fail(errors.New("this node was removed from the cluster or replaced; empty its data directory to let it join as a new node"))
		return
	}
	if !c.announced && n.Incarnation() != 0 { // else a twin's address could be lost
		ctx, cancel := context.WithTimeout(n.ctx, controlBound)
		defer cancel()
		_, err := n.admit(ctx, n.admission())
		switch {
		case final(err):
			n.fail(err)
			return
		case err != nil:
			n.logger.Debug("confirm membership", "err", err)
		}
		c.announced = err == nil
	}
	if me.State == meta.Joining && n.filled(s) {
		n.logger.Info("all replicas are filled", "node", me.Name)
		c.change("activate", func(s *meta.State) (*meta.State, error) { return s.Activate(n.self()) })
	}
}

// filled reports whether this node holds every replica that it was given, as a voter.
func (n *Node) filled(s *meta.State) bool {
	full := false
	err := n.loop.ask(n.ctx, func(w *worker.Worker) { full = w.Filled(s) })
	return err == nil && full
}

func (c *controller) change(what string, fn func(*meta.State) (*meta.State, error)) {
	ctx, cancel := context.WithTimeout(c.n.ctx, controlBound)
	defer cancel()
	if _, err := c.n.changeState(ctx, fn); err != nil && c.n.ctx.Err() == nil {
		c.n.logger.Warn("change cluster state", "change", what, "err", err)
	}
}

// leaderlessRounds is how long an election may take before it is worth a word.
const leaderlessRounds = 5

// watchLeaders says when partitions have had no leader for a while, which means no majority, and when that is over.
func (c *controller) watchLeaders(s *meta.State) {
	missing := c.n.leaderless(s)
	switch {
	case missing == 0 && c.warned:
		c.n.logger.Info("all partitions have a leader again")
		c.leaderless, c.warned = 0, false
	case missing == 0:
		c.leaderless = 0
	default:
		if c.leaderless++; c.leaderless >= leaderlessRounds && !c.warned {
			c.warned = true
			c.n.logger.Warn("partitions without a leader: too few of their nodes are reachable; they serve only stale reads",
				"partitions", missing, "of", s.Partitions)
		}
	}
}

// leaderless is how many partitions have no leader that this node knows of.
func (n *Node) leaderless(s *meta.State) int {
	missing := 0
	for p := range s.Placement {
		if n.routes.leader(ring.PartitionID(p)) == 0 {
			missing++
		}
	}
	return missing
}

// watchOthers places the replicas of nodes that are gone for too long elsewhere, and takes nodes that are back up again.
func (c *controller) watchOthers(s *meta.State) {
	for _, m := range s.Present() {
		if c.n.alive(m.ID) {
			delete(c.goneSince, m.ID)
			if m.Down {
				c.setDown(m, false)
			}
			continue
		}
		since, known := c.goneSince[m.ID]
		if !known {
			c.goneSince[m.ID] = time.Now()
			continue
		}
		if !m.Down && time.Since(since) > c.n.cfg.DeadAfter {
			c.setDown(m, true)
		}
	}
}

func (c *controller) setDown(m meta.Node, down bool) {
	c.n.logger.Info("placing replicas anew", "node", m.Name, "down", down)
	c.change("place replicas anew", func(s *meta.State) (*meta.State, error) { return s.SetDown(m.ID, down) })
}

// clearStrays removes replicas that have no place any more, each only after the leader of its group has confirmed that
// the group does not count on it.
func (c *controller) clearStrays() {
	var strays []worker.Stray
	if err := c.n.loop.ask(c.n.ctx, func(w *worker.Worker) { strays = w.Strays() }); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.n.ctx, controlBound) // for all of them: the rest waits for the next round
	defer cancel()
	for _, s := range strays {
		member, err := c.n.isReplica(ctx, s.Partition, s.Replica)
		if err != nil {
			c.n.logger.Debug("ask for a replica's membership", "partition", s.Partition, "err", err)
			continue
		}
		if !member {
			c.n.loop.do(func(w *worker.Worker) {
				if err := w.Remove(s.Partition, s.Replica); err != nil {
					c.n.fail(err)
				}
			})
		}
	}
}

// isReplica asks the leader of a group whether a replica is or will be one of its members.
func (n *Node) isReplica(ctx context.Context, p ring.PartitionID, id replica.ID) (member bool, err error) {
	err = n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) error {
		var resp []byte
		var err error
		if to == n.self() {
			resp, err = n.handleMember(ctx, p, binary.BigEndian.AppendUint64(nil, uint64(id)))
		} else {
			body := binary.BigEndian.AppendUint16(nil, uint16(p))
			resp, err = n.peers.Call(ctx, to, methodMember, binary.BigEndian.AppendUint64(body, uint64(id)))
			if err != nil {
				err = decodeError(p, err)
			}
		}
		if err == nil && len(resp) != 1 {
			err = errMalformed
		}
		if err == nil {
			member = resp[0] == 1
		}
		return err
	})
	return member, err
}

// announce tells the others which groups this node leads, whenever that changed and now and then.
func (n *Node) announce() {
	ticker := time.NewTicker(announceEvery)
	defer ticker.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-ticker.C:
		case <-n.changed:
			select {
			case <-n.ctx.Done():
				return
			case <-time.After(announcePause):
			}
		}
		leading := n.leading()
		for _, p := range n.peers.Peers() {
			if len(leading) > 0 {
				n.peers.SendLeaders(p.ID, leading)
			}
		}
	}
}

// leading are the groups that this node leads, as its worker knows; the routes learn them on the way.
func (n *Node) leading() []wire.Leader {
	if !n.isMember() {
		return nil
	}
	var out []wire.Leader
	err := n.loop.ask(n.ctx, func(w *worker.Worker) {
		w.Led(func(p ring.PartitionID, term uint64) {
			out = append(out, wire.Leader{Partition: uint16(p), Term: term})
		})
	})
	if err != nil {
		return nil
	}
	for _, l := range out {
		n.routes.learn(ring.PartitionID(l.Partition), n.self(), l.Term)
	}
	return out
}

// onPeer is the transport telling that a stream to a node is up or gone.
func (n *Node) onPeer(id ring.NodeID, connected bool) {
	if connected {
		n.twins.forget(id)
		n.loop.do(func(w *worker.Worker) { w.NodeBack(id) })
		n.poke()
		return
	}
	n.loop.do(func(w *worker.Worker) { w.NodeGone(id) })
}
