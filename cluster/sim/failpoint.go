package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// Failpoint is one experiment: a quiet cluster, one transaction over three groups led by different nodes (one group where
// the protocol is OnePhase), and a node that loses its power at one point of it.
type Failpoint struct {
	Seed     uint64
	Protocol storage.Protocol
	AtHome   bool // the coordinator runs on the node that leads home, else on a node that leads none of the groups
	Point    Point
	Restart  bool // the node comes back 3 s later, else never
	Sabotage Sabotage
	index    int // of the point among all that the transaction comes to
}

// Ending is what became of an experiment.
type Ending struct {
	Told   string        // to the client: committed, aborted, or unknown
	Became string        // committed or aborted, in all groups
	By     string        // who saw to the end in every group: the coordinator, a recoverer's node, or messages on their way
	Free   time.Duration // from the loss of power until no group held a lock
	Err    error         // nil if every promise was kept
}

const (
	failRestart = 3 * time.Second
	failBound   = 5 * time.Second // within which everything is decided and free
	restBound   = 20 * time.Second
	arrived     = 200 * time.Millisecond // what was on its way has come
	failStep    = 10 * time.Millisecond
	failTimeout = 2 * time.Second // of the transaction
)

// All lists every point that the transaction comes to when nothing fails, each once, in that order.
func (f Failpoint) All() ([]Failpoint, error) {
	defer replaceRandom(f.Seed)()
	f.index = -1
	x := newExperiment(f)
	x.play()
	if x.w.violation != nil {
		return nil, x.w.violation
	}
	var out []Failpoint
	for i, p := range x.points {
		first := slices.Index(x.points, p) == i
		if p.Actor != 0 && first {
			f.Point, f.index = p, i
			out = append(out, f)
		}
	}
	return out, nil
}

// Run does the experiment. As sim.Run, it must not run beside others of the process.
func (f Failpoint) Run() Ending {
	defer replaceRandom(f.Seed)()
	x := newExperiment(f)
	x.play()
	end := x.ending
	if x.w.violation != nil {
		end.Err = fmt.Errorf("%v, restart %t: %w", f.Point, f.Restart, x.w.violation)
	}
	return end
}

// experiment is one run.
type experiment struct {
	w      *world
	point  Failpoint
	points []Point // that the transaction came to; the zero Point is a commit of an engine about something else
	nodes  []*node // beside points: where
	groups []ring.PartitionID
	keys   []string
	gate   *node
	killed time.Duration // when; 0: not yet
	told   telling
	heard  bool
	ending Ending
}

func newExperiment(f Failpoint) *experiment {
	x := &experiment{w: newWorld(Config{Seed: f.Seed, Nodes: 4, Partitions: 8, Sabotage: f.Sabotage}), point: f}
	x.w.calm, x.w.coordKill, x.w.clientLeaves = true, 0, 0
	x.w.net.calm()
	return x
}

func (x *experiment) play() {
	w := x.w
	w.form()
	w.after(time.Second, func() { w.join("d") })
	for w.violation == nil && (len(w.up()) < 4 || w.unsettled() != nil) {
		if w.now > time.Minute {
			w.violate("the cluster does not settle: %w", w.unsettled())
		}
		w.run(w.now + settleStep)
	}
	if w.violation == nil {
		x.choose()
	}
	if w.violation == nil {
		x.transact()
		x.wait()
	}
	if w.violation == nil && x.point.index >= 0 {
		x.judge()
	}
	if w.violation == nil && x.point.Restart {
		x.rest()
	}
}

// rest waits until the node that came back has its place again and all is as if nothing had ever happened: no YES, no
// lock, nothing to be swept (I13).
func (x *experiment) rest() {
	w := x.w
	w.run(max(w.now, x.killed+failRestart))
	for end := w.now + restBound; w.violation == nil; {
		err := w.unsettled()
		if err == nil {
			return
		}
		if w.now > end {
			w.violate("not at rest %v after the node came back: %w", restBound, err)
		}
		w.run(w.now + settleStep)
	}
}

// choose picks three groups that different nodes lead, and the coordinator.
func (x *experiment) choose() {
	w := x.w
	led := make(map[*node]bool)
	n := 3
	if x.point.Protocol == storage.OnePhase {
		n = 1
	}
	for p := range ring.PartitionID(w.cfg.Partitions) {
		if l, _ := w.leaderOf(p); !led[l] && len(x.groups) < n {
			led[l] = true
			x.groups = append(x.groups, p)
			x.keys = append(x.keys, w.keyIn(p))
		}
	}
	home, _ := w.leaderOf(x.groups[0])
	for _, o := range w.up() {
		if x.gate == nil && (x.point.AtHome && o == home || !x.point.AtHome && !led[o]) {
			x.gate = o
		}
	}
	if len(x.groups) < n || x.gate == nil {
		w.violate("no three groups with different leaders, or no node beside them")
	}
}

// keyIn is a key of the partition.
func (w *world) keyIn(p ring.PartitionID) string {
	for i := 0; ; i++ {
		if k := fmt.Sprintf("fail/%d", i); w.ring.Partition([]byte(k)) == p {
			return k
		}
	}
}

// transact begins the transaction and lets the power fail at the point.
func (x *experiment) transact() {
	w := x.w
	req := x.request("one", x.point.Protocol)
	for _, k := range x.keys {
		req.If = append(req.If, test(k, storage.TestAbsent))
	}
	w.onProbe = func(n *node, p Point) {
		at := len(x.points)
		x.points, x.nodes = append(x.points, p), append(x.nodes, n)
		if at == x.point.index {
			x.kill(n)
		}
	}
	w.onApplied = func(n *node, p Point) {
		for i := len(x.points) - 1; i >= 0; i-- {
			if x.nodes[i] == n && (x.points[i] == Point{} || x.points[i].Step == StepApply) {
				x.points[i] = p
				return
			}
		}
	}
	x.gate.side.transact(req, func(o *txn.Outcome, err error) {
		x.heard = true
		switch {
		case o != nil:
			x.told = toldBy(o.Decision)
		case !errors.Is(err, errCut) && !errors.Is(err, txn.ErrUnknownOutcome):
			x.told = tellAborted
		}
	})
}

func (x *experiment) request(value string, p storage.Protocol) *txn.Request {
	req := &txn.Request{Protocol: p, Timeout: failTimeout}
	for _, k := range x.keys {
		req.Then = append(req.Then, putOf(k, []byte(value)))
	}
	return req
}

// kill takes the power from a node: at once, amid whatever it does.
func (x *experiment) kill(n *node) {
	x.w.onProbe, x.w.onApplied = nil, nil
	x.killed = x.w.now
	if x.point.Restart {
		x.w.after(failRestart, n.start)
	}
	if n.busy {
		panic(powerLoss{})
	}
	n.crash(true)
}

// wait lets the world go on until what was sent has arrived, the client has heard or never will, and the groups are free.
func (x *experiment) wait() {
	w := x.w
	begun := w.now
	for w.violation == nil {
		w.run(w.now + failStep)
		since := w.now - cmp.Or(x.killed, begun)
		switch {
		case !x.heard || !x.free():
			x.ending.Free = since
		case since >= arrived:
			return
		}
		if since > failBound {
			w.violate("after %v the client has heard: %t, all groups are free: %t", since, x.heard, x.free())
		}
	}
}

// free reports whether every group has a leader and no lock.
func (x *experiment) free() bool {
	for _, p := range x.groups {
		if part, err := x.w.partition(p); err != nil || part == nil || part.Locks().Len() > 0 {
			return false
		}
	}
	return true
}

// judge compares what the client was told, what the groups hold and what a status query says; then the keys must be
// usable.
func (x *experiment) judge() {
	w := x.w
	if x.killed == 0 {
		w.violate("the transaction never came to the point")
		return
	}
	became := x.became()
	x.ending.Told, x.ending.Became = x.told.String(), became.String()
	if x.told != tellNothing && x.told != became {
		w.violate("told %v, but it is %v", x.told, became)
	}
	f := x.fate()
	if f != nil {
		x.askStatus(f, became)
	}
	x.again()
	if f != nil {
		x.ending.By = cmp.Or(f.freed, "what was sent")
	}
}

func (x *experiment) fate() *fate {
	if len(x.w.txns.all) == 0 {
		return nil
	}
	return x.w.txns.all[0]
}

// became looks whether all groups did it or none.
func (x *experiment) became() telling {
	done := 0
	for i, p := range x.groups {
		leader, _ := x.w.leaderOf(p)
		v := leader.engine.View()
		item, err := storage.Get(v, p, []byte(x.keys[i]))
		v.Close()
		if err == nil && string(item.Value) == "one" {
			done++
		}
	}
	switch done {
	case 0:
		return tellAborted
	case len(x.groups):
		return tellCommitted
	}
	x.w.violate("%d of %d groups did it", done, len(x.groups))
	return tellNothing
}

// other is a node that runs and knows its incarnation.
func (x *experiment) other() *node {
	for _, n := range x.w.up() {
		if n.side.ledger != nil {
			return n
		}
	}
	x.w.violate("no node serves transactions")
	return nil
}

func (x *experiment) askStatus(f *fate, became telling) {
	n := x.other()
	if n == nil {
		return
	}
	said := txn.Status(99)
	n.side.status(f.name, func(st txn.Status) { said = st })
	for end := x.w.now + defaultTimeout; said == 99 && x.w.now < end && x.w.violation == nil; {
		x.w.run(x.w.now + failStep)
	}
	if want := map[telling]txn.Status{tellCommitted: txn.StatusCommitted, tellAborted: txn.StatusAborted}[became]; said != want {
		x.w.violate("the status query says %d, it became %v", said, became)
	}
}

// again runs another transaction on the same keys.
func (x *experiment) again() {
	n := x.other()
	if n == nil {
		return
	}
	var outcome *txn.Outcome
	var err error
	over := false
	n.side.transact(x.request("two", storage.Auto), func(o *txn.Outcome, e error) { outcome, err, over = o, e, true })
	for end := x.w.now + defaultTimeout; !over && x.w.now < end && x.w.violation == nil; {
		x.w.run(x.w.now + failStep)
	}
	if outcome == nil || outcome.Decision != storage.DecideThen {
		x.w.violate("another transaction on the same keys does not commit: %+v, %w", outcome, err)
	}
}
