package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

// idle is a Transport that nothing runs in.
func idle(t *testing.T, change func(*Config)) *Transport {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Identity: func() Identity { return Identity{Cluster: "c1", Node: 1} },
		Listener: ln,
		Handler:  nobody{},
		OnRaft:   func(ring.NodeID, []wire.RaftMessage) {},
	}
	if change != nil {
		change(&cfg)
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// nobody is a Handler that answers everything with a status of its own.
type nobody struct{}

const nobodysStatus = 44

func (nobody) HandleRequest(context.Context, ring.NodeID, uint8, []byte) (uint8, []byte) {
	return nobodysStatus, nil
}

// hear has a transport read frames from node 2 until they end, and answer on conn.
func hear(t *testing.T, tr *Transport, conn *fullConn, frames ...[]byte) *inbound {
	t.Helper()
	near, far := net.Pipe()
	in := &inbound{t: tr, from: 2, conn: newLiveConn(near, time.Minute, &tr.counters), out: newOutbox(&tr.cfg, &tr.counters)}
	in.ctx, in.cancel = context.WithCancelCause(tr.ctx)
	in.out.hasty = conn
	go func() {
		for _, f := range frames {
			wire.SealFrame(f)
			_, _ = far.Write(f)
		}
		_ = far.Close()
	}()
	if err := in.read(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) { // as it is closed before or amid a read
		t.Fatal(err)
	}
	in.handlers.Wait()
	return in
}

// requests is a frame with a request of each method, numbered from 1.
func requests(methods ...uint8) []byte {
	frame := wire.BeginFrame(nil)
	for i, m := range methods {
		frame = wire.AppendRequest(frame, wire.Request{ID: uint64(i + 1), Method: m, Body: []byte{m}})
	}
	return frame
}

// doubles answers method 1 with its body, twice.
func doubles(_ ring.NodeID, method uint8, body []byte) ([]byte, bool) {
	return append(body, body...), method == 1
}

// responses is a frame with a response to each number.
func responses(ids ...uint64) []byte {
	frame := wire.BeginFrame(nil)
	for _, id := range ids {
		frame = wire.AppendResponse(frame, wire.Response{ID: id, Body: []byte{1, 1}})
	}
	wire.SealFrame(frame)
	return frame
}

// What is answered on the spot leaves at once: all of a frame in one, written by the reader.
func TestAnswersOfAFrameLeaveTogether(t *testing.T) {
	tr, conn := idle(t, func(c *Config) { c.Answer = doubles }), &fullConn{room: 1000}
	in := hear(t, tr, conn, requests(1, 1, 1), requests(1))
	if want := append(responses(1, 2, 3), responses(1)...); !bytes.Equal(conn.got, want) || conn.writes != 2 {
		t.Errorf("%x in %d writes, want %x in 2", conn.got, conn.writes, want)
	}
	if len(in.out.wake) > 0 {
		t.Error("the writer was woken for nothing")
	}
	if s := tr.Stats(); s.Requests != 4 || s.Handling != 0 {
		t.Errorf("counted: %+v", s)
	}
}

// Other answers may be large and many: these go around them.
func TestAnswersOvertake(t *testing.T) {
	tr := idle(t, func(c *Config) { c.Answer, c.FrameBytes = doubles, 64 })
	in := hear(t, tr, &fullConn{})
	for id := range uint64(3) {
		in.respond(wire.Response{ID: 10 + id, Body: make([]byte, 40)})
	}
	if err := in.dispatch(requests(1, 1)[wire.FrameHeader:]); err != nil {
		t.Fatal(err)
	}
	conn := &fullConn{}
	if err := in.out.drain(conn); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	envelopes(t, conn.got, func(_ int, _ wire.Kind, body []byte) {
		resp, err := wire.DecodeResponse(body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.ID)
	})
	if want := []uint64{1, 2, 10, 11, 12}; !slices.Equal(got, want) {
		t.Errorf("written in the order %v, want %v", got, want)
	}
}

// What the connection has no room for is the writer's.
func TestAnswersDoNotWaitForTheConnection(t *testing.T) {
	for room := range 20 {
		tr, conn := idle(t, func(c *Config) { c.Answer = doubles }), &fullConn{room: room}
		in := hear(t, tr, conn, requests(1, 1))
		if len(conn.got) != room || len(in.out.wake) != 1 {
			t.Fatalf("room for %d bytes: %d written, woken %d times", room, len(conn.got), len(in.out.wake))
		}
		if err := in.out.drain(conn); err != nil || !bytes.Equal(conn.got, responses(1, 2)) {
			t.Fatalf("room for %d bytes: %x, %v", room, conn.got, err)
		}
	}
}

// A frame without anything that is answered on the spot writes nothing from the reader.
func TestTheReaderWritesItsOwnAnswersOnly(t *testing.T) {
	tr, conn := idle(t, func(c *Config) { c.Answer = doubles }), &fullConn{room: 1000}
	in := hear(t, tr, conn, requests(9), requests(9))
	if conn.writes != 0 || len(in.out.wake) != 1 || in.out.waiting() == 0 {
		t.Errorf("%d writes, woken %d times, %d bytes wait", conn.writes, len(in.out.wake), in.out.waiting())
	}
}

// What Answer does not take is offered to Begin, and then to the Handler. What it takes is no matter of how many of those
// are at work.
func TestAnswerIsOfferedEverythingFirst(t *testing.T) {
	for name, c := range map[string]struct {
		answer      func(ring.NodeID, uint8, []byte) ([]byte, bool)
		maxHandlers int
		want        map[uint64]uint8 // number of a request to its status
	}{
		"none":                {nil, 10, map[uint64]uint8{1: nobodysStatus, 3: nobodysStatus, 4: nobodysStatus}},
		"one of the methods":  {doubles, 10, map[uint64]uint8{1: StatusOK, 3: nobodysStatus, 4: StatusOK}},
		"all others are busy": {doubles, 1, map[uint64]uint8{1: StatusOK, 3: statusOverloaded, 4: StatusOK}},
	} {
		t.Run(name, func(t *testing.T) {
			begun := 0
			tr, conn := idle(t, func(cfg *Config) {
				cfg.Answer, cfg.MaxHandlers = c.answer, c.maxHandlers
				cfg.Begin = func(_ ring.NodeID, method uint8, _ time.Duration, _ []byte, _ Respond) bool {
					if method != 2 {
						return false
					}
					begun++ // and never ends
					return true
				}
			}), &fullConn{room: 1 << 20}
			in := hear(t, tr, conn, requests(1, 2, 3, 1))
			if err := in.out.drain(conn); err != nil {
				t.Fatal(err)
			}
			got := make(map[uint64]uint8)
			envelopes(t, conn.got, func(_ int, kind wire.Kind, body []byte) {
				resp, err := wire.DecodeResponse(body)
				if err != nil || kind != wire.KindResponse {
					t.Fatal(kind, err)
				}
				got[resp.ID] = resp.Status
			})
			if begun != 1 || !maps.Equal(got, c.want) {
				t.Errorf("%d begun, answered with %v, want %v", begun, got, c.want)
			}
		})
	}
}

// An answer that cannot be queued must not leave its caller waiting: the stream ends.
func TestAnAnswerThatDoesNotFit(t *testing.T) {
	tr, conn := idle(t, func(c *Config) {
		c.Answer = func(ring.NodeID, uint8, []byte) ([]byte, bool) { return make([]byte, wire.MaxFrame), true }
	}), &fullConn{room: 1000}
	if in := hear(t, tr, conn, requests(1)); !errors.Is(context.Cause(in.ctx), ErrTooLarge) || len(conn.got) > 0 {
		t.Errorf("the stream's end: %v", context.Cause(in.ctx))
	}
}

// envelopes calls fn for all that was written, with the place of its frame.
func envelopes(t *testing.T, b []byte, fn func(frame int, kind wire.Kind, body []byte)) {
	t.Helper()
	for r, frame := bytes.NewReader(b), 0; r.Len() > 0; frame++ {
		payload, err := wire.ReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		for len(payload) > 0 {
			kind, body, rest, err := wire.NextEnvelope(payload)
			if err != nil {
				t.Fatal(err)
			}
			fn(frame, kind, body)
			payload = rest
		}
	}
}
