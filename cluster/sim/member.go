package sim

import (
	"errors"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// errLater is returned when a change of the cluster's description did not come about, as far as its author knows.
var errLater = errors.New("try again later")

// operators are the client number under which nodes change the cluster's description.
const operators = 100

// change changes the cluster's description by compare-and-set through a node, as package cluster does.
func (w *world) change(gate *node, fn func(*meta.State) (*meta.State, error), done func(error)) {
	c := &client{w: w, id: operators, seen: make(map[string]storage.Version)}
	c.do(gate, storage.MetaPartition, meta.Key, input{kind: get}, func(rep reply) {
		if rep.outcome != answered || !rep.found {
			done(errLater)
			return
		}
		s, err := meta.Decode(rep.item.Value)
		if err == nil {
			s, err = fn(s)
		}
		if err != nil {
			if errors.Is(err, meta.ErrNoChange) {
				err = nil
			}
			done(err)
			return
		}
		w.replaceState(c, gate, s, rep.item.Version, done)
	})
}

func (w *world) replaceState(c *client, gate *node, s *meta.State, old storage.Version, done func(error)) {
	b, err := s.Encode()
	if err != nil {
		done(err)
		return
	}
	in := input{kind: put, value: string(b), demand: ifVersion, version: old}
	c.do(gate, storage.MetaPartition, meta.Key, in, func(rep reply) {
		if rep.outcome != answered || rep.result.Status != storage.StatusReplaced {
			done(errLater)
			return
		}
		w.note("epoch", uint64(s.Epoch), 0)
		done(nil)
	})
}

// join brings a new machine that asks to be admitted until it is.
func (w *world) join(name string) {
	n := w.addNode(name, false)
	n.askAdmission()
}

func (n *node) askAdmission() {
	w := n.w
	var me meta.Node
	admit := func(s *meta.State) (next *meta.State, err error) {
		next, me, err = s.Admit(n.admission(), w.alive)
		return next, err
	}
	w.change(w.anyNode(), admit, func(err error) {
		if err != nil {
			w.after(w.between(50*time.Millisecond, 500*time.Millisecond), n.askAdmission)
			return
		}
		n.id = me.ID
		w.stats.Joins++
		n.start()
	})
}

// alive is what gossip says of a member.
func (w *world) alive(id ring.NodeID) bool {
	n := w.byID(id)
	return n != nil && n.worker != nil
}

// lookAround is what a node does now and then for as long as this process lives.
func (n *node) lookAround(life int) {
	n.w.after(n.w.between(200*time.Millisecond, 600*time.Millisecond), func() {
		if n.life != life || n.worker == nil {
			return
		}
		if s := n.worker.State(); s != nil && !n.paused {
			n.keepEntry(s)
			n.clearStrays()
		}
		n.lookAround(life)
	})
}

// keepEntry tells the cluster that this node holds what it was given.
func (n *node) keepEntry(s *meta.State) {
	me, ok := s.Node(n.id)
	if ok && me.State == meta.Left {
		n.w.violate("node %s runs although it left", n.name)
	}
	if ok && me.State == meta.Joining && n.worker.Filled(s) {
		n.w.change(n, func(s *meta.State) (*meta.State, error) { return s.Activate(n.id) }, func(error) {})
	}
}

// clearStrays removes the replicas that their groups do not count on any more.
func (n *node) clearStrays() {
	life := n.life
	for _, s := range n.worker.Strays() {
		n.w.send(n, &request{ask: askMember, group: s.Partition, member: s.Replica, done: func(rep reply) {
			if rep.outcome != answered || rep.member || n.life != life {
				return
			}
			n.arrive(func(wk *worker.Worker) { n.remove(wk, s) })
		}})
	}
}

func (n *node) remove(wk *worker.Worker, s worker.Stray) {
	n.w.stats.Removed++
	n.w.note("remove", uint64(n.index)<<32|uint64(s.Partition), uint64(s.Replica))
	if err := wk.Remove(s.Partition, s.Replica); err != nil && !n.fuse.blown {
		n.w.violate("node %s: remove replica: %w", n.name, err)
	}
}

// setDown places a node's replicas elsewhere, or takes it back, through any node.
func (w *world) setDown(id ring.NodeID, down bool) {
	w.change(w.anyNode(), func(s *meta.State) (*meta.State, error) { return s.SetDown(id, down) }, func(error) {})
}
