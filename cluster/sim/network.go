package sim

import (
	"bytes"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// network carries messages between nodes: late, twice, out of order, or not at all.
type network struct {
	w       *world
	blocked map[link]bool
	loss    float64
	double  float64
	slow    time.Duration // how late a message is at the most, most of the time
	ghosts  float64       // how many commands of transactions come once more, much later
}

// link is one direction between two nodes, by index.
type link struct{ from, to int }

func newNetwork(w *world) network {
	return network{w: w, blocked: make(map[link]bool), loss: 0.01, double: 0.01, slow: 8 * time.Millisecond, ghosts: ghostly}
}

// pass says whether a message gets through, and how late.
func (n *network) pass(from, to *node) (time.Duration, bool) {
	w := n.w
	d := w.between(200*time.Microsecond, n.slow)
	if w.chance(0.02) {
		d += w.between(0, 10*n.slow)
	}
	ok := from == to || !n.blocked[link{from.index, to.index}] && !w.chance(n.loss)
	return d, ok
}

// calm makes the network a good one.
func (n *network) calm() {
	clear(n.blocked)
	n.loss, n.double, n.slow, n.ghosts = 0, 0, 4*time.Millisecond, 0
}

// outbox is where one life of a node's worker puts what it wants sent.
type outbox struct {
	n     *node
	life  int
	queue []parcel
}

// parcel is an encoded raft message on its way.
type parcel struct {
	to   ring.NodeID
	body []byte
	kind raftpb.MessageType
}

var _ worker.Outbox = (*outbox)(nil)

// Send is as worker.Outbox says. The message is encoded at once, as the transport does: it shares memory with raft.
func (o *outbox) Send(to ring.NodeID, group ring.PartitionID, m *raftpb.Message) {
	o.queue = append(o.queue, parcel{to, wire.AppendRaft(nil, uint16(group), m), m.GetType()})
	if m.GetType() == raftpb.MsgVoteResp && !m.GetReject() && o.n.w.chance(voteCrash) {
		o.n.crashSoon()
	}
}

// voteCrash is how often a node crashes right after it has voted, to be back before the election is over.
const voteCrash = 0.05

func (n *node) crashSoon() {
	w, life := n.w, n.life
	w.after(w.between(0, time.Millisecond), func() {
		if n.life == life && !w.calm {
			n.crash(true)
			w.after(w.between(0, 10*time.Millisecond), n.start)
		}
	})
}

// Flush is as worker.Outbox says.
func (o *outbox) Flush() {
	for _, p := range o.queue {
		o.n.w.ship(o.n, p)
	}
	o.queue = o.queue[:0]
	o.n.interrupt()
}

// ship puts a parcel on its way, some of them twice.
func (w *world) ship(from *node, p parcel) {
	to := w.byID(p.to)
	if to == nil {
		return
	}
	copies := 1
	if w.chance(w.net.double) {
		copies = 2
	}
	for range copies {
		if d, ok := w.net.pass(from, to); ok {
			w.after(d, func() { w.deliver(to, p) })
		}
	}
}

func (w *world) deliver(to *node, p parcel) {
	if to.worker == nil || len(to.inbox) >= maxInbox {
		return
	}
	group, m, err := wire.DecodeRaft(p.body)
	if err != nil {
		w.violate("decode a message of type %v: %w", p.kind, err)
		return
	}
	w.note("message", uint64(to.index)<<32|uint64(group), uint64(p.kind)<<48|m.GetTerm()<<32|m.GetIndex())
	to.arrive(func(wk *worker.Worker) { wk.Deliver(ring.PartitionID(group), m) })
}

// SendSnapshot is as worker.Outbox says: the state is read at once and travels slowly. Its view stays open meanwhile, and
// must say the same in the end: a node reads from it for as long as the transfer takes.
func (o *outbox) SendSnapshot(s worker.Snapshot) {
	w, from, life := o.n.w, o.n, o.life
	var data buffer
	err := storage.WriteSnapshot(s.View, s.Group, &data)
	body := wire.AppendRaft(nil, uint16(s.Group), s.Message)
	target := replica.ID(s.Message.GetTo())
	report := func(ok bool) {
		if from.life == life && from.worker != nil {
			from.arrive(func(wk *worker.Worker) { wk.SnapshotSent(s.Group, target, ok) })
		}
	}
	if err != nil {
		s.View.Close()
		w.violate("node %s: write snapshot of partition %d: %w", from.name, s.Group, err)
		return
	}
	read := data
	if change := w.cfg.Sabotage.Snapshot; change != nil {
		data = change(w.rng, data)
	}
	w.after(w.between(5*time.Millisecond, 200*time.Millisecond), func() {
		to := w.byID(target.Node())
		if from.life == life {
			from.readAgain(s, read)
		}
		s.View.Close()
		d, there := w.net.pass(from, from)
		if to != nil {
			d, there = w.net.pass(from, to)
		}
		there = there && to != nil && to.worker != nil && from.life == life
		if there {
			w.stats.Sent++
			to.receive(s.Group, body, data)
			_, there = w.net.pass(to, from) // or the answer is lost
		}
		w.after(d, func() { report(there) })
	})
}

// readAgain compares what a snapshot's view says with what it said when it was opened.
func (n *node) readAgain(s worker.Snapshot, first buffer) {
	var again buffer
	if err := storage.WriteSnapshot(s.View, s.Group, &again); err != nil {
		n.w.violate("node %s: read the view of partition %d again: %w", n.name, s.Group, err)
	} else if !bytes.Equal(first, again) {
		n.w.violate("node %s: the view of partition %d has changed while it was open", n.name, s.Group)
	}
}

// buffer collects what is written.
type buffer []byte

// Write is as io.Writer says.
func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
