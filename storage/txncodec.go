package storage

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/ringkv/ringkv/ring"
)

// Limits of one group's part of a transaction. An encoding beyond them decodes, and is applied as StatusInvalid.
const (
	MaxTxnItems        = 1024            // conditions and operations, both branches counted
	MaxTxnBytes        = 8 << 20         // their keys and values
	MaxTxnParticipants = MaxTxnItems + 1 // each has an item, or the idempotency token
	MaxAnswerBytes     = 8 << 20         // what an idempotency token's record keeps
	MaxSweep           = 256             // records that one sweep removes, whatever its Limit
	maxMark            = 1<<63 - 1       // so that a mark can be counted on
)

// A transaction command goes on, behind the clock, with a header of fixed length, so that a leader can read and stamp it in
// place: node u32, incarnation u32, seq u64, attempt u32, home u16, mark u64, all big-endian. The reason of a denial is
// the byte behind it, in KindPrepare and KindSingle.
const (
	txnHeaderOffset = clockOffset + 8
	txnHeaderBytes  = 4 + 4 + 8 + 4 + 2 + 8
	denyOffset      = txnHeaderOffset + txnHeaderBytes
)

// The flags of a Prepare. The numbers are on disk: append only.
const (
	prepareOrdered = 1 << iota
	prepareElse
	prepareToken
	prepareFlags = prepareOrdered | prepareElse | prepareToken
)

var (
	errKind  = errors.New("unknown kind")
	errEnum  = errors.New("unknown number in an enumeration")
	errBool  = errors.New("neither 0 nor 1")
	errItems = errors.New("more conditions or operations than a transaction has")
	errEmpty = errors.New("empty where nothing stands for none")
)

func isTxnKind(k Kind) bool { return k >= KindPrepare && k <= KindForget }

func appendTxnHeader(dst []byte, t *TxnCommand) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.ID.Node))
	dst = binary.BigEndian.AppendUint32(dst, t.ID.Incarnation)
	dst = binary.BigEndian.AppendUint64(dst, t.ID.Seq)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Attempt))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.Home))
	return binary.BigEndian.AppendUint64(dst, t.Mark)
}

func (d *decoder) txnHeader(t *TxnCommand) {
	if len(d.b) < txnHeaderBytes {
		d.fail(errShort)
		return
	}
	b := d.b
	t.ID.Node = ring.NodeID(binary.BigEndian.Uint32(b))
	t.ID.Incarnation = binary.BigEndian.Uint32(b[4:])
	t.ID.Seq = binary.BigEndian.Uint64(b[8:])
	t.Attempt = Attempt(binary.BigEndian.Uint32(b[16:]))
	t.Home = PartitionID(binary.BigEndian.Uint16(b[20:]))
	t.Mark = binary.BigEndian.Uint64(b[22:])
	d.b = b[txnHeaderBytes:]
}

// size is about the length of the encoding of a command.
func (t *TxnCommand) size() int {
	const rest = 16 // a decision, a ballot, flags
	n := denyOffset + rest + len(t.Answer)
	if p := t.Prepare; p != nil {
		const head, item = 64, 24 // beside keys and values
		n += head + 2*len(p.Participants) + p.bytes() + item*(len(p.If)+len(p.Then)+len(p.Else))
	}
	return n
}

// appendTxn appends what stands behind the clock of a transaction command.
func appendTxn(dst []byte, k Kind, t *TxnCommand) []byte {
	dst = appendTxnHeader(dst, t)
	switch k {
	case KindPrepare, KindSingle:
		return appendPrepare(dst, t.Prepare)
	case KindDecide:
		return append(dst, byte(t.Decision))
	case KindPropose:
		return append(appendBallot(dst, t.Ballot), byte(t.Decision))
	case KindInquire:
		return appendBallot(dst, t.Ballot)
	case KindCommit:
		dst = append(dst, byte(t.Decision), boolByte(len(t.Answer) > 0))
		if len(t.Answer) > 0 {
			dst = appendBytes(dst, t.Answer)
		}
		return dst
	case KindAbort:
		return append(dst, boolByte(t.Final))
	}
	return dst // refuse, mark, close, forget
}

// txn decodes what stands behind the clock into t, which is empty but for its Prepare, if k has one.
func (d *decoder) txn(k Kind, t *TxnCommand) {
	d.txnHeader(t)
	switch k {
	case KindPrepare, KindSingle:
		d.prepare(t.Prepare)
	case KindDecide:
		t.Decision = d.decision()
	case KindPropose:
		t.Ballot = d.ballot()
		t.Decision = d.decision()
	case KindInquire:
		t.Ballot = d.ballot()
	case KindCommit:
		t.Decision = d.decision()
		if d.bool() {
			t.Answer = d.nonEmpty()
		}
	case KindAbort:
		t.Final = d.bool()
	}
}

func appendPrepare(dst []byte, p *Prepare) []byte {
	flags := boolByte(p.Ordered) * prepareOrdered
	flags |= boolByte(p.HasElse) * prepareElse
	flags |= boolByte(p.Token != nil) * prepareToken
	dst = append(dst, byte(p.Deny), flags, byte(p.Protocol))
	dst = binary.AppendUvarint(dst, uint64(p.Age))
	dst = binary.AppendUvarint(dst, uint64(p.Partitions))
	dst = appendParticipants(dst, p.Participants)
	if p.Token != nil {
		dst = append(append(dst, p.Token.Key[:]...), p.Token.Body[:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.If)))
	for i := range p.If {
		dst = appendTxnCondition(dst, &p.If[i])
	}
	dst = appendTxnOps(dst, p.Then)
	if p.HasElse {
		dst = appendTxnOps(dst, p.Else)
	}
	return dst
}

// prepareHead is what stands in front of a Prepare's token.
func (d *decoder) prepareHead(p *Prepare) (flags byte) {
	p.Deny = Reason(d.enum(byte(DiskFull)))
	flags = d.flags(prepareFlags)
	p.Ordered, p.HasElse = flags&prepareOrdered != 0, flags&prepareElse != 0
	p.Protocol = Protocol(d.enum(byte(ThreePhase)))
	p.Age = Millis(d.uvarint())
	p.Partitions = d.uint32()
	return flags
}

func (d *decoder) prepare(p *Prepare) {
	flags := d.prepareHead(p)
	p.Participants = d.participants(p.Participants)
	if flags&prepareToken != 0 {
		p.Token = d.token()
	}
	p.If = sized(p.If, d.items())
	for i := range p.If {
		p.If[i] = TxnCondition{}
		d.txnCondition(&p.If[i])
	}
	p.Then = d.txnOps(p.Then)
	if p.HasElse {
		p.Else = d.txnOps(p.Else)
	}
}

func appendParticipants(dst []byte, ps []PartitionID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ps)))
	for _, p := range ps {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	return dst
}

// participants decodes a list into memory, if that suffices.
func (d *decoder) participants(memory []PartitionID) []PartitionID {
	ps := sized(memory, d.count())
	for i := range ps {
		ps[i] = d.partition()
	}
	return ps
}

func (d *decoder) token() *Token {
	t := new(Token)
	d.fixed(t.Key[:])
	d.fixed(t.Body[:])
	return t
}

func appendBallot(dst []byte, b Ballot) []byte {
	dst = binary.AppendUvarint(dst, b.Round)
	dst = binary.AppendUvarint(dst, uint64(b.Node))
	return binary.AppendUvarint(dst, b.Nonce)
}

func (d *decoder) ballot() Ballot {
	return Ballot{Round: d.uvarint(), Node: ring.NodeID(d.uint32()), Nonce: d.uvarint()}
}

func (d *decoder) decision() Decision { return Decision(d.enum(byte(DecideAbort))) }

func (d *decoder) partition() PartitionID {
	v := d.uvarint()
	if v > math.MaxUint16 {
		d.fail(errors.New("over 16 bits"))
	}
	return PartitionID(v)
}

// enum returns a byte that is at most last.
func (d *decoder) enum(last byte) byte {
	v := d.byte()
	if v > last {
		d.fail(errEnum)
	}
	return v
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail(errBool)
	}
	return v == 1
}

// count returns the length of a list. Every element takes at least a byte, so the input bounds it.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		return 0
	}
	return int(n)
}

// items is the count of a list of conditions, operations or results.
func (d *decoder) items() int {
	n := d.count()
	if n > MaxTxnItems {
		d.fail(errItems)
		return 0
	}
	return n
}

func (d *decoder) fixed(dst []byte) {
	if len(d.b) < len(dst) {
		d.fail(errShort)
		return
	}
	d.b = d.b[copy(dst, d.b):]
}

// nonEmpty returns bytes that are not left out where there are none.
func (d *decoder) nonEmpty() []byte {
	v := d.bytes()
	if len(v) == 0 {
		d.fail(errEmpty)
	}
	return v
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
