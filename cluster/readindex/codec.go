package readindex

import (
	"encoding/binary"
	"errors"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// ErrMalformed is returned for what is no question or answer.
var ErrMalformed = errors.New("malformed question about leaderships")

// AppendQuestion appends: number u64, and of each claim group u16, replica u64, term u64; all big-endian.
func AppendQuestion(dst []byte, q *Question) []byte {
	dst = binary.BigEndian.AppendUint64(dst, q.Number)
	for _, c := range q.Claims {
		dst = binary.BigEndian.AppendUint16(dst, uint16(c.Group))
		dst = binary.BigEndian.AppendUint64(dst, uint64(c.Replica))
		dst = binary.BigEndian.AppendUint64(dst, c.Term)
	}
	return dst
}

const claimBytes = 2 + 8 + 8

// DecodeQuestion reads what AppendQuestion wrote. The error is ErrMalformed.
func DecodeQuestion(b []byte) (Question, error) {
	if len(b) < 8 || (len(b)-8)%claimBytes != 0 {
		return Question{}, ErrMalformed
	}
	q := Question{Number: binary.BigEndian.Uint64(b)}
	for b = b[8:]; len(b) > 0; b = b[claimBytes:] {
		q.Claims = append(q.Claims, Claim{
			Group:   ring.PartitionID(binary.BigEndian.Uint16(b)),
			Replica: replica.ID(binary.BigEndian.Uint64(b[2:])),
			Term:    binary.BigEndian.Uint64(b[10:]),
		})
	}
	return q, nil
}

// AppendAnswer appends: number, run, moves u64, and of each denied claim its place u32; all big-endian.
func AppendAnswer(dst []byte, a *Answer) []byte {
	dst = binary.BigEndian.AppendUint64(dst, a.Number)
	dst = binary.BigEndian.AppendUint64(dst, a.Moment.Run)
	dst = binary.BigEndian.AppendUint64(dst, a.Moment.Moves)
	for _, i := range a.Denied {
		dst = binary.BigEndian.AppendUint32(dst, uint32(i))
	}
	return dst
}

// DecodeAnswer reads what AppendAnswer wrote. The error is ErrMalformed.
func DecodeAnswer(b []byte) (Answer, error) {
	if len(b) < 24 || len(b)%4 != 0 {
		return Answer{}, ErrMalformed
	}
	a := Answer{Number: binary.BigEndian.Uint64(b), Moment: Moment{
		Run: binary.BigEndian.Uint64(b[8:]), Moves: binary.BigEndian.Uint64(b[16:]),
	}}
	for b = b[24:]; len(b) > 0; b = b[4:] {
		a.Denied = append(a.Denied, int(binary.BigEndian.Uint32(b)))
	}
	return a, nil
}
