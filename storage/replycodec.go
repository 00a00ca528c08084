package storage

import (
	"encoding/binary"

	"github.com/ringkv/ringkv/ring"
)

// The flags of a TxnReply. The numbers travel between nodes: append only.
const (
	replySealed = 1 << iota
	replySuperseded
	replyVote
	replyHolder
	replyAnswer
	replyBallots
	replyOpen
	replyAlarm
)

func appendReply(dst []byte, r *TxnReply) []byte {
	ballots := r.Ballot != Ballot{} || r.Accepted != Undecided || r.AcceptedAt != Ballot{}
	flags := boolByte(r.Sealed)*replySealed | boolByte(r.Superseded)*replySuperseded |
		boolByte(r.Vote != nil)*replyVote | boolByte(r.Holder != nil)*replyHolder |
		boolByte(len(r.Answer) > 0)*replyAnswer | boolByte(ballots)*replyBallots |
		boolByte(len(r.Open) > 0)*replyOpen | boolByte(r.Alarm != "")*replyAlarm
	dst = append(dst, byte(r.Kind), flags, byte(r.Reason), byte(r.Decision))
	dst = binary.AppendUvarint(dst, uint64(r.Attempt))
	if r.Vote != nil {
		dst = appendVote(dst, r.Vote)
	}
	if r.Holder != nil {
		dst = appendOpenTxn(dst, r.Holder)
	}
	if len(r.Answer) > 0 {
		dst = appendBytes(dst, r.Answer)
	}
	if ballots {
		dst = append(appendBallot(dst, r.Ballot), byte(r.Accepted))
		dst = appendBallot(dst, r.AcceptedAt)
	}
	if len(r.Open) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(r.Open)))
		for _, o := range r.Open {
			dst = appendOpenTxn(dst, o)
		}
	}
	if r.Alarm != "" {
		dst = appendBytes(dst, []byte(r.Alarm))
	}
	return dst
}

func (d *decoder) reply() *TxnReply {
	r := &TxnReply{Kind: ReplyKind(d.enum(byte(ReplyAbsent)))}
	flags := d.byte()
	r.Sealed, r.Superseded = flags&replySealed != 0, flags&replySuperseded != 0
	r.Reason = Reason(d.enum(byte(DiskFull)))
	r.Decision = d.decision()
	r.Attempt = Attempt(d.uint32())
	if flags&replyVote != 0 {
		r.Vote = d.vote()
	}
	if flags&replyHolder != 0 {
		r.Holder = d.openTxn()
	}
	if flags&replyAnswer != 0 {
		r.Answer = d.nonEmpty()
	}
	if flags&replyBallots != 0 {
		d.ballots(r)
	}
	if flags&replyOpen != 0 {
		r.Open = d.openTxns()
	}
	if flags&replyAlarm != 0 {
		r.Alarm = string(d.nonEmpty())
	}
	return r
}

func (d *decoder) ballots(r *TxnReply) {
	r.Ballot = d.ballot()
	r.Accepted = d.decision()
	r.AcceptedAt = d.ballot()
	if (r.Ballot == Ballot{}) && r.Accepted == Undecided && (r.AcceptedAt == Ballot{}) {
		d.fail(errEmpty)
	}
}

func (d *decoder) openTxns() []*OpenTxn {
	n := d.count()
	if n == 0 {
		d.fail(errEmpty)
	}
	var open []*OpenTxn
	for range n {
		open = append(open, d.openTxn())
	}
	return open
}

// The flags of an OpenTxn. The numbers travel between nodes: append only.
const (
	openToken = 1 << iota
	openOrdered
	openFlags = openToken | openOrdered
)

func appendOpenTxn(dst []byte, o *OpenTxn) []byte {
	dst = append(dst, boolByte(o.Token)*openToken|boolByte(o.Ordered)*openOrdered, byte(o.Protocol), byte(o.Decision))
	dst = appendTxnID(dst, o.ID)
	dst = binary.AppendUvarint(dst, uint64(o.Attempt))
	dst = binary.AppendUvarint(dst, uint64(o.Home))
	dst = binary.AppendUvarint(dst, uint64(o.Age))
	return appendParticipants(dst, o.Participants)
}

func (d *decoder) openTxn() *OpenTxn {
	flags := d.flags(openFlags)
	return &OpenTxn{
		Token:        flags&openToken != 0,
		Ordered:      flags&openOrdered != 0,
		Protocol:     Protocol(d.enum(byte(ThreePhase))),
		Decision:     d.decision(),
		ID:           d.txnID(),
		Attempt:      Attempt(d.uint32()),
		Home:         d.partition(),
		Age:          Millis(d.uvarint()),
		Participants: d.participants(nil),
	}
}

func appendTxnID(dst []byte, t TxnID) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.Node))
	dst = binary.AppendUvarint(dst, uint64(t.Incarnation))
	return binary.AppendUvarint(dst, t.Seq)
}

func (d *decoder) txnID() TxnID {
	return TxnID{Node: ring.NodeID(d.uint32()), Incarnation: d.uint32(), Seq: d.uvarint()}
}
