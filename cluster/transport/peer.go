package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

var (
	errRemoved     = errors.New("peer removed")
	errNotAdmitted = errors.New("this node belongs to no cluster yet")
)

// peer keeps the stream that this node dials to another one. Its goroutine (run) connects, reads answers, and
// connects again.
//
// session is what senders use. It is there while connected, and also during the first attempt to connect and the
// first one after a connection was lost: what is queued then leaves as soon as that attempt succeeds. Once it has
// failed there is no session, and senders are refused at once, until a later attempt succeeds.
type peer struct {
	t       *Transport
	id      ring.NodeID
	addr    string
	ctx     context.Context // the peer's lifetime
	cancel  context.CancelCauseFunc
	session atomic.Pointer[session]
	poke    chan struct{} // holds a token when the peer was heard from elsewhere: try again soon

	mu        sync.Mutex // guards what follows
	connected bool
	since     time.Time
	lastErr   error
	logged    string // the failure that was logged since the last connection
}

func newPeer(t *Transport, id ring.NodeID, addr string) *peer {
	p := &peer{t: t, id: id, addr: addr, poke: make(chan struct{}, 1), since: time.Now()}
	p.ctx, p.cancel = context.WithCancelCause(t.ctx)
	p.session.Store(p.newSession())
	return p
}

func (p *peer) newSession() *session {
	return newSession(p.id, &p.t.cfg, &p.t.counters, &p.t.calls)
}

// run connects and serves until the peer is cancelled.
func (p *peer) run() {
	defer p.cancel(errRemoved)
	backoff := p.t.cfg.BackoffMin
	for {
		lasted, err := p.attempt()
		if p.ctx.Err() != nil {
			return
		}
		p.failed(err)
		if lasted > p.t.cfg.BackoffMax { // it was a good connection: try again at once, and let senders queue
			backoff = p.t.cfg.BackoffMin
			p.session.Store(p.newSession())
			continue
		}
		if !p.pause(backoff) {
			return
		}
		backoff = min(2*backoff, p.t.cfg.BackoffMax)
	}
}

// attempt makes one connection and serves it. It returns how long the connection lasted, 0 if there was none.
func (p *peer) attempt() (lasted time.Duration, err error) {
	conn, r, err := p.t.dialStream(p.ctx, p.id, p.addr)
	if err != nil {
		p.endSession(err)
		return 0, err
	}
	s := p.session.Load()
	if s == nil {
		s = p.newSession()
		p.session.Store(s)
	}
	start := time.Now()
	p.setConnected(true)
	err = p.serve(s, conn, r)
	p.endSession(err)
	p.setConnected(false)
	return time.Since(start), err
}

// endSession takes the session away from senders and ends its calls.
func (p *peer) endSession(reason error) {
	if p.ctx.Err() != nil {
		reason = context.Cause(p.ctx)
	}
	if s := p.session.Swap(nil); s != nil {
		s.end(reason)
	}
}

// serve reads answers while a second goroutine writes, until the connection breaks or the peer is cancelled.
func (p *peer) serve(s *session, conn *liveConn, r *bufio.Reader) error {
	stop := context.AfterFunc(p.ctx, func() { _ = conn.Close() })
	defer stop()
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := s.out.run(conn, p.t.cfg.PingInterval, s.ping); err != nil {
			_ = conn.Close()
		}
	})
	err := p.readAnswers(s, r)
	_ = conn.Close()
	s.out.close()
	writer.Wait()
	return err
}

func (p *peer) readAnswers(s *session, r *bufio.Reader) error {
	for {
		payload, err := wire.ReadFrame(r)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		p.t.counters.framesReceived.Add(1)
		for len(payload) > 0 {
			kind, body, rest, err := wire.NextEnvelope(payload)
			if err != nil {
				return fmt.Errorf("read: %w", err)
			}
			payload = rest
			if kind != wire.KindResponse {
				continue // a pong, whose arrival was all it had to say, or a kind of a later version
			}
			resp, err := wire.DecodeResponse(body)
			if err != nil {
				return fmt.Errorf("read: %w", err)
			}
			s.answer(resp)
		}
	}
}

// pause waits for the backoff with jitter, but at least BackoffMin. It reports false when the peer is cancelled.
func (p *peer) pause(backoff time.Duration) bool {
	least := time.NewTimer(p.t.cfg.BackoffMin)
	defer least.Stop()
	select {
	case <-p.ctx.Done():
		return false
	case <-least.C:
	}
	rest := time.NewTimer(rand.N(backoff))
	defer rest.Stop()
	select {
	case <-p.ctx.Done():
		return false
	case <-p.poke:
	case <-rest.C:
	}
	return true
}

// hear says that the peer was heard from: a pause before the next attempt is not worth finishing.
func (p *peer) hear() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

func (p *peer) setConnected(connected bool) {
	p.mu.Lock()
	p.connected, p.since = connected, time.Now()
	if connected {
		p.logged = ""
	}
	p.mu.Unlock()
	if connected {
		p.t.cfg.Logger.Info("connected to a peer", "node", p.id, "addr", p.addr)
	}
	p.t.cfg.OnPeer(p.id, connected)
}

// failed notes why an attempt or a connection ended. It logs the first failure since the last connection and every
// new reason to be refused, not each of a row.
func (p *peer) failed(err error) {
	reason, level := "unreachable", slog.LevelWarn
	if refused, ok := errors.AsType[*refusedError](err); ok {
		reason = refused.reason
		if refused.soon || refused.twin {
			level = slog.LevelDebug // it passes, or OnTwin does something about it
		}
		if refused.twin {
			p.t.cfg.OnTwin(p.id)
		}
	}
	p.mu.Lock()
	fresh := p.logged == "" || (reason != "unreachable" && p.logged != reason)
	if fresh {
		p.logged = reason
	}
	p.lastErr = err
	p.mu.Unlock()
	if fresh {
		p.t.cfg.Logger.Log(p.t.ctx, level, "no stream to a peer", "node", p.id, "addr", p.addr, "error", err)
	}
}

func (p *peer) status() PeerStatus {
	p.mu.Lock()
	s := PeerStatus{ID: p.id, Addr: p.addr, Connected: p.connected, Since: p.since}
	if p.lastErr != nil {
		s.LastError = p.lastErr.Error()
	}
	p.mu.Unlock()
	if session := p.session.Load(); session != nil {
		s.QueuedBytes, s.Calls = session.out.waiting(), session.inFlight()
	}
	return s
}
