package wire

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// Kind tells what an envelope holds. The numbers travel between nodes: append only.
type Kind uint8

// The kinds of envelopes.
const (
	KindInvalid  Kind = 0
	KindRaft     Kind = 1 // a message of one raft group
	KindRequest  Kind = 2 // a call to the receiver
	KindResponse Kind = 3 // the answer to a call
	KindLeaders  Kind = 4 // the partitions that the sender leads
	KindPing     Kind = 5 // the dialer is there; empty
	KindPong     Kind = 6 // the acceptor hears the dialer; empty
)

// EnvelopeOverhead is what an envelope adds to its body, in bytes.
const EnvelopeOverhead = 5

// RaftMessage is a decoded envelope of KindRaft.
type RaftMessage struct {
	Group   uint16
	Message *raftpb.Message
}

// Request is a call. Timeout is how long the caller still waits, in whole milliseconds on the wire, rounded up;
// 0 means without limit.
type Request struct {
	ID      uint64 // the caller's, unique among the calls in flight on the connection
	Method  uint8
	Timeout time.Duration
	Body    []byte
}

// RequestOverhead is the most that AppendRequest adds to a body, in bytes.
const RequestOverhead = EnvelopeOverhead + 2*binary.MaxVarintLen64 + 1

// Response is the answer to the request with the same ID.
type Response struct {
	ID     uint64
	Status uint8
	Body   []byte
}

// ResponseOverhead is the most that AppendResponse adds to a body, in bytes.
const ResponseOverhead = EnvelopeOverhead + binary.MaxVarintLen64 + 1

// Leader says that the sender leads a partition in a term.
type Leader struct {
	Partition uint16
	Term      uint64
}

// open starts an envelope whose body is appended next; seal ends it. The length has a fixed width, so that a body is
// encoded in place, once, without its size being known before.
func open(dst []byte, kind Kind) []byte {
	return append(dst, byte(kind), 0, 0, 0, 0)
}

// seal fills in the length of the envelope that began at start.
func seal(dst []byte, start int) []byte {
	binary.LittleEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-EnvelopeOverhead))
	return dst
}

// AppendRaftEnvelope appends an envelope of KindRaft.
func AppendRaftEnvelope(dst []byte, group uint16, m *raftpb.Message) []byte {
	start := len(dst)
	return seal(AppendRaft(open(dst, KindRaft), group, m), start)
}

// AppendRequest appends an envelope of KindRequest.
func AppendRequest(dst []byte, r Request) []byte {
	start := len(dst)
	dst = open(dst, KindRequest)
	dst = binary.AppendUvarint(dst, r.ID)
	dst = append(dst, r.Method)
	dst = binary.AppendUvarint(dst, millis(r.Timeout))
	return seal(append(dst, r.Body...), start)
}

// AppendResponse appends an envelope of KindResponse.
func AppendResponse(dst []byte, r Response) []byte {
	start := len(dst)
	dst = open(dst, KindResponse)
	dst = binary.AppendUvarint(dst, r.ID)
	dst = append(dst, r.Status)
	return seal(append(dst, r.Body...), start)
}

// AppendLeaders appends an envelope of KindLeaders.
func AppendLeaders(dst []byte, leaders []Leader) []byte {
	start := len(dst)
	dst = open(dst, KindLeaders)
	dst = binary.AppendUvarint(dst, uint64(len(leaders)))
	for _, l := range leaders {
		dst = binary.LittleEndian.AppendUint16(dst, l.Partition)
		dst = binary.AppendUvarint(dst, l.Term)
	}
	return seal(dst, start)
}

// LeadersSize is an upper bound of what AppendLeaders appends for n leaders, in bytes.
func LeadersSize(n int) int {
	return EnvelopeOverhead + binary.MaxVarintLen64 + n*(2+binary.MaxVarintLen64)
}

// AppendEmpty appends an envelope without a body: KindPing or KindPong.
func AppendEmpty(dst []byte, kind Kind) []byte {
	return open(dst, kind)
}

// NextEnvelope cuts the first envelope off a frame's payload, which must not be empty. A kind that this version does
// not know is returned like any other: the receiver skips it, so that later versions can add kinds.
// The error is ErrMalformed.
func NextEnvelope(payload []byte) (kind Kind, body, rest []byte, err error) {
	if len(payload) < EnvelopeOverhead {
		return KindInvalid, nil, nil, ErrMalformed
	}
	kind = Kind(payload[0])
	n := uint64(binary.LittleEndian.Uint32(payload[1:]))
	rest = payload[EnvelopeOverhead:]
	if kind == KindInvalid || n > uint64(len(rest)) {
		return KindInvalid, nil, nil, ErrMalformed
	}
	return kind, rest[:n:n], rest[n:], nil
}

// DecodeRequest decodes the body of an envelope of KindRequest. Body aliases b. The error is ErrMalformed.
func DecodeRequest(b []byte) (Request, error) {
	c := cursor{rest: b}
	r := Request{ID: c.uvarint(), Method: c.u8()}
	ms := c.uvarint()
	if c.bad || ms > maxMillis {
		return Request{}, ErrMalformed
	}
	r.Timeout = time.Duration(ms) * time.Millisecond
	r.Body = c.rest
	return r, nil
}

// DecodeResponse decodes the body of an envelope of KindResponse. Body aliases b. The error is ErrMalformed.
func DecodeResponse(b []byte) (Response, error) {
	c := cursor{rest: b}
	r := Response{ID: c.uvarint(), Status: c.u8()}
	if c.bad {
		return Response{}, ErrMalformed
	}
	r.Body = c.rest
	return r, nil
}

// DecodeLeaders decodes the body of an envelope of KindLeaders. The error is ErrMalformed.
func DecodeLeaders(b []byte) ([]Leader, error) {
	c := cursor{rest: b}
	leaders := make([]Leader, c.count(3))
	for i := range leaders {
		leaders[i] = Leader{Partition: c.u16(), Term: c.uvarint()}
	}
	if err := c.done(); err != nil {
		return nil, err
	}
	return leaders, nil
}

// maxMillis keeps a timeout within a time.Duration.
const maxMillis = uint64(1<<63-1) / uint64(time.Millisecond)

// millis is d in milliseconds, rounded up, so that a short timeout does not turn into none.
func millis(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return min((uint64(d)+uint64(time.Millisecond)-1)/uint64(time.Millisecond), maxMillis)
}
