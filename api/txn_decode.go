package api

import (
	"bytes"
	"cmp"
	"errors"
	"time"

	"github.com/ringkv/ringkv/api/internal/strictjson"
)

// DecodeTxn reads the body of POST /v1/txn, strictly: unknown, repeated and wrongly cased members, wrong types, lone
// surrogates, text that is no UTF-8 or follows the end, and members that do not belong where they stand are refused.
// Values may have up to maxValueBytes; 0 means DefaultMaxValueBytes. What it returns obeys every limit of the contract,
// has its protocol and timeout filled in and its times in whole milliseconds; it may share memory with body.
//
// Errors: *InvalidError and *LimitError, which name the place as a JSON pointer such as "/then/3/by".
func DecodeTxn(body []byte, maxValueBytes int64) (*Txn, error) {
	d := txnDecoder{
		Scanner:  strictjson.New(body),
		maxValue: cmp.Or(maxValueBytes, DefaultMaxValueBytes),
		txn:      &Txn{Protocol: ProtocolAuto, Timeout: DefaultTxnTimeout},
	}
	if err := d.decode(); err != nil {
		return nil, refusal(err)
	}
	return d.txn, nil
}

// UnmarshalJSON implements json.Unmarshaler, as strictly as DecodeTxn.
func (t *Txn) UnmarshalJSON(b []byte) error {
	txn, err := DecodeTxn(bytes.Clone(b), 0)
	if err != nil {
		return err
	}
	*t = *txn
	return nil
}

// refusal turns a scanner's error into the API's.
func refusal(err error) error {
	var e *strictjson.Error
	if !errors.As(err, &e) {
		return err
	}
	return &InvalidError{Where: cmp.Or(e.Pointer, "body"), Detail: e.Explain()}
}

// txnDecoder reads one transaction.
type txnDecoder struct {
	*strictjson.Scanner
	txn      *Txn
	maxValue int64 // bytes

	items int   // conditions and operations so far; those over the limit are read and counted, but not kept
	bytes int64 // keys and values so far
}

// The members of a transaction.
const (
	txnIf = iota
	txnThen
	txnElse
	txnProtocol
	txnTimeout
)

var txnMembers = [...]string{txnIf: "if", txnThen: "then", txnElse: "else", txnProtocol: "protocol", txnTimeout: "timeout"}

func (d *txnDecoder) decode() error {
	seen, err := d.Object(txnMembers[:], d.member)
	if err != nil {
		return err
	}
	if err := d.End(); err != nil {
		return err
	}
	if err := d.checkLimits(); err != nil {
		return err
	}
	switch {
	case !seen.Has(txnThen):
		return d.ErrorAt("is missing", "then")
	case len(d.txn.Then) == 0 && len(d.txn.If) == 0:
		return d.ErrorAt("is empty, and there is no condition", "then")
	}
	return nil
}

// checkLimits judges the sums, once all was counted.
func (d *txnDecoder) checkLimits() error {
	switch {
	case d.items > MaxTxnItems:
		return &LimitError{What: "transaction", Limit: MaxTxnItems, Actual: int64(d.items), Unit: "conditions and operations"}
	case d.bytes > MaxTxnBytes:
		return &LimitError{What: "transaction", Limit: MaxTxnBytes, Actual: d.bytes}
	default:
		return nil
	}
}

func (d *txnDecoder) member(place int) (err error) {
	switch place {
	case txnIf:
		return d.conditions()
	case txnThen:
		d.txn.Then, err = d.ops()
	case txnElse:
		d.txn.Else, err = d.ops()
	case txnProtocol:
		d.txn.Protocol, err = d.protocol()
	case txnTimeout:
		d.txn.Timeout, err = d.duration(MinTxnTimeout, MaxTxnTimeout, "is not a duration from 1ms to 60s, such as 500ms or 2s")
	}
	return err
}

func (d *txnDecoder) protocol() (TxnProtocol, error) {
	text, err := d.String()
	if err != nil {
		return "", err
	}
	switch p := TxnProtocol(text); p {
	case ProtocolAuto, Protocol2PC, Protocol3PC:
		return p, nil
	default:
		return "", d.ErrorAt("is none of auto, 2pc, 3pc")
	}
}

func (d *txnDecoder) duration(low, high time.Duration, detail string) (time.Duration, error) {
	return duration(d.Scanner, low, high, detail)
}

// duration reads a Go duration and rounds it up to milliseconds. detail says what is wrong with any other.
func duration(d *strictjson.Scanner, low, high time.Duration, detail string) (time.Duration, error) {
	text, err := d.String()
	if err != nil {
		return 0, err
	}
	t, err := time.ParseDuration(string(text))
	if err != nil || t < low || t > high {
		return 0, d.ErrorAt(detail)
	}
	if rest := t % time.Millisecond; rest != 0 {
		t += time.Millisecond - rest
	}
	return t, nil
}

// keep counts an item, and reports whether there is still room for it.
func (d *txnDecoder) keep() bool {
	d.items++
	return d.items <= MaxTxnItems
}

// name reads a key or the name of a lock.
func (d *txnDecoder) name(b64 bool) ([]byte, error) {
	name, err := d.binary(b64)
	switch {
	case err != nil:
		return nil, err
	case len(name) == 0:
		return nil, d.ErrorAt("is empty; 1 to 1024 bytes are needed")
	case len(name) > MaxKeyBytes:
		return nil, &LimitError{What: d.Pointer(), Limit: MaxKeyBytes, Actual: int64(len(name))}
	}
	return name, nil
}

func (d *txnDecoder) value(b64 bool) ([]byte, error) {
	value, err := d.binary(b64)
	if err != nil {
		return nil, err
	}
	if size := int64(len(value)); size > d.maxValue {
		return nil, &LimitError{What: d.Pointer(), Limit: d.maxValue, Actual: size}
	}
	return value, nil
}

// binary reads a string that stands for itself, or is base64.
func (d *txnDecoder) binary(b64 bool) ([]byte, error) {
	text, err := d.String()
	if err == nil && b64 {
		if text, err = decodeBase64(text); err != nil {
			return nil, d.ErrorAt(err.Error())
		}
	}
	d.bytes += int64(len(text))
	return text, err
}
