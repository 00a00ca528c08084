package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
)

// Bounds of what may wait for the worker's next turn. Requests over it are refused as overload; messages are dropped,
// which raft is made for.
const (
	maxWaitingOps      = 16 << 10
	maxWaitingMessages = 64 << 10
	// maxWriteBytes bounds the commands of all writes from when they are submitted until they are answered, and with
	// them what the groups that this node leads have in their logs' memory and on the way to other nodes.
	// Short commands are always let in: they are what ends transactions and frees space.
	maxWriteBytes = 64 << 20
	shortCommand  = 1 << 10
	// maxMessageBytes bounds the entries of the messages that wait.
	maxMessageBytes = 64 << 20
)

// linger is how long what nobody waits for may wait for company (worker.Config.Linger).
const linger = 10 * time.Millisecond

// loop gives a worker its goroutine: it gathers what arrives and takes one turn for all of it.
type loop struct {
	worker *worker.Worker
	reads  *reads
	tick   time.Duration
	now    func() time.Duration // monotonic, since the node started

	writing atomic.Int64 // bytes of the commands that were submitted and not answered yet

	mu     sync.Mutex // guards in and closed
	in     inbox
	closed bool

	wake chan struct{} // holds a token while in has something
	done chan struct{} // closed when run has returned
	err  error         // why run ended, valid once done is closed
}

type inbox struct {
	messages []wire.RaftMessage
	bytes    int // of the messages' entries
	ops      []*worker.Op
	funcs    []func(*worker.Worker)
}

func (b *inbox) reset() {
	clear(b.messages)
	clear(b.ops)
	clear(b.funcs)
	b.messages, b.ops, b.funcs, b.bytes = b.messages[:0], b.ops[:0], b.funcs[:0], 0
}

func newLoop(tick time.Duration, begun time.Time) *loop {
	since := func() time.Duration { return time.Since(begun) }
	return &loop{tick: tick, now: since, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// run owns the worker until ctx ends or a turn fails.
func (l *loop) run(ctx context.Context) (err error) {
	defer close(l.done)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("broken invariant: %v\n%s", r, debug.Stack())
		}
		l.err = err
		l.close()
	}()
	ticker := time.NewTicker(l.tick)
	defer ticker.Stop()
	linger := time.NewTimer(0)
	defer linger.Stop()
	var work inbox
	next := l.now() + l.tick
	for {
		if !l.worker.Busy() {
			if until, some := l.worker.Lingering(); some {
				linger.Reset(until - l.now())
			}
			select {
			case <-ctx.Done():
				return l.end(ctx)
			case <-l.wake:
			case <-ticker.C:
			case <-linger.C:
			}
		} else if ctx.Err() != nil {
			return l.end(ctx)
		}
		runtime.Gosched() // whoever can run has something for this turn: fewer and larger ones, a tenth off the cost of a put
		l.take(&work)
		now := l.now() // after it: what was stamped elsewhere, or asked for here, must not seem to be of later than now
		l.worker.Begin(now)
		if now >= next {
			l.worker.Tick(now)
			if l.reads.used.Swap(false) {
				l.worker.Reading()
			}
			// Ticks missed while the process stood still are not made up: other nodes' clocks went on, but their
			// messages have to be seen before this one may conclude that they fell silent.
			next = now + l.tick
		}
		l.feed(&work)
		if err := l.worker.Turn(now); err != nil {
			return err
		}
	}
}

// end leaves the worker in order where the node was told to stop. One that failed leaves its disk alone.
func (l *loop) end(ctx context.Context) error {
	if !errors.Is(context.Cause(ctx), ErrClosed) {
		return nil
	}
	return l.worker.Sync()
}

// failed reports whether run ended with an error.
func (l *loop) failed() bool {
	select {
	case <-l.done:
		return l.err != nil
	default:
		return false
	}
}

func (l *loop) take(work *inbox) {
	work.reset()
	l.mu.Lock()
	l.in, *work = *work, l.in
	l.mu.Unlock()
}

func (l *loop) feed(work *inbox) {
	for _, m := range work.messages {
		l.worker.Deliver(ring.PartitionID(m.Group), m.Message)
	}
	for _, fn := range work.funcs {
		fn(l.worker)
	}
	for _, op := range work.ops {
		l.worker.Submit(op)
	}
}

// close refuses everything from now on and gives up what waits.
func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	rest := l.in
	l.in = inbox{}
	l.mu.Unlock()
	for _, op := range rest.ops {
		op.Err = ErrClosed
		op.Done(op)
	}
	l.reads.close()
	l.worker.Close()
}

func (l *loop) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// submit hands an op to the worker. On an error it will not be done.
func (l *loop) submit(op *worker.Op) error {
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return ErrClosed
	case len(l.in.ops) >= maxWaitingOps, !l.admit(op):
		l.mu.Unlock()
		return ErrOverloaded
	}
	l.in.ops = append(l.in.ops, op)
	l.mu.Unlock()
	l.signal()
	return nil
}

// admit counts a command that is submitted; false if too much is under way. Who is told of the op's end calls settle.
func (l *loop) admit(op *worker.Op) bool {
	size := int64(len(op.Data))
	if total := l.writing.Add(size); total > maxWriteBytes && size > shortCommand {
		l.writing.Add(-size)
		return false
	}
	return true
}

// settle counts an op that is answered.
func (l *loop) settle(op *worker.Op) { l.writing.Add(-int64(len(op.Data))) }

// deliver hands messages to the worker.
func (l *loop) deliver(batch []wire.RaftMessage) {
	size := 0
	for _, m := range batch {
		size += entryBytes(m.Message)
	}
	l.mu.Lock()
	full := len(l.in.messages) >= maxWaitingMessages || size > 0 && l.in.bytes >= maxMessageBytes
	if l.closed || full {
		l.mu.Unlock()
		return
	}
	l.in.messages = append(l.in.messages, batch...)
	l.in.bytes += size
	l.mu.Unlock()
	l.signal()
}

// entryBytes is what a message's entries hold.
func entryBytes(m *raftpb.Message) int {
	n := 0
	for _, e := range m.GetEntries() {
		n += len(e.GetData())
	}
	return n
}

// do runs fn on the worker's goroutine, some time later. It reports false if the loop has ended: fn will not run.
func (l *loop) do(fn func(*worker.Worker)) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.in.funcs = append(l.in.funcs, fn)
	l.mu.Unlock()
	l.signal()
	return true
}

// ask runs fn on the worker's goroutine and waits until it has run.
func (l *loop) ask(ctx context.Context, fn func(*worker.Worker)) error {
	ran := make(chan struct{})
	if !l.do(func(w *worker.Worker) { fn(w); close(ran) }) {
		return ErrClosed
	}
	select {
	case <-ran:
		return nil
	case <-l.done:
		select {
		case <-ran:
			return nil
		default:
			return ErrClosed
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
