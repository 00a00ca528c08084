package transport

import (
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
)

// maxSpare is the largest buffer that an idle outbox keeps for the next frame, in bytes.
const maxSpare = 256 << 10

// outbox is what waits to be written to one connection: a queue of frames, the last of which still takes envelopes.
// Any goroutine adds; one writer (run) takes. While the writer is busy everything added gathers in one frame, which is all
// the batching there is.
//
// Who adds lazily and calls flush is the writer for a moment: what it added is a batch already, and to wake another
// goroutine for it costs more than the write. It never waits for the connection: what that does not take at once is left
// to run.
//
// When more than one frame waits, the link is slower than its senders. From then on urgent envelopes go around the
// queue, so that a heartbeat waits for the frame being written at most, and not for all that waits before it.
type outbox struct {
	maxBytes   int // most bytes that wait
	frameBytes int // a frame with this much payload takes no more
	counters   *counters
	wake       chan struct{} // holds one token when there is work
	done       chan struct{} // closed by close
	unflushed  atomic.Bool   // something was added without waking the writer

	writing sync.Mutex // held by who takes frames and writes them; taken before mu. It guards these two:
	hasty   hastyConn  // nil before run, after its end by an error, and where there is no writing without waiting
	rest    []byte     // the end of a frame that flush could not write: nothing else may be written before it

	mu     sync.Mutex // guards what follows; never held across I/O
	closed bool
	queue  [][]byte // frames, unsealed
	urgent []byte   // the frame that goes around the queue; empty when nothing urgent waits
	bytes  int      // in queue and urgent
	taken  uint64   // how many frames of the queue the writer took so far
	spare  []byte   // an empty buffer for the next frame, or nil
}

// item is one envelope to add.
type item struct {
	size   int  // upper bound of its bytes
	urgent bool // may overtake
	lazy   bool // do not wake the writer; somebody calls flush
}

func newOutbox(c *Config, n *counters) *outbox {
	return &outbox{
		maxBytes:   c.MaxQueueBytes,
		frameBytes: c.FrameBytes,
		counters:   n,
		wake:       make(chan struct{}, 1),
		done:       make(chan struct{}),
	}
}

// add appends the envelope that encode writes, and returns the number of its frame: once taken has reached it, the
// envelope may have left. Frames are numbered from 1; an urgent envelope that overtook has number 0.
// The error is ErrTooLarge, ErrOverloaded, or ErrUnreachable after close.
func (o *outbox) add(it item, encode func(dst []byte) []byte) (frame uint64, err error) {
	frame, err = o.append(it, encode)
	if err != nil {
		return 0, err
	}
	if it.lazy {
		o.unflushed.Store(true)
	} else {
		o.signal()
	}
	return frame, nil
}

func (o *outbox) append(it item, encode func(dst []byte) []byte) (uint64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return 0, ErrUnreachable
	case it.size > wire.MaxFrame:
		return 0, ErrTooLarge
	case o.bytes+it.size > o.maxBytes:
		return 0, ErrOverloaded
	}
	if it.urgent && len(o.queue) > 1 && len(o.urgent)+it.size <= o.frameBytes {
		if len(o.urgent) == 0 {
			o.urgent = wire.BeginFrame(o.urgent)
		}
		before := len(o.urgent)
		o.urgent = encode(o.urgent)
		o.bytes += len(o.urgent) - before
		return 0, nil
	}
	tail := o.tail(it.size)
	before := len(*tail)
	*tail = encode(*tail)
	o.bytes += len(*tail) - before
	return o.taken + uint64(len(o.queue)), nil
}

// tail is the last frame of the queue, a new one if size more bytes would make it too long. The caller holds mu.
func (o *outbox) tail(size int) *[]byte {
	if n := len(o.queue); n > 0 && len(o.queue[n-1])+size <= o.frameBytes {
		return &o.queue[n-1]
	}
	o.queue = append(o.queue, wire.BeginFrame(o.spare)) // in the room of frames taken before
	o.spare = nil
	return &o.queue[len(o.queue)-1]
}

// flush writes, or wakes the writer, if lazy items were added since the last flush.
func (o *outbox) flush() {
	if o.unflushed.Load() && o.unflushed.Swap(false) && !o.writeNow() {
		o.signal()
	}
}

// writeNow writes the one frame that waits as far as the connection takes it without waiting. It reports false if the
// writer has something left to do: the rest of it, more frames, or what it is about to write itself.
func (o *outbox) writeNow() bool {
	if !o.writing.TryLock() {
		return false
	}
	defer o.writing.Unlock()
	if o.hasty == nil || len(o.rest) > 0 {
		return false
	}
	frame, more := o.takeOnly()
	if frame == nil {
		return !more
	}
	wire.SealFrame(frame)
	o.counters.framesSent.Add(1)
	n := o.hasty.writeHastily(frame)
	o.counters.bytesSent.Add(uint64(n))
	if n < len(frame) {
		o.rest = frame[n:]
		return false
	}
	o.recycle(frame)
	return true
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close refuses all further adds, stops the writer, and returns how many frames had been taken: those may have been
// sent, later ones have not.
func (o *outbox) close() (taken uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.done)
	}
	o.queue, o.urgent, o.spare, o.bytes = nil, nil, nil, 0
	return o.taken
}

// waiting is how many bytes wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// take removes what is written next: the urgent frame if there is one, and the first of the queue. Both are nil when
// nothing waits.
func (o *outbox) take() (urgent, frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.urgent) > 0 {
		urgent, o.urgent = o.urgent, nil
		o.bytes -= len(urgent) - wire.FrameHeader
	}
	if len(o.queue) > 0 {
		frame = o.takeFirst()
	}
	return urgent, frame
}

// takeOnly removes the frame that waits. It takes none, and reports more, if there are several.
func (o *outbox) takeOnly() (frame []byte, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.queue) > 1 || len(o.urgent) > 0:
		return nil, true
	case len(o.queue) == 0:
		return nil, false
	}
	return o.takeFirst(), false
}

// takeFirst removes the first frame of the queue. The caller holds mu.
func (o *outbox) takeFirst() []byte {
	frame := o.queue[0]
	o.queue = slices.Delete(o.queue, 0, 1)
	o.bytes -= len(frame) - wire.FrameHeader
	o.taken++
	return frame
}

// recycle keeps the buffer of a written frame for the next one.
func (o *outbox) recycle(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spare == nil && !o.closed && cap(frame) <= maxSpare {
		o.spare = frame[:0]
	}
}

// run is the writer: it writes what waits until close, or until a write fails. Every interval it adds the sign of
// life that beat asks for, if any. A write that hangs is ended by whoever closes conn.
func (o *outbox) run(conn net.Conn, interval time.Duration, beat func() wire.Kind) error {
	o.writing.Lock()
	o.hasty = hastyOf(conn)
	o.writing.Unlock()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-o.done:
			return nil
		case <-ticker.C:
			o.beat(beat())
		case <-o.wake:
			// Whoever else is about to add something adds it first: 23 calls a frame instead of 1.7 with 64 callers
			// (BenchmarkCall), a fifth of the time. With nobody else to run it returns at once.
			runtime.Gosched()
		}
		if err := o.drain(conn); err != nil {
			return err
		}
	}
}

func (o *outbox) beat(kind wire.Kind) {
	if kind == wire.KindInvalid {
		return
	}
	// A full queue refuses it: bytes are on their way then, and those are a sign of life too.
	_, _ = o.add(item{size: wire.EnvelopeOverhead, urgent: true}, func(dst []byte) []byte {
		return wire.AppendEmpty(dst, kind)
	})
}

func (o *outbox) drain(conn net.Conn) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	err := o.writeAll(conn)
	if err != nil {
		o.hasty = nil // a frame may be cut off: nothing may follow it
	}
	return err
}

// writeAll writes all that waits. The caller holds writing.
func (o *outbox) writeAll(conn net.Conn) error {
	if len(o.rest) > 0 {
		n, err := conn.Write(o.rest)
		o.counters.bytesSent.Add(uint64(n))
		if err != nil {
			return err
		}
		o.rest = nil
	}
	for {
		urgent, frame := o.take()
		if urgent == nil && frame == nil {
			return nil
		}
		if err := o.write(conn, urgent, frame); err != nil {
			return err
		}
		if frame != nil {
			o.recycle(frame)
		}
	}
}

// write sends both frames, either of which may be nil, with one system call where the connection can.
func (o *outbox) write(conn net.Conn, urgent, frame []byte) error {
	switch {
	case urgent == nil:
		return o.writeOne(conn, frame)
	case frame == nil:
		return o.writeOne(conn, urgent)
	}
	wire.SealFrame(urgent)
	wire.SealFrame(frame)
	o.counters.framesSent.Add(2)
	n, err := (&net.Buffers{urgent, frame}).WriteTo(conn)
	o.counters.bytesSent.Add(uint64(n))
	return err
}

func (o *outbox) writeOne(conn net.Conn, frame []byte) error {
	wire.SealFrame(frame)
	o.counters.framesSent.Add(1)
	n, err := conn.Write(frame)
	o.counters.bytesSent.Add(uint64(n))
	return err
}
