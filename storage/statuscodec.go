package storage

import "encoding/binary"

// statusOpen is the flag of a TxnStatus that has an OpenTxn. The number travels between nodes.
const statusOpen = 1

// AppendTxnStatus appends the encoding of s to dst.
func AppendTxnStatus(dst []byte, s *TxnStatus) []byte {
	dst = append(dst, byte(s.State), byte(s.Reason), byte(s.Decision), boolByte(s.Open != nil)*statusOpen)
	dst = binary.AppendUvarint(dst, uint64(s.Attempt))
	if s.Open != nil {
		dst = appendOpenTxn(dst, s.Open)
	}
	return dst
}

// DecodeTxnStatus decodes what AppendTxnStatus made; anything else is ErrMalformed.
func DecodeTxnStatus(b []byte) (TxnStatus, error) {
	d := decoder{b: b}
	s := TxnStatus{State: TxnState(d.enum(byte(TxnGone))), Reason: Reason(d.enum(byte(DiskFull))), Decision: d.decision()}
	flags := d.flags(statusOpen)
	s.Attempt = Attempt(d.uint32())
	if flags&statusOpen != 0 {
		s.Open = d.openTxn()
	}
	if err := d.finish(); err != nil {
		return TxnStatus{}, malformed("transaction status", err)
	}
	return s, nil
}
