package storage

// LockSpace says what a lock's name names.
type LockSpace uint8

// The spaces: names in different spaces never conflict.
const (
	ItemSpace  LockSpace = 0 // the key of an item
	NameSpace  LockSpace = 1 // the name of a lock, in conditions about fencing tokens
	TokenSpace LockSpace = 2 // an idempotency token, by Token.Key
	lockSpaces           = 3
)

// CommandHeader is what a leader needs to know of a command before it proposes it.
type CommandHeader struct {
	Kind Kind

	// Of the transaction commands.
	ID      TxnID
	Attempt Attempt
	Home    PartitionID
	Mark    uint64

	// Of KindPrepare and KindSingle.
	Protocol Protocol
	Age      Millis
	Ordered  bool
	Deny     Reason
}

// CommandKeys reads the header of an encoded command and visits everything that it needs a lock on, or would need if it
// took any: the keys of a put, a delete, a prepare and a single, the
// name of an acquire, a cancel and a release. A key may be visited more than once; if any of the visits
// is exclusive, the lock is. key aliases b. With a nil visit only the header is read. It allocates nothing, but for
// bounds of additions. ErrMalformed where b does not decode as far as it was read.
func CommandKeys(b []byte, visit func(space LockSpace, key []byte, exclusive bool)) (CommandHeader, error) {
	d := decoder{b: b}
	if d.byte() != commandFormat {
		d.fail(errBadFormat)
	}
	h := CommandHeader{Kind: Kind(d.byte())}
	d.uint64()
	switch {
	case h.Kind == KindPut || h.Kind == KindDelete:
		d.byte()
		if key := d.bytes(); visit != nil && d.err == nil {
			visit(ItemSpace, key, true)
		}
	case h.Kind == KindExpire || h.Kind == KindPurge || h.Kind == KindSweep || h.Kind == KindLapse:
	case isLeaseKind(h.Kind):
		name := d.bytes()
		if h.Kind != KindRenew { // which changes nothing that a transaction sees
			d.visitName(visit, name)
		}
	case isTxnKind(h.Kind):
		d.peekTxn(&h, visit)
	default:
		d.fail(errKind)
	}
	if d.err != nil {
		return CommandHeader{}, malformed("command", d.err)
	}
	return h, nil
}

func (d *decoder) peekTxn(h *CommandHeader, visit func(LockSpace, []byte, bool)) {
	var t TxnCommand
	d.txnHeader(&t)
	h.ID, h.Attempt, h.Home, h.Mark = t.ID, t.Attempt, t.Home, t.Mark
	if h.Kind != KindPrepare && h.Kind != KindSingle {
		return
	}
	var p Prepare
	flags := d.prepareHead(&p)
	h.Protocol, h.Age, h.Ordered, h.Deny = p.Protocol, p.Age, p.Ordered, p.Deny
	if visit == nil || d.err != nil {
		return
	}
	for range d.count() {
		d.partition()
	}
	if flags&prepareToken != 0 {
		d.peekToken(visit)
	}
	for range d.items() {
		var c TxnCondition
		d.txnCondition(&c)
		d.visit(visit, c.space(), c.Key, false)
	}
	d.peekOps(visit)
	if p.HasElse {
		d.peekOps(visit)
	}
}

func (d *decoder) peekToken(visit func(LockSpace, []byte, bool)) {
	var t Token
	if len(d.b) < len(t.Key)+len(t.Body) {
		d.fail(errShort)
		return
	}
	visit(TokenSpace, d.b[:len(t.Key)], true)
	d.b = d.b[len(t.Key)+len(t.Body):]
}

func (d *decoder) peekOps(visit func(LockSpace, []byte, bool)) {
	for range d.items() {
		var op TxnOp
		d.txnOp(&op)
		d.visit(visit, ItemSpace, op.Key, op.Kind != OpGet)
	}
}

func (d *decoder) visitName(visit func(LockSpace, []byte, bool), name []byte) {
	if visit != nil {
		d.visit(visit, NameSpace, name, true)
	}
}

func (d *decoder) visit(visit func(LockSpace, []byte, bool), space LockSpace, key []byte, exclusive bool) {
	if d.err == nil {
		visit(space, key, exclusive)
	}
}

// space is where the lock of a condition is.
func (c *TxnCondition) space() LockSpace {
	if c.Test == TestToken {
		return NameSpace
	}
	return ItemSpace
}

// DenyCommand stamps an encoded prepare or single in place: where it would be judged when it is applied, it votes NO for
// reason r. A leader does so instead of holding it back, so that the refusal is a vote (R3). Anything else is left alone.
func DenyCommand(b []byte, r Reason) {
	if len(b) > denyOffset && (Kind(b[1]) == KindPrepare || Kind(b[1]) == KindSingle) {
		b[denyOffset] = byte(r)
	}
}
