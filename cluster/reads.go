package cluster

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// reads gives the right to read what this node leads, and vouches for the leaders of what it follows. None of it passes
// through the worker's turns, so a read waits for nobody's disk.
type reads struct {
	n    *Node
	used atomic.Bool   // since the worker's last tick
	wake chan struct{} // holds a token when the clock has to run

	mu      sync.Mutex // guards what follows
	asker   *readindex.Reads
	leads   map[ring.PartitionID]lead
	asking  bool // somebody is about to have the asker ask
	ticking bool // the clock runs
	closed  bool

	witnessMu sync.Mutex // guards what follows
	witness   *readindex.Witness
}

// lead is what readers need of a group that this node leads.
type lead struct {
	clock worker.Clock
	locks *storage.LockShadow
}

var _ worker.Board = (*reads)(nil)

// askTimeout bounds a question to another node. Long before, another is asked.
const askTimeout = 5 * time.Second

func newReads(n *Node) *reads {
	return &reads{
		n: n, wake: make(chan struct{}, 1), asker: readindex.New(), leads: make(map[ring.PartitionID]lead), witness: readindex.NewWitness(rand.Uint64()),
	}
}

// Stand is as worker.Board says.
func (r *reads) Stand(changed []worker.Standing) {
	r.witnessMu.Lock()
	for i := range changed {
		s := &changed[i]
		r.witness.Stand(s.Group, s.Replica, s.Term)
	}
	r.witnessMu.Unlock()
	r.change(func() {
		for i := range changed {
			s := &changed[i]
			if s.Leading {
				r.leads[s.Group] = lead{s.Clock, s.Locks}
			}
			r.asker.Stand(&s.Standing)
		}
	})
}

// Leave is as worker.Board says.
func (r *reads) Leave(p ring.PartitionID) {
	r.witnessMu.Lock()
	r.witness.Leave(p)
	r.witnessMu.Unlock()
	r.change(func() {
		r.asker.Leave(p)
		delete(r.leads, p)
	})
}

// change has the asker changed and carries out what follows from it.
func (r *reads) change(do func()) {
	r.mu.Lock()
	do()
	r.asker.Ask()
	e := r.take()
	r.mu.Unlock()
	r.carryOut(e)
}

// take returns the asker's effects; the reads that have ended know what they need. The caller holds mu.
func (r *reads) take() readindex.Effects {
	e := r.asker.Take()
	for i := range e.Ended {
		q, _ := e.Ended[i].Tag.(*request)
		q.Op.Term, q.Op.Err = e.Ended[i].Term, e.Ended[i].Err
		if r.closed {
			q.Op.Err = ErrClosed
		}
		q.lead = r.leads[q.Op.Group]
	}
	return e
}

func (r *reads) carryOut(e readindex.Effects) {
	for i := range e.Asks {
		r.ask(&e.Asks[i])
	}
	for i := range e.Ended {
		q, _ := e.Ended[i].Tag.(*request)
		if q.Op.Err == nil && !q.direct {
			err := r.n.loop.submit(&q.Op)
			if err == nil {
				continue // the worker has it
			}
			q.Op.Err = err
		}
		q.end()
	}
}

func (r *reads) ask(a *readindex.Ask) {
	to, number := a.To, a.Number
	body := binary.BigEndian.AppendUint16(make([]byte, 0, 2+8), 0)
	r.n.peers.GoNow(to, methodVouch, time.Now().Add(askTimeout), readindex.AppendQuestion(body, &a.Question), func(resp []byte, err error) {
		var answer readindex.Answer
		if err == nil {
			answer, err = readindex.DecodeAnswer(resp)
		}
		r.change(func() {
			if err != nil {
				r.asker.Lost(to, number)
			} else {
				r.asker.Answer(to, &answer)
			}
		})
	})
}

// vouch answers other nodes' questions.
func (r *reads) vouch(_ ring.NodeID, method uint8, body []byte) (resp []byte, ok bool) {
	if method != methodVouch || len(body) < 2 {
		return nil, false
	}
	q, err := readindex.DecodeQuestion(body[2:])
	if err != nil {
		return nil, false
	}
	r.witnessMu.Lock()
	a := r.witness.Answer(&q)
	r.witnessMu.Unlock()
	return readindex.AppendAnswer(make([]byte, 0, 24), &a), true
}

// begin asks for the right to do q, a read. On an error it will not be done.
func (r *reads) begin(q *request) error {
	p := q.Op.Group
	if p != storage.MetaPartition { // which the nodes themselves look at now and then
		r.used.Store(true)
	}
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return ErrClosed
	case r.asker.Waiting() >= maxWaitingOps:
		r.mu.Unlock()
		return ErrOverloaded
	case !r.asker.Read(p, q):
		r.mu.Unlock()
		// The hint may be this node, which is about to publish that it leads: then it is none.
		return &replica.NotLeaderError{Partition: p, Leader: replica.MakeID(r.n.routes.leader(p), 0)}
	}
	start, ask := !r.ticking, !r.asking
	r.ticking, r.asking = true, true
	e := r.take()
	r.mu.Unlock()
	r.carryOut(e)
	if start {
		select {
		case r.wake <- struct{}{}:
		default: // one that is left from before is as good
		}
	}
	if ask {
		runtime.Gosched() // whoever else is about to read is asked for together
		r.change(func() { r.asking = false })
	}
	return nil
}

// run is the clock of what waits for answers. It stands still while nobody has read for a while.
func (r *reads) run(ctx context.Context) {
	ticker := time.NewTicker(readTick)
	defer ticker.Stop()
	for idle, ticks := 0, 0; ; ticks++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		on := false
		r.change(func() {
			r.asker.Tick()
			if ticks%forgetEvery == 0 {
				r.asker.Forget(isGivenUp)
			}
			if idle++; r.asker.Waiting() > 0 {
				idle = 0
			}
			if idle >= readIdle {
				idle, r.ticking = 0, false
			}
			on = r.ticking
		})
		if on {
			continue
		}
		ticker.Stop()
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		ticker.Reset(readTick)
	}
}

func isGivenUp(t readindex.Tag) bool {
	q, _ := t.(*request)
	return q.stage.Load() == givenUp
}

// readTick is how often what waits for answers is looked at. After readIdle of them without anything the looking ends; every
// forgetEvery reads that were given up are let go.
const (
	readTick    = 10 * time.Millisecond
	readIdle    = 100
	forgetEvery = 50
)

// close gives up all reads and refuses others.
func (r *reads) close() {
	r.change(func() {
		r.closed = true
		r.asker.Close()
	})
}
