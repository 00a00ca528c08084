package storage

import "encoding/binary"

// The flags of an operation. The numbers are on disk: append only.
const (
	opTTL     = 1 << 0 // put
	opKeepTTL = 1 << 1 // put
	opMin     = 1 << 0 // add
	opMax     = 1 << 1 // add
	opFlags   = 3
)

func appendTxnCondition(dst []byte, c *TxnCondition) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.Index))
	dst = appendBytes(append(dst, byte(c.Test)), c.Key)
	switch c.Test {
	case TestVersion, TestToken:
		dst = binary.AppendUvarint(dst, uint64(c.Want))
	case TestValue:
		dst = appendBytes(dst, c.Value)
	}
	return dst
}

func (d *decoder) txnCondition(c *TxnCondition) {
	c.Index = d.uint32()
	c.Test = Test(d.byte())
	c.Key = d.bytes()
	switch c.Test {
	case TestVersion, TestToken:
		c.Want = Version(d.uvarint())
	case TestValue:
		c.Value = d.bytes()
	case TestExists, TestAbsent:
	default:
		d.fail(errEnum)
	}
}

func appendTxnOps(dst []byte, ops []TxnOp) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ops)))
	for i := range ops {
		dst = appendTxnOp(dst, &ops[i])
	}
	return dst
}

// txnOps decodes operations into memory, if that suffices.
func (d *decoder) txnOps(memory []TxnOp) []TxnOp {
	ops := sized(memory, d.items())
	for i := range ops {
		ops[i] = TxnOp{}
		d.txnOp(&ops[i])
	}
	return ops
}

func appendTxnOp(dst []byte, op *TxnOp) []byte {
	dst = binary.AppendUvarint(dst, uint64(op.Index))
	dst = appendBytes(append(dst, byte(op.Kind)), op.Key)
	switch op.Kind {
	case OpPut:
		return appendPutOp(dst, op)
	case OpAdd:
		return appendAddOp(dst, op)
	}
	return dst
}

func (d *decoder) txnOp(op *TxnOp) {
	op.Index = d.uint32()
	op.Kind = OpKind(d.byte())
	op.Key = d.bytes()
	switch op.Kind {
	case OpPut:
		d.putOp(op)
	case OpAdd:
		d.addOp(op)
	case OpGet, OpDelete:
	default:
		d.fail(errEnum)
	}
}

func appendPutOp(dst []byte, op *TxnOp) []byte {
	dst = append(dst, boolByte(op.TTL != 0)*opTTL|boolByte(op.KeepTTL)*opKeepTTL)
	if op.TTL != 0 {
		dst = binary.AppendUvarint(dst, uint64(op.TTL))
	}
	return appendBytes(dst, op.Value)
}

func (d *decoder) putOp(op *TxnOp) {
	flags := d.flags(opFlags)
	op.KeepTTL = flags&opKeepTTL != 0
	if flags&opTTL != 0 {
		if op.TTL = Millis(d.uvarint()); op.TTL == 0 {
			d.fail(errEmpty)
		}
	}
	op.Value = d.bytes()
}

func appendAddOp(dst []byte, op *TxnOp) []byte {
	dst = append(dst, boolByte(op.Min != nil)*opMin|boolByte(op.Max != nil)*opMax)
	dst = binary.AppendUvarint(dst, zigzag(op.By))
	if op.Min != nil {
		dst = binary.AppendUvarint(dst, zigzag(*op.Min))
	}
	if op.Max != nil {
		dst = binary.AppendUvarint(dst, zigzag(*op.Max))
	}
	return dst
}

func (d *decoder) addOp(op *TxnOp) {
	flags := d.flags(opFlags)
	op.By = unzigzag(d.uvarint())
	if flags&opMin != 0 {
		op.Min = d.bound()
	}
	if flags&opMax != 0 {
		op.Max = d.bound()
	}
}

func (d *decoder) bound() *int64 {
	v := unzigzag(d.uvarint())
	if d.draft == nil {
		return new(v)
	}
	d.draft.bounds = append(d.draft.bounds, v) // where that moves, those before stay valid
	return &d.draft.bounds[len(d.draft.bounds)-1]
}

// zigzag makes numbers near 0 short, whatever their sign.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
