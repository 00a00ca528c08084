package storage

import (
	"encoding/binary"
	"errors"
)

const resultFormat = 1

// AppendResult appends the encoding of r to dst.
func AppendResult(dst []byte, r Result) []byte {
	dst = append(dst, resultFormat, byte(r.Status))
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	return binary.AppendUvarint(dst, uint64(r.Count))
}

// DecodeResult decodes what AppendResult made; anything else is ErrMalformed.
func DecodeResult(b []byte) (Result, error) {
	d := decoder{b: b}
	if d.byte() != resultFormat {
		d.fail(errBadFormat)
	}
	r := Result{Status: Status(d.byte()), Version: Version(d.uvarint()), Count: d.uint32()}
	if r.Status > StatusExpired {
		d.fail(errors.New("unknown status"))
	}
	if err := d.finish(); err != nil {
		return Result{}, malformed("result", err)
	}
	return r, nil
}

// String names the status for logs and tests.
func (s Status) String() string {
	switch s {
	case StatusInvalid:
		return "invalid"
	case StatusCreated:
		return "created"
	case StatusReplaced:
		return "replaced"
	case StatusDeleted:
		return "deleted"
	case StatusAbsent:
		return "absent"
	case StatusConditionFailed:
		return "condition-failed"
	case StatusExpired:
		return "expired"
	}
	return "unknown"
}
