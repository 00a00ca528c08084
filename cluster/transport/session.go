package transport

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
)

// call is one request in flight. Whoever removes it from its session's map ends it, once, without holding a mutex.
type call struct {
	id    uint64
	frame uint64        // number of the outbox frame that holds the request
	ended chan struct{} // gets one token, after resp and err are set
	resp  wire.Response
	err   error

	// Of a call that nobody waits for: who is told instead, and what ends its watch over the caller's context.
	done func(wire.Response, error)
	stop func() bool
}

// end hands the result over to the caller, who waits on ended or left a function.
func (c *call) end(resp wire.Response, err error) {
	if c.done != nil {
		c.stop()
		c.done(resp, err)
		return
	}
	c.resp, c.err = resp, err
	c.ended <- struct{}{}
}

// session is everything that ends when one dialed connection ends: what waits to be written and the calls in flight.
// It may exist before its connection does (see peer).
type session struct {
	out      *outbox
	maxCalls int
	pool     *sync.Pool // of *call

	mu    sync.Mutex // guards what follows; taken before out.mu
	calls map[uint64]*call
	last  uint64 // id of the latest call
	dead  error  // why the session ended, nil while it lives
}

func newSession(c *Config, n *counters, pool *sync.Pool) *session {
	return &session{
		out:      newOutbox(c, n),
		maxCalls: c.MaxCalls,
		pool:     pool,
		calls:    make(map[uint64]*call),
	}
}

// start queues a request. It returns the call to wait on, or an error that proves that nothing was sent.
func (s *session) start(method uint8, timeout time.Duration, body []byte) (*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.pool.Get().(*call)
	if err := s.queue(c, method, timeout, body); err != nil {
		s.pool.Put(c)
		return nil, err
	}
	return c, nil
}

// startFor does the same, and has done told of the end instead: of ctx with ctx's error. An error is not told.
func (s *session) startFor(ctx context.Context, method uint8, body []byte, done func(wire.Response, error)) error {
	c := &call{done: done}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.queue(c, method, remaining(ctx), body); err != nil {
		return err
	}
	c.stop = context.AfterFunc(ctx, func() {
		if s.remove(c.id) != nil {
			done(wire.Response{}, ctx.Err())
		}
	})
	return nil
}

// queue puts a call's request into the outbox. mu is held, so that no answer comes before the caller is ready for it.
func (s *session) queue(c *call, method uint8, timeout time.Duration, body []byte) error {
	if s.dead != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, s.dead)
	}
	if len(s.calls) >= s.maxCalls {
		return ErrOverloaded
	}
	s.last++
	req := wire.Request{ID: s.last, Method: method, Timeout: timeout, Body: body}
	frame, err := s.out.add(item{size: wire.RequestOverhead + len(body)}, func(dst []byte) []byte {
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
		c.end(resp, nil)
	}
}

// release gives an ended call back for reuse.
func (s *session) release(c *call) {
	c.resp, c.err = wire.Response{}, nil
	s.pool.Put(c)
}

// end closes the session for reason. Calls whose frame the writer had taken end with ErrConnLost, the others with
// ErrUnreachable.
func (s *session) end(reason error) {
	calls, taken := s.close(reason)
	lost := fmt.Errorf("%w: %v", ErrConnLost, reason) // not %w: the reason may be one that Unsent knows
	unsent := fmt.Errorf("%w: %w", ErrUnreachable, reason)
	for _, c := range calls {
		if c.frame <= taken {
			c.end(wire.Response{}, lost)
		} else {
			c.end(wire.Response{}, unsent)
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
