package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// world is everything that exists in a run.
type world struct {
	cfg    Config
	rng    *rand.Rand
	now    time.Duration
	agenda agenda
	seq    uint64
	events int
	trace  uint64
	stats  Stats

	ring  *ring.Ring
	nodes []*node // all that ever were, by index
	net   network
	// layerBytes bounds the layers that nodes' engines keep in memory.
	layerBytes int
	history    history
	calm       bool // no new faults any more
	calmAt     time.Duration
	closed     bool // the clients have stopped
	judged     bool // all is over

	txns         fates
	load         load
	locks        locks
	coordKill    float64 // how often a coordinator's node crashes after some send of it
	clientLeaves float64 // how often a client does not wait for the answer
	onProbe      func(*node, Point)
	onApplied    func(*node, Point) // the last commit of the node's engine was about this point

	violation error // the first
}

const (
	clusterID   = "simulated"
	partSeed    = 0x9E3779B97F4A7C15
	traceOffset = 14695981039346656037
	tracePrime  = 1099511628211
)

func newWorld(cfg Config) *world {
	w := &world{rng: rand.New(rand.NewPCG(cfg.Seed, partSeed)), trace: traceOffset}
	if cfg.Nodes == 0 {
		cfg.Nodes = 3 + w.rng.IntN(3)
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = 2 << w.rng.IntN(3)
	}
	if cfg.Clients == 0 {
		cfg.Clients = 5
	}
	if cfg.Keys == 0 {
		cfg.Keys = 6
	}
	if cfg.Chaos == 0 {
		cfg.Chaos = 12 * time.Second
	}
	if cfg.Calm == 0 {
		cfg.Calm = 120 * time.Second
	}
	if cfg.TxnClients == 0 {
		cfg.TxnClients = 8
	}
	if cfg.TxnClients < 0 {
		cfg.LockClients = 0 // what they share with transactions is not there
	}
	w.cfg = cfg
	w.locks = newLocks(w)
	w.txns, w.load, w.coordKill, w.clientLeaves = newFates(w), newLoad(w), 0.03, 0.01
	w.net = newNetwork(w)
	w.layerBytes = w.drawLayerBytes()
	return w
}

// form starts the first node as a cluster of one, and lets others join by and by.
func (w *world) form() {
	r, err := ring.New(w.cfg.Partitions)
	if err != nil {
		w.violate("ring: %w", err)
		return
	}
	w.ring = r
	w.locks.form()
	first := w.addNode("a", true)
	state, err := meta.Form(clusterID, w.cfg.Partitions, 3, first.admitted())
	if err == nil {
		err = first.form(state)
	}
	if err != nil {
		w.violate("form: %w", err)
		return
	}
	w.history.initial(storage.MetaPartition, meta.Key, state)
	for i := 1; i < 3; i++ {
		w.after(w.between(0, 2*time.Second), func() { w.join(nodeName(i)) })
	}
}

func nodeName(i int) string { return string(rune('a' + i)) }

// violate records a broken promise; only the first counts.
func (w *world) violate(format string, args ...any) {
	if w.violation == nil {
		w.violation = fmt.Errorf(format, args...)
		w.note("violation", 0, 0)
	}
}

// note takes an event into the trace.
func (w *world) note(what string, a, b uint64) {
	mix := func(v uint64) {
		for range 8 {
			w.trace = (w.trace ^ v&0xFF) * tracePrime
			v >>= 8
		}
	}
	mix(uint64(w.now))
	for i := range len(what) {
		w.trace = (w.trace ^ uint64(what[i])) * tracePrime
	}
	mix(a)
	mix(b)
	if w.cfg.Log != nil {
		fmt.Fprintf(w.cfg.Log, "%v %s %d %d\n", w.now, what, a, b)
	}
}

// byID is the newest node with that number, nil if none has it.
func (w *world) byID(id ring.NodeID) *node {
	for i := len(w.nodes) - 1; i >= 0; i-- {
		if w.nodes[i].id == id && id != 0 {
			return w.nodes[i]
		}
	}
	return nil
}

// up are the nodes that run, paused ones included.
func (w *world) up() []*node {
	var out []*node
	for _, n := range w.nodes {
		if n.worker != nil {
			out = append(out, n)
		}
	}
	return out
}

// newest is the latest description of the cluster that any running node has applied.
func (w *world) newest() *meta.State {
	var s *meta.State
	for _, n := range w.up() {
		if t := n.worker.State(); t != nil && (s == nil || t.Epoch > s.Epoch) {
			s = t
		}
	}
	return s
}
