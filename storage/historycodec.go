package storage

import "github.com/ringkv/ringkv/ring"

// History is a piece of what happened in a partition: everything behind the index that it was asked for, up to Through.
type History struct {
	Changes []Change // whole entries, in order
	Through uint64
}

// The flags of a change on its way between nodes. Append only.
const (
	wireLast = 1 << iota
	wireValue
	wireTxn
	wireFlags = 1<<iota - 1
)

// AppendHistory appends the encoding of h to dst: Through, the number of changes, and each of them.
func AppendHistory(dst []byte, h *History) []byte {
	dst = appendUvarints(dst, h.Through, uint64(len(h.Changes)))
	for i := range h.Changes {
		dst = appendChange(dst, &h.Changes[i])
	}
	return dst
}

func appendChange(dst []byte, c *Change) []byte {
	flags := boolByte(c.Last)*wireLast | boolByte(c.Value != nil)*wireValue | boolByte(!c.Txn.IsZero())*wireTxn
	dst = appendUvarints(append(dst, byte(c.Kind), flags), c.Index, uint64(c.Number), uint64(c.Version))
	dst = appendBytes(dst, c.Key)
	if c.Value != nil {
		dst = appendBytes(dst, c.Value)
	}
	if !c.Txn.IsZero() {
		dst = appendUvarints(dst, uint64(c.Txn.Node), uint64(c.Txn.Incarnation), c.Txn.Seq, uint64(c.Home))
	}
	return dst
}

// DecodeHistory decodes what AppendHistory made; anything else is ErrMalformed. Keys and values alias b.
func DecodeHistory(b []byte) (History, error) {
	d := decoder{b: b}
	h := History{Through: d.uvarint()}
	if n := d.count(); n > 0 {
		h.Changes = make([]Change, n)
	}
	for i := range h.Changes {
		d.changeInto(&h.Changes[i])
	}
	if err := d.finish(); err != nil {
		return History{}, malformed("history", err)
	}
	return h, nil
}

func (d *decoder) changeInto(c *Change) {
	c.Kind = ChangeKind(d.byte())
	if c.Kind < ChangePut || c.Kind > ChangeExpire {
		d.fail(errEnum)
	}
	flags := d.flags(wireFlags)
	c.Last = flags&wireLast != 0
	c.Index, c.Number, c.Version = d.uvarint(), d.uint32(), Version(d.uvarint())
	c.Key = d.bytes()
	if flags&wireValue != 0 {
		c.Value = d.bytes()
	}
	if flags&wireTxn != 0 {
		c.Txn = TxnID{Node: ring.NodeID(d.uint32()), Incarnation: d.uint32(), Seq: d.uvarint()}
		c.Home = d.partition()
		if c.Txn.IsZero() {
			d.fail(errEmpty)
		}
	}
}
