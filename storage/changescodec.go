package storage

import "github.com/ringkv/ringkv/ring"

// The data of Changes is entries, each a head and its changes: tag, version, key and, under tagPut, value. Integers are
// uvarints, keys and values have their lengths before them. The numbers are on disk: append only.
const (
	tagPut          = 1 // with the value
	tagDelete       = 2
	tagExpire       = 3
	tagPutElsewhere = 4  // a put whose value is too long
	tagEntry        = 16 // a head: the index, less Changes.From
	tagTxnEntry     = 17 // the same, then node, incarnation, seq and home of the transaction
)

// DecodeChanges returns the changes of the entries behind index after, in order. They alias c.Data. Anything that a
// Partition would not have recorded is ErrMalformed.
func DecodeChanges(c Changes, after uint64) ([]Change, error) {
	d := changesDecoder{decoder: decoder{b: c.Data}, from: c.From, index: c.From}
	var out []Change
	for len(d.b) > 0 {
		ch, ok := d.next(c.Through)
		if !ok || ch.Index <= after {
			continue
		}
		if n := len(out); n > 0 {
			out[n-1].Last = out[n-1].Index != ch.Index
		}
		out = append(out, ch)
	}
	if d.empty { // a head without a change
		d.fail(errEmpty)
	}
	if err := d.finish(); err != nil {
		return nil, malformed("changes", err)
	}
	if n := len(out); n > 0 {
		out[n-1].Last = true
	}
	return out, nil
}

type changesDecoder struct {
	decoder
	from, index uint64
	number      uint32
	empty       bool
	txn         TxnID
	home        PartitionID
}

// next reads a head or a change; false if it was a head.
func (d *changesDecoder) next(through uint64) (Change, bool) {
	tag := d.byte()
	if tag == tagEntry || tag == tagTxnEntry {
		d.head(tag, through)
		return Change{}, false
	}
	c := Change{Index: d.index, Number: d.number, Version: Version(d.uvarint()), Key: d.bytes(), Txn: d.txn, Home: d.home}
	switch tag {
	case tagPut:
		c.Kind, c.Value = ChangePut, d.bytes()
	case tagPutElsewhere:
		c.Kind = ChangePut
	case tagDelete:
		c.Kind = ChangeDelete
	case tagExpire:
		c.Kind, c.Txn, c.Home = ChangeExpire, TxnID{}, 0
	default:
		d.fail(errEnum)
	}
	if d.index == d.from { // no head yet
		d.fail(errEnum)
	}
	d.number++
	d.empty = false
	return c, d.err == nil
}

func (d *changesDecoder) head(tag byte, through uint64) {
	index := d.from + d.uvarint()
	if d.empty || index <= d.index || index > through {
		d.fail(errEmpty)
	}
	d.index, d.number, d.empty = index, 0, true
	d.txn, d.home = TxnID{}, 0
	if tag == tagTxnEntry {
		d.txn = TxnID{Node: ring.NodeID(d.uint32()), Incarnation: d.uint32(), Seq: d.uvarint()}
		d.home = d.partition()
		if d.txn.IsZero() {
			d.fail(errEmpty)
		}
	}
}
