package transport

import (
	"fmt"
	"sync"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
)

// call is one request in flight. Whoever removes it from its session's map ends it, once.
type call struct {
	id    uint64
	frame uint64        // number of the outbox frame that holds the request
	ended chan struct{} // gets one token, after resp and err are set
	resp  wire.Response
	err   error
}

// end hands the result over to the caller, who waits on ended.
func (c *call) end(resp wire.Response, err error) {
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
	if s.dead != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, s.dead)
	}
	if len(s.calls) >= s.maxCalls {
		return nil, ErrOverloaded
	}
	s.last++
	req := wire.Request{ID: s.last, Method: method, Timeout: timeout, Body: body}
	frame, err := s.out.add(item{size: wire.RequestOverhead + len(body)}, func(dst []byte) []byte {
		return wire.AppendRequest(dst, req)
	})
	if err != nil {
		return nil, err
	}
	c := s.pool.Get().(*call)
	c.id, c.frame = req.ID, frame
	s.calls[c.id] = c
	return c, nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return
	}
	s.dead = reason
	taken := s.out.close()
	lost := fmt.Errorf("%w: %v", ErrConnLost, reason) // not %w: the reason may be one that Unsent knows
	unsent := fmt.Errorf("%w: %w", ErrUnreachable, reason)
	for _, c := range s.calls {
		if c.frame <= taken {
			c.end(wire.Response{}, lost)
		} else {
			c.end(wire.Response{}, unsent)
		}
	}
	s.calls = nil
}

// inFlight is how many calls wait for an answer.
func (s *session) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}
