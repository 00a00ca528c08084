package storage

import (
	"encoding/binary"
	"errors"
)

// Limits of a command. An encoding beyond them decodes, and is applied as StatusInvalid.
const (
	MaxKeyBytes         = 1024
	MaxValueBytes       = 8 << 20 // the hard limit; a cluster's own limit is lower
	MaxContentTypeBytes = 1024
	MaxTTL              = 1 << 52 // milliseconds
	maxClock            = 1 << 52
)

const commandFormat = 1

// clockOffset is where the clock stands in an encoding: behind the format and the kind, in 8 bytes.
const clockOffset = 2

// The flags of a put or a delete. The numbers are on disk: append only.
const (
	flagKeepTTL = 1 << iota
	flagTTL
	flagContentType
	flagIfMatch
	flagIfMatchAny
	flagIfNoneMatch
	flagIfNoneMatchAny
)

const (
	conditionFlags = flagIfMatch | flagIfMatchAny | flagIfNoneMatch | flagIfNoneMatchAny
	putFlags       = conditionFlags | flagKeepTTL | flagTTL | flagContentType
)

// AppendCommand appends the encoding of c to dst. Fields that c.Kind has no use for are left out. A transaction command has
// its Txn, a prepare and a single its Prepare, a command about a lease its Lease.
func AppendCommand(dst []byte, c *Command) []byte {
	if dst == nil {
		dst = make([]byte, 0, c.size())
	}
	dst = append(dst, commandFormat, byte(c.Kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Clock))
	switch c.Kind {
	case KindPut:
		return appendPut(dst, c)
	case KindDelete:
		return appendCondition(appendBytes(append(dst, conditionBits(&c.Cond)), c.Key), &c.Cond)
	case KindExpire, KindPurge, KindSweep, KindLapse:
		return binary.AppendUvarint(dst, uint64(c.Limit))
	}
	if isTxnKind(c.Kind) {
		return appendTxn(dst, c.Kind, c.Txn)
	}
	if isLeaseKind(c.Kind) {
		return appendLeaseCommand(dst, c.Kind, c.Lease)
	}
	return dst
}

// size is about the length of the encoding of c.
func (c *Command) size() int {
	const head = 48 // beside keys and values
	n := head + len(c.Key) + len(c.Value) + len(c.ContentType)
	if c.Txn != nil {
		n += c.Txn.size()
	}
	return n
}

// StampClock sets the clock of an encoded command in place: a command is encoded where the request arrives, and the
// leader stamps it when it proposes. Anything too short to be a command is left alone.
func StampClock(b []byte, clock Millis) {
	if len(b) >= clockOffset+8 {
		binary.BigEndian.PutUint64(b[clockOffset:], uint64(clock))
	}
}

// ClockOf returns the clock of an encoded command, false for what is too short to be one.
func ClockOf(b []byte) (Millis, bool) {
	if len(b) < clockOffset+8 {
		return 0, false
	}
	return Millis(binary.BigEndian.Uint64(b[clockOffset:])), true
}

// NeedsSpace reports whether an encoded command may add more to the disk than a few cells of bookkeeping. A prepare that
// DenyCommand has stamped does not.
func NeedsSpace(cmd []byte) bool {
	if len(cmd) < clockOffset {
		return false
	}
	switch Kind(cmd[1]) {
	case KindPut, KindAcquire:
		return true
	case KindPrepare, KindSingle:
		return len(cmd) <= denyOffset || Reason(cmd[denyOffset]) == NoReason
	}
	return false
}

func appendPut(dst []byte, c *Command) []byte {
	flags := conditionBits(&c.Cond)
	if c.KeepTTL {
		flags |= flagKeepTTL
	}
	if c.TTL != 0 {
		flags |= flagTTL
	}
	if c.ContentType != "" {
		flags |= flagContentType
	}
	dst = appendCondition(appendBytes(append(dst, flags), c.Key), &c.Cond)
	if c.TTL != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.TTL))
	}
	if c.ContentType != "" {
		dst = binary.AppendUvarint(dst, uint64(len(c.ContentType)))
		dst = append(dst, c.ContentType...)
	}
	return appendBytes(dst, c.Value)
}

func conditionBits(c *Condition) byte {
	var flags byte
	if c.IfMatch != nil {
		flags |= flagIfMatch
	}
	if c.IfMatchAny {
		flags |= flagIfMatchAny
	}
	if c.IfNoneMatch != nil {
		flags |= flagIfNoneMatch
	}
	if c.IfNoneMatchAny {
		flags |= flagIfNoneMatchAny
	}
	return flags
}

func appendCondition(dst []byte, c *Condition) []byte {
	if c.IfMatch != nil {
		dst = appendVersions(dst, c.IfMatch)
	}
	if c.IfNoneMatch != nil {
		dst = appendVersions(dst, c.IfNoneMatch)
	}
	return dst
}

func appendVersions(dst []byte, vs []Version) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(vs)))
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	return dst
}

// DecodeCommand decodes what AppendCommand made. Byte slices alias b. Anything else is ErrMalformed: an unknown format,
// kind or flag, trailing bytes, a second encoding of the same command.
func DecodeCommand(b []byte) (Command, error) {
	d, c := decoder{b: b}, Command{}
	if k := kindOf(b); isTxnKind(k) {
		c.Txn = new(TxnCommand)
		if k == KindPrepare || k == KindSingle {
			c.Txn.Prepare = new(Prepare)
		}
	}
	if err := d.command(&c); err != nil {
		return Command{}, err
	}
	return c, nil
}

// kindOf returns the kind of an encoded command, KindInvalid of what is too short to be one.
func kindOf(b []byte) Kind {
	if len(b) < clockOffset {
		return KindInvalid
	}
	return Kind(b[1])
}

// command decodes into c, which is empty but for a Txn to be used if it is of a transaction.
func (d *decoder) command(c *Command) error {
	if d.byte() != commandFormat {
		d.fail(errBadFormat)
	}
	c.Kind, c.Clock = Kind(d.byte()), Millis(d.uint64())
	txn := c.Txn
	c.Txn = nil
	switch c.Kind {
	case KindPut:
		d.put(c)
	case KindDelete:
		flags := d.flags(conditionFlags)
		c.Key = d.bytes()
		d.condition(flags, &c.Cond)
	case KindExpire, KindPurge, KindSweep, KindLapse:
		c.Limit = d.uint32()
	default:
		d.rest(c, txn)
	}
	if err := d.finish(); err != nil {
		return malformed("command", err)
	}
	return nil
}

func (d *decoder) rest(c *Command, txn *TxnCommand) {
	switch {
	case isTxnKind(c.Kind):
		c.Txn = txn
		d.txn(c.Kind, txn)
	case isLeaseKind(c.Kind):
		c.Lease = d.leaseCommand(c.Kind)
	default:
		d.fail(errKind)
	}
}

func (d *decoder) put(c *Command) {
	flags := d.flags(putFlags)
	c.Key = d.bytes()
	d.condition(flags, &c.Cond)
	c.KeepTTL = flags&flagKeepTTL != 0
	if flags&flagTTL != 0 {
		if c.TTL = Millis(d.uvarint()); c.TTL == 0 {
			d.fail(errors.New("a TTL of 0 stands for none"))
		}
	}
	if flags&flagContentType != 0 {
		if c.ContentType = string(d.bytes()); c.ContentType == "" {
			d.fail(errors.New("an empty content type stands for none"))
		}
	}
	c.Value = d.bytes()
}

func (d *decoder) flags(known byte) byte {
	f := d.byte()
	if f&^known != 0 {
		d.fail(errBadFlags)
	}
	return f
}

func (d *decoder) condition(flags byte, c *Condition) {
	c.IfMatchAny = flags&flagIfMatchAny != 0
	c.IfNoneMatchAny = flags&flagIfNoneMatchAny != 0
	if flags&flagIfMatch != 0 {
		c.IfMatch = d.versions()
	}
	if flags&flagIfNoneMatch != 0 {
		c.IfNoneMatch = d.versions()
	}
}

// versions returns a non-nil list; its length is bounded by the input, as every version takes a byte of it.
func (d *decoder) versions() []Version {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		return nil
	}
	vs := make([]Version, 0, n)
	for range n {
		vs = append(vs, Version(d.uvarint()))
	}
	return vs
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.fail(errors.New("over 32 bits"))
	}
	return uint32(v)
}

// valid tells whether a decoded command is within the limits. One that is not changes nothing but the applied index.
func (c *Command) valid() bool {
	if c.Clock > maxClock {
		return false
	}
	switch c.Kind {
	case KindExpire, KindPurge, KindSweep, KindLapse:
		return true
	case KindPut:
		return validKey(c.Key) && len(c.Value) <= MaxValueBytes && len(c.ContentType) <= MaxContentTypeBytes &&
			c.TTL <= MaxTTL && !(c.KeepTTL && c.TTL != 0)
	case KindDelete:
		return validKey(c.Key)
	}
	if isLeaseKind(c.Kind) {
		return c.validLease()
	}
	return c.Txn != nil && c.validTxn()
}

func validKey(key []byte) bool { return len(key) > 0 && len(key) <= MaxKeyBytes }
