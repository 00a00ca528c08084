package transport

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// sessionOn is the session of a transport's only peer, node 2, whose connection is conn; nil: there is none yet.
func sessionOn(tr *Transport, conn *fullConn) *session {
	p := newPeer(tr, 2, "")
	tr.peers.Store(&map[ring.NodeID]*peer{2: p})
	s := p.session.Load()
	if conn != nil {
		s.out.hasty = conn
	}
	return s
}

// sent is the numbers of the requests in what was written, frame by frame.
func sent(t *testing.T, b []byte) (frames [][]uint64) {
	t.Helper()
	envelopes(t, b, func(frame int, kind wire.Kind, body []byte) {
		req, err := wire.DecodeRequest(body)
		if err != nil || kind != wire.KindRequest {
			t.Fatal(kind, err)
		}
		if frame == len(frames) {
			frames = append(frames, nil)
		}
		frames[frame] = append(frames[frame], req.ID)
	})
	return frames
}

// ends counts what is told of calls.
type ends struct {
	times int
	body  []byte
	err   error
}

func (e *ends) told(body []byte, err error) { e.times, e.body, e.err = e.times+1, body, err }

func TestGoNowWritesAtOnce(t *testing.T) {
	tr, conn := idle(t, nil), &fullConn{room: 1000}
	s := sessionOn(tr, conn)
	var e ends
	tr.GoNow(2, 1, time.Time{}, []byte("now"), e.told)
	if got := sent(t, conn.got); len(got) != 1 || !slices.Equal(got[0], []uint64{1}) || conn.writes != 1 || len(s.out.wake) > 0 {
		t.Fatalf("written %v in %d writes, woken %d times", got, conn.writes, len(s.out.wake))
	}
	s.answer(wire.Response{ID: 1, Body: []byte("then")})
	s.answer(wire.Response{ID: 1, Body: []byte("again")})
	s.end(errRemoved)
	if e.times != 1 || string(e.body) != "then" || e.err != nil {
		t.Errorf("told %d times, %q, %v", e.times, e.body, e.err)
	}
	tr.Go(2, 1, time.Time{}, nil, e.told)
	if conn.writes != 1 {
		t.Error("Go writes as well")
	}
}

// What the connection does not take, or while there is none, is left to the writer.
func TestGoNowDoesNotWait(t *testing.T) {
	for room := range 20 {
		tr, conn := idle(t, nil), &fullConn{room: room}
		s := sessionOn(tr, conn)
		var e ends
		tr.GoNow(2, 1, time.Time{}, []byte("now"), e.told)
		tr.GoNow(2, 1, time.Time{}, []byte("more"), e.told)
		if len(conn.got) != room || len(s.out.wake) != 1 {
			t.Fatalf("room for %d bytes: %d written, woken %d times", room, len(conn.got), len(s.out.wake))
		}
		if err := s.out.drain(conn); err != nil {
			t.Fatal(err)
		}
		if got := slices.Concat(sent(t, conn.got)...); !slices.Equal(got, []uint64{1, 2}) {
			t.Fatalf("room for %d bytes: requests %v", room, got)
		}
	}
	tr := idle(t, nil)
	s := sessionOn(tr, nil)
	var e ends
	tr.GoNow(2, 1, time.Time{}, nil, e.told)
	if len(s.out.wake) != 1 || s.out.waiting() == 0 || e.times != 0 {
		t.Errorf("before there is a connection: woken %d times, %d bytes wait, told %d times", len(s.out.wake), s.out.waiting(), e.times)
	}
}

// Behind more than one frame that waits it goes around them. Whether it has left is then not known when the stream ends.
func TestGoNowOvertakes(t *testing.T) {
	tr, conn := idle(t, func(c *Config) { c.FrameBytes = 64 }), &fullConn{room: 1000}
	s := sessionOn(tr, conn)
	var waiting, urgent ends
	for range 3 {
		tr.Go(2, 1, time.Time{}, make([]byte, 40), waiting.told)
	}
	tr.GoNow(2, 1, time.Time{}, nil, urgent.told)
	if conn.writes != 0 || len(s.out.wake) != 1 {
		t.Fatalf("%d writes, woken %d times: several frames are the writer's", conn.writes, len(s.out.wake))
	}
	if err := s.out.drain(conn); err != nil {
		t.Fatal(err)
	}
	if got := slices.Concat(sent(t, conn.got)...); !slices.Equal(got, []uint64{4, 1, 2, 3}) {
		t.Errorf("written in the order %v", got)
	}
	for range 3 {
		tr.Go(2, 1, time.Time{}, make([]byte, 40), waiting.told)
	}
	tr.GoNow(2, 1, time.Time{}, nil, urgent.told)
	s.end(errRemoved)
	if urgent.times != 2 || !errors.Is(urgent.err, ErrConnLost) || Unsent(urgent.err) {
		t.Errorf("told %d times, %v", urgent.times, urgent.err)
	}
}
