package storage

import (
	"encoding/binary"

	"github.com/ringkv/ringkv/ring"
)

const leaseFormat = 1

// The flags of lease and waiter records. The numbers are on disk: append only.
const leaseAgain = 1

// appendLeaseCommand appends what stands behind the clock.
func appendLeaseCommand(dst []byte, k Kind, l *LeaseCommand) []byte {
	dst = appendBytes(dst, l.Name)
	switch k {
	case KindAcquire:
		dst = append(appendWaiterID(dst, l.Waiter), boolByte(l.Again))
		dst = appendBytes(dst, []byte(l.Owner))
		dst = binary.AppendUvarint(dst, uint64(l.TTL))
		return binary.AppendUvarint(dst, uint64(l.Wait))
	case KindCancel:
		return appendWaiterID(dst, l.Waiter)
	case KindRenew:
		dst = binary.AppendUvarint(dst, uint64(l.Token))
		return binary.AppendUvarint(dst, uint64(l.TTL))
	}
	return binary.AppendUvarint(dst, uint64(l.Token))
}

func (d *decoder) leaseCommand(k Kind) *LeaseCommand {
	l := &LeaseCommand{Name: d.bytes()}
	switch k {
	case KindAcquire:
		l.Waiter, l.Again = d.waiterID(), d.bool()
		l.Owner = string(d.bytes())
		l.TTL, l.Wait = Millis(d.uvarint()), Millis(d.uvarint())
	case KindCancel:
		l.Waiter = d.waiterID()
	case KindRenew:
		l.Token, l.TTL = Version(d.uvarint()), Millis(d.uvarint())
	default:
		l.Token = Version(d.uvarint())
	}
	return l
}

func appendWaiterID(dst []byte, w WaiterID) []byte {
	dst = binary.AppendUvarint(dst, uint64(w.Node))
	dst = binary.AppendUvarint(dst, uint64(w.Incarnation))
	return binary.AppendUvarint(dst, w.Number)
}

func (d *decoder) waiterID() WaiterID {
	return WaiterID{Node: ring.NodeID(d.uint32()), Incarnation: d.uint32(), Number: d.uvarint()}
}

func appendLeaseReply(dst []byte, r *LeaseReply) []byte {
	dst = append(appendLeaseAnswer(dst, r.Kind, r.Token, r.TTL, r.Owner), boolByte(r.Before))
	dst = binary.AppendUvarint(dst, uint64(len(r.Events)))
	for i := range r.Events {
		e := &r.Events[i]
		dst = appendLeaseAnswer(appendBytes(appendWaiterID(dst, e.Waiter), []byte(e.Name)), e.Kind, e.Token, e.TTL, e.Owner)
	}
	return dst
}

func appendLeaseAnswer(dst []byte, k LeaseReplyKind, token Version, ttl Millis, owner string) []byte {
	dst = binary.AppendUvarint(append(dst, byte(k)), uint64(token))
	dst = binary.AppendUvarint(dst, uint64(ttl))
	return appendBytes(dst, []byte(owner))
}

func (d *decoder) leaseReply() *LeaseReply {
	r := &LeaseReply{}
	r.Kind, r.Token, r.TTL, r.Owner = d.leaseAnswer()
	r.Before = d.enum(1) == 1
	for range d.count() {
		e := LeaseEvent{Waiter: d.waiterID(), Name: string(d.bytes())}
		e.Kind, e.Token, e.TTL, e.Owner = d.leaseAnswer()
		r.Events = append(r.Events, e)
	}
	return r
}

func (d *decoder) leaseAnswer() (k LeaseReplyKind, token Version, ttl Millis, owner string) {
	return LeaseReplyKind(d.enum(byte(lastLeaseReply))), Version(d.uvarint()), Millis(d.uvarint()), string(d.bytes())
}

// appendLease appends the cell of a lease.
func appendLease(dst []byte, r *lease) []byte {
	dst = append(dst, leaseFormat, boolByte(r.again)*leaseAgain)
	dst = binary.AppendUvarint(dst, uint64(r.token))
	dst = binary.AppendUvarint(dst, uint64(r.ttl))
	dst = binary.AppendUvarint(dst, uint64(r.deadline))
	return appendBytes(appendWaiterID(dst, r.holder), r.owner)
}

func decodeLease(cell []byte) (lease, error) {
	d := decoder{b: cell}
	if d.byte() != leaseFormat {
		d.fail(errBadFormat)
	}
	r := lease{again: d.flags(leaseAgain) != 0, token: Version(d.uvarint()), ttl: Millis(d.uvarint()), deadline: Millis(d.uvarint())}
	r.holder, r.owner = d.waiterID(), d.bytes()
	if err := d.finish(); err != nil || r.token == 0 {
		return lease{}, corruptf("lease record: %v", err)
	}
	return r, nil
}

// appendWaiter appends the cell of a waiter.
func appendWaiter(dst []byte, w *waiter) []byte {
	dst = append(dst, leaseFormat, boolByte(w.again)*leaseAgain)
	dst = binary.AppendUvarint(dst, w.arrival)
	dst = binary.AppendUvarint(dst, uint64(w.ttl))
	dst = binary.AppendUvarint(dst, uint64(w.until))
	return appendBytes(appendBytes(dst, []byte(w.name)), []byte(w.owner))
}

func decodeWaiter(id WaiterID, cell []byte) (*waiter, error) {
	d := decoder{b: cell}
	if d.byte() != leaseFormat {
		d.fail(errBadFormat)
	}
	w := &waiter{id: id, again: d.flags(leaseAgain) != 0, arrival: d.uvarint(), ttl: Millis(d.uvarint()), until: Millis(d.uvarint())}
	w.name, w.owner = string(d.bytes()), string(d.bytes())
	if err := d.finish(); err != nil {
		return nil, corruptf("waiter %v: %v", id, err)
	}
	return w, nil
}

func decodeDone(cell []byte) (Millis, error) {
	d := decoder{b: cell}
	due := Millis(d.uvarint())
	if err := d.finish(); err != nil {
		return 0, corruptf("record of a waiter's end: %v", err)
	}
	return due, nil
}
