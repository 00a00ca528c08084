package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ringkv/ringkv/cluster/deadline"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

var errReplaced = errors.New("a newer stream of the same node took over")

// inbound is a stream that another node dialed: it brings messages and requests, answers go back on it.
type inbound struct {
	t        *Transport
	from     ring.NodeID
	run      string // of the process that dialed
	conn     *liveConn
	out      *outbox
	ctx      context.Context // the stream's lifetime; requests are handled under it
	cancel   context.CancelCauseFunc
	handlers sync.WaitGroup

	deadlines *deadline.Lender // of requests
}

// serveInbound runs a stream until it breaks. It returns after the last handler of its requests has.
func (t *Transport) serveInbound(from ring.NodeID, run string, conn net.Conn) {
	in := &inbound{
		t:    t,
		from: from,
		run:  run,
		conn: newLiveConn(conn, t.cfg.ReadTimeout, &t.counters),
		out:  newOutbox(&t.cfg, &t.counters),
	}
	in.ctx, in.cancel = context.WithCancelCause(t.ctx)
	in.deadlines = deadline.NewLender(in.ctx)
	if !t.enter(in) {
		in.cancel(ErrClosed)
		return
	}
	defer t.leave(in)
	if p := (*t.peers.Load())[from]; p != nil {
		p.hear()
	}
	stop := context.AfterFunc(in.ctx, func() { _ = conn.Close() })
	defer stop()
	in.handlers.Go(func() {
		if err := in.out.run(conn, t.cfg.PingInterval, in.pong); err != nil {
			_ = conn.Close()
		}
	})
	err := in.read()
	in.cancel(err)
	in.out.close()
	in.handlers.Wait()
	t.cfg.Logger.Debug("a peer's stream ended", "node", from, "error", err)
}

// enter makes in the stream of its node and ends the one before it, whose dialer is gone or will be.
func (t *Transport) enter(in *inbound) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if old := t.inbound[in.from]; old != nil {
		old.cancel(errReplaced)
	}
	t.inbound[in.from] = in
	for key := range t.refusals {
		if key.from == in.from {
			delete(t.refusals, key)
		}
	}
	return true
}

func (t *Transport) leave(in *inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inbound[in.from] == in {
		delete(t.inbound, in.from)
	}
}

// pong is sent while bytes arrive, not as an answer to a ping: on a slow link a ping may be stuck behind a long
// frame, but then the frame's bytes show that the link works.
func (in *inbound) pong() wire.Kind {
	if in.conn.heard.Swap(false) {
		return wire.KindPong
	}
	return wire.KindInvalid
}

func (in *inbound) read() error {
	r := bufio.NewReaderSize(in.conn, readBuffer)
	for {
		payload, err := wire.ReadFrame(r)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		in.t.counters.framesReceived.Add(1)
		if err := in.dispatch(payload); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		in.out.flush()
	}
}

// dispatch hands out what a frame holds. All its raft messages go out in one call.
func (in *inbound) dispatch(payload []byte) error {
	var batch []wire.RaftMessage
	for len(payload) > 0 {
		kind, body, rest, err := wire.NextEnvelope(payload)
		if err != nil {
			return err
		}
		payload = rest
		switch kind {
		case wire.KindRaft:
			batch, err = appendRaft(batch, body)
		case wire.KindRequest:
			err = in.request(body)
		case wire.KindLeaders:
			err = in.leaders(body)
		default: // a ping, whose arrival was all it had to say, or a kind of a later version
		}
		if err != nil {
			return err
		}
	}
	if len(batch) > 0 {
		in.t.counters.raftReceived.Add(uint64(len(batch)))
		in.t.cfg.OnRaft(in.from, batch)
	}
	return nil
}

func appendRaft(batch []wire.RaftMessage, body []byte) ([]wire.RaftMessage, error) {
	group, m, err := wire.DecodeRaft(body)
	if err != nil {
		return nil, err
	}
	if batch == nil {
		batch = make([]wire.RaftMessage, 0, 16)
	}
	return append(batch, wire.RaftMessage{Group: group, Message: m}), nil
}

func (in *inbound) leaders(body []byte) error {
	leaders, err := wire.DecodeLeaders(body)
	if err != nil {
		return err
	}
	in.t.cfg.OnLeaders(in.from, leaders)
	return nil
}

// request starts a handler, or refuses at once when too many run.
func (in *inbound) request(body []byte) error {
	req, err := wire.DecodeRequest(body)
	if err != nil {
		return err
	}
	n := &in.t.counters
	if answer := in.t.cfg.Answer; answer != nil {
		if resp, ok := answer(in.from, req.Method, req.Body); ok {
			n.requests.Add(1)
			in.queueAnswer(wire.Response{ID: req.ID, Body: resp}, true)
			return nil
		}
	}
	if n.handling.Add(1) > int64(in.t.cfg.MaxHandlers) {
		n.handling.Add(-1)
		n.requestsRefused.Add(1)
		in.respond(wire.Response{ID: req.ID, Status: statusOverloaded})
		return nil
	}
	n.requests.Add(1)
	if !in.begun(req) {
		in.handlers.Go(func() { in.handle(req) })
	}
	return nil
}

// begun offers the request to Config.Begin.
func (in *inbound) begun(req wire.Request) bool {
	begin, id := in.t.cfg.Begin, req.ID
	return begin != nil && begin(in.from, req.Method, req.Timeout, req.Body, func(status uint8, body []byte) {
		in.t.counters.handling.Add(-1)
		in.respond(wire.Response{ID: id, Status: status, Body: body})
	})
}

func (in *inbound) handle(req wire.Request) {
	ctx := in.ctx
	if req.Timeout > 0 {
		var done context.CancelFunc
		ctx, done = in.deadlines.Until(time.Now().Add(req.Timeout))
		defer done()
	}
	status, body := in.t.cfg.Handler.HandleRequest(ctx, in.from, req.Method, req.Body)
	in.t.counters.handling.Add(-1) // before anybody can know
	in.respond(wire.Response{ID: req.ID, Status: status, Body: body})
}

// respond queues an answer. One that finds the queue full would leave its caller waiting, so the stream ends
// instead: then the caller knows that it does not know. Once the stream has ended nothing is sent any more, though its
// connection may not be closed yet: a handler that was interrupted has nothing to say that its caller could trust.
func (in *inbound) respond(r wire.Response) { in.queueAnswer(r, false) }

// queueAnswer queues an answer; one for now is flushed with its frame, and goes around whatever waits.
func (in *inbound) queueAnswer(r wire.Response, now bool) {
	if in.ctx.Err() != nil {
		return
	}
	_, err := in.out.add(item{size: wire.ResponseOverhead + len(r.Body), urgent: now, lazy: now}, func(dst []byte) []byte {
		return wire.AppendResponse(dst, r)
	})
	if err != nil {
		in.cancel(fmt.Errorf("answer: %w", err))
	}
}
