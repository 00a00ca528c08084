package storage

import (
	"cmp"
	"fmt"

	"github.com/ringkv/ringkv/ring"
)

// Leases are what clients call locks. In this package a lock is a transaction's, and lasts for milliseconds; a lease is a
// client's, has an owner and a time to live, and outlives everything but its end. Who waits for a lease is replicated
// state as well: a change of leaders loses neither a waiter nor its place. DESIGN.md says what ends what.

// Limits of leases. A command beyond them is applied as StatusInvalid.
const (
	MaxOwnerBytes = 256
	MaxLeaseTTL   = Millis(24 * 60 * 60 * 1000)
	MaxLeaseWait  = Millis(10 * 60 * 1000)
	MaxLapse      = 64   // what one lapse ends, whatever its Limit
	MaxQueue      = 1024 // waiters for one lease
	MaxWaiters    = 8192 // waiters of one partition
)

// WaiterTTL is how long it is remembered, on the partition's clock, that a waiter came to its end of which a
// duplicate may still be under way: longer than any message is.
const WaiterTTL Millis = 60 * 1000

// WaiterID names one wish for a lease: the node that brings it, that node's incarnation and a counter from 1. An acquire
// may be repeated under it: it has one effect.
type WaiterID struct {
	Node        ring.NodeID
	Incarnation uint32
	Number      uint64
}

// Compare orders by node, incarnation and counter.
func (w WaiterID) Compare(o WaiterID) int {
	return cmp.Or(cmp.Compare(w.Node, o.Node), cmp.Compare(w.Incarnation, o.Incarnation), cmp.Compare(w.Number, o.Number))
}

// String is for logs.
func (w WaiterID) String() string { return fmt.Sprintf("%d.%d.%d", w.Node, w.Incarnation, w.Number) }

// LeaseCommand is what the kinds from KindAcquire to KindRelease carry.
type LeaseCommand struct {
	Name   []byte
	Waiter WaiterID // acquire, cancel
	Again  bool     // acquire: not the first time under this Waiter
	Owner  string   // acquire: 1 to MaxOwnerBytes bytes
	TTL    Millis   // acquire; renew: 0 means as before
	Wait   Millis   // acquire: how long it may wait; 0: not at all
	Token  Version  // renew, release: the fencing token
}

// LeaseReplyKind is how a command about a lease ended. The numbers travel between nodes: append only.
type LeaseReplyKind uint8

// The replies.
const (
	LeaseGranted   LeaseReplyKind = 1 // acquire, renew
	LeaseQueued    LeaseReplyKind = 2 // acquire: it waits; an event will tell
	LeaseHeld      LeaseReplyKind = 3 // acquire: somebody else has it, and the wait is over; Owner and TTL are the holder's
	LeaseFull      LeaseReplyKind = 4 // acquire: too many wait; nothing was done
	LeaseOver      LeaseReplyKind = 5 // acquire: the waiter was cancelled or had its lease already; cancel: done
	LeaseLost      LeaseReplyKind = 6 // renew, release: the token's lease has ended
	LeaseReleased  LeaseReplyKind = 7
	LeaseLapsed    LeaseReplyKind = 8 // lapse
	lastLeaseReply                = LeaseLapsed
)

// LeaseReply is what applying a command about a lease answered; it is the same on every replica.
type LeaseReply struct {
	Kind  LeaseReplyKind
	Token Version // granted
	TTL   Millis  // granted; held: what is left of the holder's
	Owner string  // granted, held: the holder
	// Before: granted, by an earlier acquire of the same waiter, who may long have heard of it.
	Before bool
	// Events are what became of waiters by this command, in the order in which it happened.
	Events []LeaseEvent
}

// LeaseEvent ends a wait: LeaseGranted, LeaseHeld or LeaseOver.
type LeaseEvent struct {
	Waiter WaiterID
	Name   string // of the lease
	Kind   LeaseReplyKind
	Token  Version // granted
	TTL    Millis  // granted; held: what is left of the holder's
	Owner  string  // granted, held: the holder
}

// Reply is the event as the answer to the waiter's acquire.
func (e *LeaseEvent) Reply() *LeaseReply {
	return &LeaseReply{Kind: e.Kind, Token: e.Token, TTL: e.TTL, Owner: e.Owner}
}

// Waiting is one who waits for a lease.
type Waiting struct {
	Waiter WaiterID
	Name   string
}

// lease is a lease's record; owner aliases its cell.
type lease struct {
	token    Version // 0: nobody has it
	holder   WaiterID
	again    bool   // a duplicate of the holder's acquire may be under way
	ttl      Millis // as asked for
	deadline Millis // when it lapses
	owner    []byte
}

func (r *lease) held() bool { return r.token != 0 }

// left is what is left of the lease's time, at most the TTL. At its end, before the lapse, it still counts as a little.
func (r *lease) left(clock Millis) Millis {
	if r.deadline <= clock {
		return 1
	}
	return min(r.deadline-clock, r.ttl)
}

// waiter is one who waits, as it is in memory and in the engine.
type waiter struct {
	id      WaiterID
	name    string
	arrival uint64 // index of the entry that brought it: who waits for the same lease is served in this order
	owner   string
	ttl     Millis
	until   Millis // when its wait ends
	again   bool   // a duplicate of its acquire may be under way
}

func isLeaseKind(k Kind) bool { return k >= KindAcquire && k <= KindRelease }

// validLease tells whether a decoded command about a lease is within the limits.
func (c *Command) validLease() bool {
	l := c.Lease
	if !validKey(l.Name) {
		return false
	}
	switch c.Kind {
	case KindAcquire:
		return l.Waiter.valid() && l.Owner != "" && len(l.Owner) <= MaxOwnerBytes &&
			l.TTL > 0 && l.TTL <= MaxLeaseTTL && l.Wait <= MaxLeaseWait
	case KindCancel:
		return l.Waiter.valid()
	case KindRenew:
		return l.TTL <= MaxLeaseTTL
	}
	return true // release: a token that nobody has is lost
}

func (w WaiterID) valid() bool { return w.Node != 0 && w.Incarnation != 0 && w.Number != 0 }
