package transport

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// call is one request in flight. Whoever removes it from its session's map ends it, once, without holding a mutex.
type call struct {
	id    uint64
	frame uint64        // number of the outbox frame that holds the request
	ended chan struct{} // gets one token, after resp and err are set
	resp  wire.Response
	err   error

	// Of a call that nobody waits for: who is told instead, and when it is given up, zero if never.
	done  func(resp []byte, err error)
	until time.Time
}

// session is everything that ends when one dialed connection ends: what waits to be written and the calls in flight.
// It may exist before its connection does (see peer).
type session struct {
	to       ring.NodeID
	out      *outbox
	maxCalls int
	pool     *sync.Pool // of *call

	mu    sync.Mutex // guards what follows; taken before out.mu
	calls map[uint64]*call
	last  uint64 // id of the latest call
	dead  error  // why the session ended, nil while it lives
}

func newSession(to ring.NodeID, c *Config, n *counters, pool *sync.Pool) *session {
	return &session{
		to:       to,
		out:      newOutbox(c, n),
		maxCalls: c.MaxCalls,
		pool:     pool,
		calls:    make(map[uint64]*call),
	}
}

// start queues a request. It returns the call to wait on, or an error that proves that nothing was sent.
func (s *session) start(method uint8, timeout time.Duration, body []byte) (*call, error) {
	c := s.pool.Get().(*call)
	if err := s.queue(c, method, timeout, body, false); err != nil {
		s.release(c)
		return nil, err
	}
	return c, nil
}

// startFor does the same, and has done told of the end instead. An error is not told.
func (s *session) startFor(method uint8, until time.Time, body []byte, now bool, done func([]byte, error)) error {
	timeout := time.Duration(0)
	if !until.IsZero() {
		timeout = max(time.Until(until), 1)
	}
	c := s.pool.Get().(*call)
	c.done, c.until = done, until
	if err := s.queue(c, method, timeout, body, now); err != nil {
		s.release(c)
		return err
	}
	return nil
}

// queue puts a call's request into the outbox. Without an error the call may have ended when it returns.
func (s *session) queue(c *call, method uint8, timeout time.Duration, body []byte, now bool) error {
	s.mu.Lock() // until the call can be found: its answer must not come before
	defer s.mu.Unlock()
	if s.dead != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, s.dead)
	}
	if !now && len(s.calls) >= s.maxCalls { // those are few: readindex has one under way to a node
		return ErrOverloaded
	}
	s.last++
	req := wire.Request{ID: s.last, Method: method, Timeout: timeout, Body: body}
	frame, err := s.out.add(item{size: wire.RequestOverhead + len(body), urgent: now, lazy: now}, func(dst []byte) []byte {
		return wire.AppendRequest(dst, req)
	})
	if err != nil {
		return err
	}
	c.id, c.frame = req.ID, frame
	s.calls[c.id] = c
	return nil
}

// remove takes a call out of the session; nil if someone else did.
func (s *session) remove(id uint64) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	delete(s.calls, id)
	return c
}

// answer ends the call that resp is for. One that nobody waits for any more is dropped.
func (s *session) answer(resp wire.Response) {
	if c := s.remove(resp.ID); c != nil {
		s.finish(c, resp, nil)
	}
}

// finish hands the result of a call over to its caller, who waits on ended or left a function.
func (s *session) finish(c *call, resp wire.Response, err error) {
	done := c.done
	if done == nil {
		c.resp, c.err = resp, err
		c.ended <- struct{}{}
		return
	}
	s.release(c)
	done(s.result(resp, err))
}

// result is what the caller of a call that ended so is told.
func (s *session) result(resp wire.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, callError(s.to, err)
	}
	return resultOf(resp)
}

// release gives an ended call back for reuse.
func (s *session) release(c *call) {
	*c = call{ended: c.ended}
	s.pool.Put(c)
}

// expire ends the calls that are to be given up by now and that nobody waits for.
func (s *session) expire(now time.Time) {
	var over []*call
	s.mu.Lock()
	for id, c := range s.calls {
		if !c.until.IsZero() && !now.Before(c.until) {
			delete(s.calls, id)
			over = append(over, c)
		}
	}
	s.mu.Unlock()
	for _, c := range over {
		s.finish(c, wire.Response{}, context.DeadlineExceeded)
	}
}

// end closes the session for reason. Calls whose frame the writer had taken end with ErrConnLost, the others with
// ErrUnreachable.
func (s *session) end(reason error) {
	calls, taken := s.close(reason)
	lost := fmt.Errorf("%w: %v", ErrConnLost, reason) // not %w: the reason may be one that Unsent knows
	unsent := fmt.Errorf("%w: %w", ErrUnreachable, reason)
	for _, c := range calls {
		if c.frame <= taken {
			s.finish(c, wire.Response{}, lost)
		} else {
			s.finish(c, wire.Response{}, unsent)
		}
	}
}

// close refuses everything from now on. It returns the calls in flight, which are the caller's to end, and the number of
// the last frame that may have been sent.
func (s *session) close(reason error) (calls map[uint64]*call, taken uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return nil, 0
	}
	s.dead = reason
	calls, s.calls = s.calls, nil
	return calls, s.out.close()
}

// inFlight is how many calls wait for an answer.
func (s *session) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// ping is what a session does every PingInterval. The dialer pings whatever else it sends; the acceptor answers by showing
// that it hears.
func (s *session) ping() wire.Kind {
	s.expire(time.Now())
	return wire.KindPing
}
