package sim

import (
	"time"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// What a node does beside its worker's turns, amid them too: it gets the right to read, and vouches for others' leaders.

// beside is the part of a process that does not wait for the worker.
type beside struct {
	asker   *readindex.Reads
	witness *readindex.Witness
	shadows map[ring.PartitionID]*storage.LockShadow
	ticks   bool         // the asker's clock runs
	soon    []*interlude // that are planned
	frozen  []func()     // what came while the process stood still
}

// interlude is something that happens beside the turns, at the latest at the time that it is planned for.
type interlude struct {
	do   func()
	done bool
}

func newBeside(n *node) beside {
	return beside{
		asker: readindex.New(), witness: readindex.NewWitness(uint64(n.index)<<32 | uint64(n.life)),
		shadows: make(map[ring.PartitionID]*storage.LockShadow),
	}
}

// readTick is how often a node looks at what waits for answers.
const readTick = 20 * time.Millisecond

// aside has the process do something beside its worker, d from now or earlier, amid a turn. It does not if it ends before.
func (n *node) aside(d time.Duration, do func()) {
	if n.worker == nil {
		return
	}
	life, i := n.life, &interlude{do: do}
	n.soon = append(n.soon, i)
	n.w.after(d, func() {
		if n.life == life && n.worker != nil {
			n.perform(i)
		}
	})
}

func (n *node) perform(i *interlude) {
	switch {
	case i.done:
	case n.paused:
		i.done = true
		n.frozen = append(n.frozen, i.do)
	default:
		i.done = true
		i.do()
	}
}

// interrupt is a moment of a turn at which others run. Some of what is planned for the next milliseconds happens here.
func (n *node) interrupt() {
	if n.worker == nil || n.w.violation != nil {
		return
	}
	kept := n.soon[:0]
	for _, i := range n.soon {
		if !i.done {
			kept = append(kept, i)
		}
	}
	n.soon = kept
	for range 3 {
		if len(n.soon) > 0 && n.w.chance(0.3) {
			n.perform(n.soon[n.w.rng.IntN(len(n.soon))])
		}
	}
}

// thaw goes on after a standstill.
func (n *node) thaw() {
	frozen := n.frozen
	n.frozen = nil
	for _, do := range frozen {
		do()
	}
}

// board is where a worker of one life writes up where its replicas stand.
type board struct{ n *node }

var _ worker.Board = board{}

// Stand is as worker.Board says.
func (b board) Stand(changed []worker.Standing) {
	n := b.n
	for i := range changed {
		s := &changed[i]
		n.witness.Stand(s.Group, s.Replica, s.Term)
		n.shadows[s.Group] = s.Locks
		n.asker.Stand(&s.Standing)
	}
	n.askOn()
}

// Leave is as worker.Board says.
func (b board) Leave(p ring.PartitionID) {
	b.n.witness.Leave(p)
	b.n.asker.Leave(p)
	b.n.askOn()
}

// askOn carries out what has followed from something that the asker was told.
func (n *node) askOn() {
	n.asker.Ask()
	e := n.asker.Take()
	for i := range e.Asks {
		n.w.shipQuestion(n, &e.Asks[i])
	}
	for i := range e.Ended {
		q, _ := e.Ended[i].Tag.(*reading)
		n.readOn(q, e.Ended[i].Term, e.Ended[i].Err)
	}
	if !n.ticks && n.asker.Waiting() > 0 {
		n.ticks = true
		n.aside(readTick, func() {
			n.ticks = false
			n.asker.Tick()
			n.askOn()
		})
	}
}

// shipQuestion brings a question to another node, and its answer back; some of either twice.
func (w *world) shipQuestion(from *node, a *readindex.Ask) {
	to, life := w.byID(a.To), from.life
	if to == nil {
		return
	}
	body := readindex.AppendQuestion(nil, &a.Question)
	w.twice(from, to, func() {
		q, err := readindex.DecodeQuestion(body)
		if err != nil {
			w.violate("decode a question: %w", err)
			return
		}
		answer := to.witness.Answer(&q)
		back := readindex.AppendAnswer(nil, &answer)
		w.twice(to, from, func() {
			a, err := readindex.DecodeAnswer(back)
			if err != nil {
				w.violate("decode an answer: %w", err)
			} else if from.life == life {
				from.asker.Answer(to.id, &a)
				from.askOn()
			}
		})
	})
}

// twice has something arrive at a node beside its turns, now and then once more, or not at all.
func (w *world) twice(from, to *node, do func()) {
	copies := 1
	if w.chance(w.net.double) {
		copies = 2
	}
	for range copies {
		if d, ok := w.net.pass(from, to); ok {
			w.after(d/2, func() { to.aside(d-d/2, do) })
		}
	}
}

// reading is an attempt to read that waits for the right to.
type reading struct {
	r      *request
	serial int
	op     *worker.Op
}

// beginRead is an attempt to read as the node that was asked sees it.
func (n *node) beginRead(r *request, serial int) {
	if n.w.cfg.Sabotage.TrustLeader && r.ask == askRead && n.leaders[r.group] == n.id {
		n.read(r, serial)
		return
	}
	if !n.asker.Read(r.group, &reading{r, serial, n.op(r)}) {
		n.respond(r, serial, &replica.NotLeaderError{Partition: r.group, Leader: replica.MakeID(n.leaders[r.group], 0)}, reply{})
		return
	}
	n.askOn()
}

// readOn goes on with an attempt that has the right to read, or never gets it.
func (n *node) readOn(q *reading, term uint64, err error) {
	if err != nil {
		n.respond(q.r, q.serial, err, reply{})
		return
	}
	q.op.Term = term
	shadow := n.shadows[q.r.group]
	switch q.r.ask {
	case askRead:
		n.aside(n.lateness(), func() { n.lookAtLocks(q, shadow) })
	case askMember:
		n.aside(n.lateness(), func() { n.arrive(func(*worker.Worker) { n.read(q.r, q.serial) }) })
	default:
		n.arrive(func(wk *worker.Worker) { n.submit(wk, q.r, q.serial, q.op) })
	}
}

// lateness is how long a goroutine takes to awake, at times long.
func (n *node) lateness() time.Duration {
	if n.w.chance(0.05) {
		return n.w.between(0, attemptTime)
	}
	return n.w.between(0, 5*time.Millisecond)
}

// lookAtLocks is what stands between the right to read a key and the look at it.
func (n *node) lookAtLocks(q *reading, shadow *storage.LockShadow) {
	if !q.r.ungated && shadow.Falls(q.r.key) {
		n.arrive(func(wk *worker.Worker) { n.submit(wk, q.r, q.serial, q.op) })
		return
	}
	n.aside(n.lateness(), func() { n.read(q.r, q.serial) })
}

// interrupting lets others run amid the commits of an engine.
func interrupting(e storage.Engine, n *node) storage.Engine {
	i := interrupted{e, n}
	if s, ok := e.(starter); ok {
		return interruptedStarter{i, s}
	}
	return i
}

type interrupted struct {
	storage.Engine
	n *node
}

// starter is an engine that can sync beside the turns.
type starter interface {
	StartSync() func() (bool, error)
}

type interruptedStarter struct {
	interrupted
	starter
}

// Batch is as storage.Engine says.
func (e interrupted) Batch() storage.Batch { return interruptedBatch{e.Engine.Batch(), e.n} }

type interruptedBatch struct {
	storage.Batch
	n *node
}

// Commit is as storage.Batch says.
func (b interruptedBatch) Commit() error {
	b.n.interrupt()
	err := b.Batch.Commit()
	b.n.interrupt()
	return err
}
