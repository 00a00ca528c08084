package api

import (
	"fmt"
	"math"

	"github.com/ringkv/ringkv/api/internal/strictjson"
)

// The members of a condition.
const (
	condKey = iota
	condKeyB64
	condLock
	condLockB64
	condVersion
	condExists
	condValue
	condValueB64
	condToken
)

var condMembers = [...]string{
	condKey: "key", condKeyB64: "key_b64", condLock: "lock", condLockB64: "lock_b64",
	condVersion: "version", condExists: "exists", condValue: "value", condValueB64: "value_b64", condToken: "token",
}

func (d *txnDecoder) conditions() error {
	return d.Array(func(int) error {
		c, err := d.condition()
		if err == nil && d.keep() {
			d.txn.If = append(d.txn.If, c)
		}
		return err
	})
}

func (d *txnDecoder) condition() (c TxnCondition, err error) {
	seen, err := d.Object(condMembers[:], func(place int) error { return d.condMember(&c, place) })
	if err == nil {
		err = d.checkCondition(seen)
	}
	return c, err
}

func (d *txnDecoder) condMember(c *TxnCondition, place int) (err error) {
	switch place {
	case condKey, condKeyB64:
		c.Key, err = d.name(place == condKeyB64)
		return err
	case condLock, condLockB64:
		c.Key, err = d.name(place == condLockB64)
		return err
	case condVersion:
		var n int64
		n, err = d.Int(0, int64(MaxVersion))
		c.Test, c.Version = TestVersion, Version(n)
	case condExists:
		var exists bool
		if exists, err = d.Bool(); exists {
			c.Test = TestExists
		} else {
			c.Test = TestAbsent
		}
	case condValue, condValueB64:
		c.Test = TestValue
		c.Value, err = d.value(place == condValueB64)
	case condToken:
		var n int64
		n, err = d.Int(1, int64(MaxVersion))
		c.Test, c.Token = TestToken, FencingToken(n)
	}
	return err
}

// checkCondition checks that a condition has one subject and one test, which fit each other.
func (d *txnDecoder) checkCondition(seen strictjson.Members) error {
	if err := d.exactlyOne(seen, condMembers[:], "key, key_b64, lock and lock_b64", condKey, condKeyB64, condLock, condLockB64); err != nil {
		return err
	}
	onLock := seen.Has(condLock, condLockB64)
	switch {
	case onLock && seen.Has(condVersion, condExists, condValue, condValueB64):
		return d.ErrorAt("has a test of a key; the test of a lock is its token")
	case onLock && !seen.Has(condToken):
		return d.ErrorAt("has no test: the token is missing")
	case !onLock && seen.Has(condToken):
		return d.ErrorAt("is the test of a lock, not of a key", "token")
	case onLock:
		return nil
	default:
		return d.exactlyOne(seen, condMembers[:], "version, exists, value and value_b64", condVersion, condExists, condValue, condValueB64)
	}
}

// exactlyOne checks that there is one of places, which are listed in words.
func (d *txnDecoder) exactlyOne(seen strictjson.Members, names []string, words string, places ...int) error {
	count, last := 0, 0
	for _, place := range places {
		if seen.Has(place) {
			count, last = count+1, place
		}
	}
	switch count {
	case 0:
		return d.ErrorAt("has none of " + words)
	case 1:
		return nil
	default:
		return d.ErrorAt("is one too many: only one of "+words+" may stand here", names[last])
	}
}

// The members of an operation.
const (
	opOp = iota
	opKey
	opKeyB64
	opValue
	opValueB64
	opTTL
	opKeepTTL
	opBy
	opMin
	opMax
)

var opMembers = [...]string{
	opOp: "op", opKey: "key", opKeyB64: "key_b64", opValue: "value", opValueB64: "value_b64",
	opTTL: "ttl", opKeepTTL: "keepttl", opBy: "by", opMin: "min", opMax: "max",
}

// ops reads a branch; the result is never nil.
func (d *txnDecoder) ops() ([]TxnOp, error) {
	const usual = 2 // a transfer
	ops := make([]TxnOp, 0, usual)
	err := d.Array(func(int) error {
		op, err := d.op()
		if err == nil && d.keep() {
			ops = append(ops, op)
		}
		return err
	})
	return ops, err
}

func (d *txnDecoder) op() (op TxnOp, err error) {
	seen, err := d.Object(opMembers[:], func(place int) error { return d.opMember(&op, place) })
	if err == nil {
		err = d.checkOp(&op, seen)
	}
	return op, err
}

func (d *txnDecoder) opMember(op *TxnOp, place int) (err error) {
	switch place {
	case opOp:
		op.Kind, err = d.opKind()
	case opKey, opKeyB64:
		op.Key, err = d.name(place == opKeyB64)
	case opValue, opValueB64:
		op.Value, err = d.value(place == opValueB64)
	case opTTL:
		op.TTL, err = d.duration(MinTTL, MaxTTL, "is not a duration from 1ms to 87600h, such as 30s or 1h30m")
	case opKeepTTL:
		op.KeepTTL, err = d.Bool()
	case opBy:
		op.By, err = d.Int(math.MinInt64, math.MaxInt64)
	case opMin:
		op.Min, err = d.bound()
	case opMax:
		op.Max, err = d.bound()
	}
	return err
}

func (d *txnDecoder) opKind() (TxnOpKind, error) {
	text, err := d.String()
	if err != nil {
		return "", err
	}
	for _, kind := range [...]TxnOpKind{OpGet, OpPut, OpDelete, OpAdd} {
		if string(kind) == string(text) {
			return kind, nil
		}
	}
	return "", d.ErrorAt("is none of get, put, delete, add")
}

func (d *txnDecoder) bound() (*int64, error) {
	n, err := d.Int(math.MinInt64, math.MaxInt64)
	return &n, err
}

// checkOp checks that an operation has all that it needs and nothing that belongs to another.
func (d *txnDecoder) checkOp(op *TxnOp, seen strictjson.Members) error {
	if !seen.Has(opOp) {
		return d.ErrorAt("is missing", "op")
	}
	if err := d.exactlyOne(seen, opMembers[:], "key and key_b64", opKey, opKeyB64); err != nil {
		return err
	}
	for place := opValue; place <= opMax; place++ {
		if seen.Has(place) && !belongs(op.Kind, place) {
			return d.ErrorAt(fmt.Sprintf("does not belong to %q", op.Kind), opMembers[place])
		}
	}
	switch op.Kind {
	case OpPut:
		return d.checkPut(op, seen)
	case OpAdd:
		if !seen.Has(opBy) {
			return d.ErrorAt("is missing", "by")
		}
	}
	return nil
}

func (d *txnDecoder) checkPut(op *TxnOp, seen strictjson.Members) error {
	if err := d.exactlyOne(seen, opMembers[:], "value and value_b64", opValue, opValueB64); err != nil {
		return err
	}
	if op.KeepTTL && seen.Has(opTTL) {
		return d.ErrorAt("cannot stand beside ttl", "keepttl")
	}
	return nil
}

// belongs reports whether a member beside op and key belongs to an operation of that kind.
func belongs(kind TxnOpKind, place int) bool {
	switch kind {
	case OpPut:
		return place <= opKeepTTL
	case OpAdd:
		return place >= opBy
	default:
		return false
	}
}
