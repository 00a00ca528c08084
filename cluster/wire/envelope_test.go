package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/wire"
)

// next cuts one envelope off and wants it to be of kind.
func next(t interface{ Fatalf(string, ...any) }, payload []byte, kind wire.Kind) (body, rest []byte) {
	got, body, rest, err := wire.NextEnvelope(payload)
	if err != nil || got != kind {
		t.Fatalf("got kind %d, %v, want kind %d", got, err, kind)
	}
	return body, rest
}

func TestEnvelopesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		req := wire.Request{
			ID:      rapid.Uint64().Draw(t, "id"),
			Method:  rapid.Byte().Draw(t, "method"),
			Timeout: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "timeout")) * time.Millisecond,
			Body:    rapid.SliceOf(rapid.Byte()).Draw(t, "request"),
		}
		if req.Timeout < 0 {
			req.Timeout = 0
		}
		resp := wire.Response{
			ID:     rapid.Uint64().Draw(t, "id"),
			Status: rapid.Byte().Draw(t, "status"),
			Body:   rapid.SliceOf(rapid.Byte()).Draw(t, "response"),
		}
		leaders := rapid.SliceOf(rapid.Custom(func(t *rapid.T) wire.Leader {
			return wire.Leader{Partition: rapid.Uint16().Draw(t, "partition"), Term: rapid.Uint64().Draw(t, "term")}
		})).Draw(t, "leaders")

		b := wire.AppendRaftEnvelope(nil, 9, m)
		b = wire.AppendRequest(b, req)
		b = wire.AppendEmpty(b, wire.KindPing)
		b = wire.AppendResponse(b, resp)
		b = wire.AppendLeaders(b, leaders)

		body, b := next(t, b, wire.KindRaft)
		if group, got, err := wire.DecodeRaft(body); err != nil || group != 9 || !proto.Equal(got, m) {
			t.Fatalf("raft: got %d %v, %v", group, got, err)
		}
		body, b = next(t, b, wire.KindRequest)
		if got, err := wire.DecodeRequest(body); err != nil || !reflect.DeepEqual(got, req) {
			t.Fatalf("request: got %+v, %v, want %+v", got, err, req)
		}
		if body, b = next(t, b, wire.KindPing); len(body) != 0 {
			t.Fatalf("a ping with a body: %x", body)
		}
		body, b = next(t, b, wire.KindResponse)
		if got, err := wire.DecodeResponse(body); err != nil || !reflect.DeepEqual(got, resp) {
			t.Fatalf("response: got %+v, %v, want %+v", got, err, resp)
		}
		body, b = next(t, b, wire.KindLeaders)
		if got, err := wire.DecodeLeaders(body); err != nil || len(b) != 0 || !reflect.DeepEqual(got, leaders) {
			t.Fatalf("leaders: got %v, %v, want %v, %d bytes left", got, err, leaders, len(b))
		}
	})
}

func TestOverheadsAreBounds(t *testing.T) {
	req := wire.AppendRequest(nil, wire.Request{ID: math.MaxUint64, Timeout: math.MaxInt64})
	if len(req) > wire.RequestOverhead {
		t.Errorf("an empty request takes %d bytes, over RequestOverhead %d", len(req), wire.RequestOverhead)
	}
	resp := wire.AppendResponse(nil, wire.Response{ID: math.MaxUint64})
	if len(resp) > wire.ResponseOverhead {
		t.Errorf("an empty response takes %d bytes, over ResponseOverhead %d", len(resp), wire.ResponseOverhead)
	}
	leaders := []wire.Leader{{1, math.MaxUint64}, {2, math.MaxUint64}}
	if n := len(wire.AppendLeaders(nil, leaders)); n > wire.LeadersSize(2) {
		t.Errorf("two leaders take %d bytes, over LeadersSize %d", n, wire.LeadersSize(2))
	}
}

// A timeout must neither vanish (0 means for ever) nor come out longer than what is left by more than its rounding.
func TestTimeoutIsRoundedUpToMilliseconds(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		-time.Second:        0,
		0:                   0,
		1:                   time.Millisecond,
		time.Millisecond:    time.Millisecond,
		1500_000:            2 * time.Millisecond,
		time.Minute + 1:     time.Minute + time.Millisecond,
		math.MaxInt64:       math.MaxInt64 / time.Millisecond * time.Millisecond,
		math.MaxInt64 - 1e9: (math.MaxInt64-1e9)/time.Millisecond*time.Millisecond + time.Millisecond,
	} {
		body, _ := next(t, wire.AppendRequest(nil, wire.Request{Timeout: in}), wire.KindRequest)
		if got, err := wire.DecodeRequest(body); err != nil || got.Timeout != want {
			t.Errorf("%v came back as %v, %v, want %v", in, got.Timeout, err, want)
		}
	}
}

func TestEnvelopeRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                {},
		"cut header":             {1, 0, 0, 0},
		"kind 0":                 {0, 0, 0, 0, 0},
		"longer than the frame":  {1, 2, 0, 0, 0, 'a'},
		"as long as can be said": {1, 0xff, 0xff, 0xff, 0xff, 'a'},
	} {
		if kind, _, _, err := wire.NextEnvelope(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: got kind %d, %v", name, kind, err)
		}
	}
	if _, err := wire.DecodeRequest([]byte{1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a timeout over the largest duration: %v", err)
	}
	if _, err := wire.DecodeLeaders([]byte{200, 1, 0, 0, 0}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("more leaders than bytes: %v", err)
	}
	if _, err := wire.DecodeResponse([]byte{1}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a response without status: %v", err)
	}
}

// A receiver passes over kinds that it does not know, so that a later version can send them.
func TestUnknownKindIsCutOff(t *testing.T) {
	b := append([]byte{77, 3, 0, 0, 0}, "new"...)
	kind, body, rest, err := wire.NextEnvelope(append(b, 1))
	if err != nil || kind != 77 || string(body) != "new" || len(rest) != 1 {
		t.Fatalf("got %d %q %x %v", kind, body, rest, err)
	}
}

func frameOf(payload []byte) []byte {
	f := append(wire.BeginFrame(nil), payload...)
	wire.SealFrame(f)
	return f
}

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payloads := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 4).Draw(t, "payloads")
		var stream []byte
		for _, p := range payloads {
			stream = append(stream, frameOf(p)...)
		}
		r := iotest.OneByteReader(bytes.NewReader(stream))
		for i, p := range payloads {
			if got, err := wire.ReadFrame(r); err != nil || !bytes.Equal(got, p) {
				t.Fatalf("frame %d: got %x, %v, want %x", i, got, err, p)
			}
		}
		if _, err := wire.ReadFrame(r); err != io.EOF {
			t.Fatalf("behind the last frame: %v", err)
		}
	})
}

func TestLargestFrame(t *testing.T) {
	payload := make([]byte, wire.MaxFrame)
	payload[wire.MaxFrame-1] = 1
	f := frameOf(payload)
	if got, err := wire.ReadFrame(bytes.NewReader(f)); err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	f[0]++ // one byte too many is refused before it is read
	if _, err := wire.ReadFrame(bytes.NewReader(f[:wire.FrameHeader])); !errors.Is(err, wire.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
}

func TestBrokenFrames(t *testing.T) {
	good := frameOf([]byte("payload"))
	for cut := 1; cut < len(good); cut++ {
		if _, err := wire.ReadFrame(bytes.NewReader(good[:cut])); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	for bit := 32; bit < 8*len(good); bit++ { // in the checksum and the payload
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := wire.ReadFrame(bytes.NewReader(bad)); !errors.Is(err, wire.ErrChecksum) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
}

// A header that announces much must not cost much before the bytes are there.
func TestAnnouncedFrameIsNotAllocatedAhead(t *testing.T) {
	header := frameOf(make([]byte, wire.MaxFrame))[:wire.FrameHeader]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := wire.ReadFrame(bytes.NewReader(header)); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Fatalf("%d bytes allocated for a lone header", n)
	}
}

// FuzzFrame takes any bytes for a stream, and decodes what is in it as a receiver does.
func FuzzFrame(f *testing.F) {
	var payload []byte
	payload = wire.AppendRaftEnvelope(payload, 1, appendOf(2))
	payload = wire.AppendRequest(payload, wire.Request{ID: 1, Method: 2, Timeout: time.Second, Body: []byte("body")})
	f.Add(frameOf(payload))
	payload = wire.AppendResponse(nil, wire.Response{ID: 1, Body: []byte("body")})
	payload = wire.AppendLeaders(payload, []wire.Leader{{3, 4}, {5, 6}})
	f.Add(frameOf(wire.AppendEmpty(payload, wire.KindPong)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		if payload, err := wire.ReadFrame(bytes.NewReader(stream)); err == nil {
			if again := frameOf(payload); !bytes.Equal(again, stream[:len(again)]) {
				t.Fatalf("two frames for one payload:\n%x\n%x", stream, again)
			}
		}
		// The checksum would keep the fuzzer away from the envelopes: hand them the stream as it is, too.
		fuzzEnvelopes(t, stream)
	})
}

// fuzzEnvelopes decodes a payload and checks that every envelope has the one encoding that it came in.
func fuzzEnvelopes(t *testing.T, payload []byte) {
	for len(payload) > 0 {
		kind, body, rest, err := wire.NextEnvelope(payload)
		if err != nil {
			return
		}
		envelope := payload[:len(payload)-len(rest)]
		payload = rest
		var again []byte
		switch kind {
		case wire.KindRaft:
			if group, m, err := wire.DecodeRaft(body); err == nil {
				again = wire.AppendRaftEnvelope(nil, group, m)
			}
		case wire.KindRequest:
			if r, err := wire.DecodeRequest(body); err == nil {
				again = wire.AppendRequest(nil, r)
			}
		case wire.KindResponse:
			if r, err := wire.DecodeResponse(body); err == nil {
				again = wire.AppendResponse(nil, r)
			}
		case wire.KindLeaders:
			if l, err := wire.DecodeLeaders(body); err == nil {
				again = wire.AppendLeaders(nil, l)
			}
		}
		if again != nil && !bytes.Equal(again, envelope) {
			t.Fatalf("two encodings of one envelope:\n%x\n%x", envelope, again)
		}
	}
}
