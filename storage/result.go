package storage

import (
	"encoding/binary"
	"errors"
)

const resultFormat = 1

// hasReply tells which results carry a TxnReply.
func (s Status) hasReply() bool { return s == StatusBlocked || s == StatusTxn }

// AppendResult appends the encoding of r to dst. r.Txn is there exactly if the status is StatusBlocked or
// StatusTxn, r.Lease if it is StatusLease.
func AppendResult(dst []byte, r Result) []byte {
	dst = append(dst, resultFormat, byte(r.Status))
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	dst = binary.AppendUvarint(dst, uint64(r.Count))
	if r.Status.hasReply() {
		dst = appendReply(dst, r.Txn)
	}
	if r.Status == StatusLease {
		dst = appendLeaseReply(dst, r.Lease)
	}
	return dst
}

// DecodeResult decodes what AppendResult made; anything else is ErrMalformed. Byte slices alias b.
func DecodeResult(b []byte) (Result, error) {
	d := decoder{b: b}
	if d.byte() != resultFormat {
		d.fail(errBadFormat)
	}
	r := Result{Status: Status(d.byte()), Version: Version(d.uvarint()), Count: d.uint32()}
	if r.Status > StatusPurged {
		d.fail(errors.New("unknown status"))
	}
	if r.Status.hasReply() {
		r.Txn = d.reply()
	}
	if r.Status == StatusLease {
		r.Lease = d.leaseReply()
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
	case StatusBlocked:
		return "blocked"
	case StatusTxn:
		return "txn"
	case StatusSwept:
		return "swept"
	case StatusLease:
		return "lease"
	case StatusPurged:
		return "purged"
	}
	return "unknown"
}
