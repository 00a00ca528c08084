package storage

import "encoding/binary"

// txnRecord is what the group keeps of one transaction (section 2 of the protocol), as held in memory. Its body stays in
// the engine: of a YES the part that was prepared, of a COMMITTED the vote as far as it matters.
type txnRecord struct {
	id       TxnID
	attempt  Attempt // the highest met, Sealed for ∞
	state    TxnState
	protocol Protocol // 0 where the prepare never came
	home     PartitionID
	reason   Reason   // NO
	decision Decision // COMMITTED
	at       Millis   // NO, COMMITTED: the partition's clock when it became so
	order    uint64   // YES: the index of the entry that made it so
	version  Version  // YES: reserved for what it writes; 0 where it writes nothing
	cost     uint64   // YES: bound of what its Commit adds to a batch, the token's answer apart
	acceptor acceptor // YES, 3pc
	body     uint64   // length of the body, 0 if none
	stored   bool     // the engine has its cell

	open  *OpenTxn // YES, and COMMITTED whose token lacks its answer
	token [16]byte // of the latter: where the answer goes
	holds []hold   // YES: its locks
	kept  *draft   // YES: of the body; nil if it is to be evaluated again
}

// acceptor is a group's side of 3pc's agreement (R8). The zero acceptor has promised the coordinator's ballot.
type acceptor struct {
	promised, acceptedAt Ballot
	accepted             Decision
}

// inlineBody is the length up to which a body stands in the record's own cell: one write less for most, and a promise
// does not rewrite a long one.
const inlineBody = 4 << 10

func (r *txnRecord) split() bool { return r.body > inlineBody }

// chunks is the number of cells that the body takes beside the record's.
func (r *txnRecord) chunks() uint32 {
	if !r.split() {
		return 0
	}
	return uint32((r.body + MaxCellBytes - 1) / MaxCellBytes)
}

// final tells whether nothing but its removal can come.
func (r *txnRecord) final() bool { return r.state == TxnNo || r.state == TxnCommitted }

// unanswered tells that the record has to stay until its token has its answer (R9).
func (r *txnRecord) unanswered() bool { return r.state == TxnCommitted && r.open != nil }

const txnFormat = 1

// The flags of a record. The numbers are on disk: append only.
const (
	txnUnanswered = 1 << iota
	txnAcceptor
	txnFlags = txnUnanswered | txnAcceptor
)

// appendTxnRecord appends the cell without the body.
func appendTxnRecord(dst []byte, r *txnRecord) []byte {
	flags := boolByte(r.unanswered())*txnUnanswered | boolByte(r.acceptor != acceptor{})*txnAcceptor
	dst = append(dst, txnFormat, flags, byte(r.state), byte(r.protocol), byte(r.reason), byte(r.decision))
	for _, v := range [...]uint64{
		uint64(r.attempt), uint64(r.home), uint64(r.at), r.order, uint64(r.version), r.cost,
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	if flags&txnAcceptor != 0 {
		dst = appendBallot(dst, r.acceptor.promised)
		dst = append(appendBallot(dst, r.acceptor.acceptedAt), byte(r.acceptor.accepted))
	}
	if flags&txnUnanswered != 0 {
		dst = appendOpenTxn(append(dst, r.token[:]...), r.open)
	}
	return binary.AppendUvarint(dst, r.body)
}

// txnHeadMax bounds appendTxnRecord of a record with n participants.
func txnHeadMax(n int) int { return 256 + 3*n }

// decodeTxnRecord takes a cell apart. inline is the body where it stands in the cell; it aliases it.
func decodeTxnRecord(id TxnID, cell []byte) (r txnRecord, inline []byte, err error) {
	d := decoder{b: cell}
	if d.byte() != txnFormat {
		d.fail(errBadFormat)
	}
	flags := d.flags(txnFlags)
	r = txnRecord{
		id:       id,
		stored:   true,
		state:    TxnState(d.enum(byte(TxnCommitted))),
		protocol: Protocol(d.enum(byte(ThreePhase))),
		reason:   Reason(d.enum(byte(DiskFull))),
		decision: d.decision(),
		attempt:  Attempt(d.uint32()),
		home:     d.partition(),
		at:       Millis(d.uvarint()),
		order:    d.uvarint(),
		version:  Version(d.uvarint()),
		cost:     d.uvarint(),
	}
	if flags&txnAcceptor != 0 {
		r.acceptor = acceptor{promised: d.ballot(), acceptedAt: d.ballot(), accepted: d.decision()}
	}
	if flags&txnUnanswered != 0 {
		d.fixed(r.token[:])
		r.open = d.openTxn()
	}
	r.body = d.uvarint()
	if !r.split() {
		inline, d.b = d.b, nil
	}
	err = d.finish()
	if err != nil || r.state == TxnAbsent || r.body > MaxApplyBytes || !r.split() && uint64(len(inline)) != r.body {
		return txnRecord{}, nil, corruptf("record of transaction %v: %v", id, err)
	}
	return r, inline, nil
}

// decodePart decodes the body of a YES: what stood behind the header of its prepare. It aliases body.
func decodePart(id TxnID, body []byte) (*Prepare, error) {
	d := decoder{b: body}
	p := new(Prepare)
	d.prepare(p)
	if err := d.finish(); err != nil {
		return nil, corruptf("prepared part of transaction %v: %v", id, err)
	}
	return p, nil
}

// decodeVote decodes the body of a COMMITTED. It aliases body.
func decodeVote(id TxnID, body []byte) (*Vote, error) {
	d := decoder{b: body}
	v := d.vote()
	if err := d.finish(); err != nil {
		return nil, corruptf("vote of transaction %v: %v", id, err)
	}
	return v, nil
}

// openOf is what others are told of a part.
func openOf(id TxnID, a Attempt, home PartitionID, p *Prepare) *OpenTxn {
	both := new(struct {
		open OpenTxn
		few  [4]PartitionID // of most all participants
	})
	both.open = OpenTxn{
		ID: id, Attempt: a, Protocol: p.Protocol, Home: home, Participants: append(both.few[:0], p.Participants...),
		Token: p.Token != nil, Age: p.Age, Ordered: p.Ordered,
	}
	return &both.open
}
