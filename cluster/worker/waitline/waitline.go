// Package waitline decides who waits for whom in one group: the commit protocol's section 6. A line belongs to the
// group's leader and lives in its memory; nothing in it decides an outcome, and nothing is lost when it goes.
//
// It is pure: requests go in, verdicts come out. It has no clock (deadlines are compared with the time passed in), no
// I/O and no goroutine. It does not know what holds a lock for good; Holders tells it. What it adds to that are the
// granted prepares: proposed, not yet applied, so that a second one is not proposed into a certain conflict.
//
// It guarantees that waiting over any number of groups never closes a circle, as long as every leader asks its line, and that
// nobody is overtaken by a request that it conflicts with.
package waitline

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/ringkv/ringkv/storage"
)

// Kind is how a request takes part in waiting.
type Kind uint8

// The kinds.
const (
	Prepare Kind = iota + 1 // holds its locks from the grant on
	Plain                   // a put, a delete, a transaction of one group: holds nothing while it waits, nor afterwards
	Read                    // waits for holders only; nobody waits for it
)

// Lock is what a request needs on one name.
type Lock struct {
	Space     storage.LockSpace
	Key       []byte // not changed by anybody while the request is in the line
	Exclusive bool
	// Judged is set where the participant answers a conflict at once: nobody waits for it.
	Judged bool
}

// Merge sorts locks by name and makes one of those on the same name, the exclusive one if there is any. It reorders its
// argument and returns a part of it.
func Merge(locks []Lock) []Lock {
	slices.SortFunc(locks, compareLocks)
	out := locks[:0]
	for _, l := range locks {
		if n := len(out); n > 0 && compareLocks(out[n-1], l) == 0 {
			out[n-1].Exclusive = out[n-1].Exclusive || l.Exclusive
			continue
		}
		out = append(out, l)
	}
	return out
}

func compareLocks(a, b Lock) int {
	return cmp.Or(cmp.Compare(a.Space, b.Space), bytes.Compare(a.Key, b.Key))
}

// Request is one that asks for its turn. The fields up to Owner are the caller's; from Submit on only Deadline may change.
type Request struct {
	Kind     Kind
	Locks    []Lock        // as Merge gave them
	Txn      storage.TxnID // zero for a plain write or a read
	Attempt  storage.Attempt
	Age      storage.Millis // Prepare: smaller is older
	Ordered  bool           // Prepare: an attempt that takes its groups one after another
	Deadline time.Duration  // when it is denied at the latest, on the clock of Expire; 0 means never
	Bytes    int            // what it keeps in memory, counted against Limits
	Owner    any            // for the caller

	// Holds is set by Submit: the lower attempt of the same transaction that holds locks here, or is about to, 0 if none.
	// If the request has to Wait, the caller sees to their release, for those ahead may be waiting for them. That attempt
	// is dead, or this one would not have begun (R1).
	Holds storage.Attempt

	stage      stage
	order      uint64   // of arrival
	prev, next *Request // in the line
	behind     *Request // a waiter that it waits for, if one is known: nothing else needs a look before that has left
	seen       uint64   // the search that has looked at it
}

type stage uint8

const (
	outside stage = iota
	waiting
	granted // a prepare, until Release
)

// Verdict is what becomes of a request.
type Verdict uint8

// The verdicts.
const (
	// Grant: propose it, or serve it. A granted Prepare is to be released.
	Grant Verdict = iota + 1
	// Wait: it is in the line.
	Wait
	// Deny: it may not wait, or has waited long enough, or the line is full, or a newer attempt is known. A transaction
	// is told NO (conflict).
	Deny
	// Pass: propose it, the participant will refuse it. Nothing is to be released.
	Pass
)

// Decision is the verdict about a request that waited: Grant or Deny.
type Decision struct {
	Request *Request
	Verdict Verdict
}

// Holders are the transactions that hold locks in the state machine: a *storage.LockTable.
type Holders interface {
	// Holders calls visit for every transaction that holds a lock on the name which excludes the one asked for, until
	// visit returns false.
	Holders(space storage.LockSpace, key []byte, exclusive bool, visit func(*storage.OpenTxn) bool)
}

// Limits bound a line. Whoever comes to a full one is denied.
type Limits struct {
	Requests int // that wait; default 1024
	Bytes    int // of those that wait, the last one not counted; default 4 MiB
}

// Line is one group's arrival order. The zero Line is not ready; see New. It is not safe for concurrent use.
type Line struct {
	limits      Limits
	first, last *Request // those that wait
	waiting     int
	reads       int // of those that wait
	bytes       int
	granted     int
	arrivals    uint64
	queues      map[name]*queue
	txns        map[storage.TxnID]*Request // prepares, waiting or granted
	leaving     map[storage.TxnID]struct{} // holders whose commit is proposed
	searches    uint64
	changed     bool // a holder appeared that nobody was judged by

	// mayWait is waitsSafely; tests put broken rules in its place.
	mayWait func(s *search, b blocker) bool
}

type name struct {
	space storage.LockSpace
	key   string
}

// queue is who wants a name.
type queue struct {
	waiters []*Request // Prepare and Plain, in order of arrival
	granted []*Request // Prepare
}

// New is an empty line.
func New(limits Limits) *Line {
	if limits.Requests == 0 {
		limits.Requests = 1024
	}
	if limits.Bytes == 0 {
		limits.Bytes = 4 << 20
	}
	return &Line{limits: limits, queues: make(map[name]*queue), txns: make(map[storage.TxnID]*Request),
		leaving: make(map[storage.TxnID]struct{}), mayWait: waitsSafely}
}

// Idle reports whether nobody waits and nothing is granted: then only Holders can be in a request's way.
func (l *Line) Idle() bool { return l.waiting == 0 && l.granted == 0 }

// Waiting is how many requests wait.
func (l *Line) Waiting() int { return l.waiting }

// Wanted reports whether a name is in the line: where it is not, only Holders can be in the way of a request for it.
func (l *Line) Wanted(space storage.LockSpace, key []byte) bool {
	return len(l.queues) > 0 && l.queues[name{space, string(key)}] != nil
}

// Of returns the prepare of a transaction that waits or is granted, nil if there is none: a coordinator that sends
// again has its duplicate answered together with that one.
func (l *Line) Of(t storage.TxnID) *Request { return l.txns[t] }

// Submit judges a new request. A Prepare's lower attempts must have been withdrawn before.
func (l *Line) Submit(r *Request, h Holders) Verdict {
	if r.Kind == Prepare {
		if r.Holds = holds(r, h); r.Holds >= r.Attempt {
			return Pass // a duplicate of what was applied: the participant answers from its record
		}
		if old := l.txns[r.Txn]; old != nil && !l.succeed(old, r) {
			return Deny
		}
	}
	v := l.judge(r, h)
	switch {
	case v == Grant:
		l.grant(r)
	case v == Wait && (l.waiting >= l.limits.Requests || l.bytes >= l.limits.Bytes):
		return Deny
	case v == Wait:
		l.enqueue(r)
	}
	return v
}

// succeed lets a newer attempt of a transaction take the place of one that was granted: the older one's entry is in the
// log before that of the new one, or of its abort. It reports false where r is no newer or the older one still waits.
func (l *Line) succeed(old, r *Request) bool {
	if old.stage != granted || old.Attempt >= r.Attempt {
		return false
	}
	r.Holds = old.Attempt
	l.Release(old)
	return true
}

// Release ends a grant: the prepare was applied, so that Holders knows it or nobody does, or it will never be. It
// reports false, and does nothing, if r has no grant (any more).
func (l *Line) Release(r *Request) bool {
	if r.stage != granted {
		return false
	}
	r.stage = outside
	l.granted--
	if l.txns[r.Txn] == r {
		delete(l.txns, r.Txn)
	}
	for i := range r.Locks {
		l.leave(&r.Locks[i], func(q *queue) { q.granted = without(q.granted, r) })
	}
	return true
}

// Leaving tells that the commit of a holder is proposed. What is proposed from now on is applied behind it, so the holder
// is in the way of nobody but reads, which see what is applied. Where a read waits nobody is let behind, or there might
// never be a moment at which a key is free. Serve is due afterwards. Should the commit get lost, those
// let behind it are judged when they are applied, like everybody.
func (l *Line) Leaving(t storage.TxnID) { l.leaving[t] = struct{}{} }

// Left ends Leaving: the commit was applied, or it will never be.
func (l *Line) Left(t storage.TxnID) { delete(l.leaving, t) }

// Surprise tells that a transaction holds locks which no grant of this line gave it. Those who wait for it now were not
// judged by it; the next Serve does.
func (l *Line) Surprise() { l.changed = true }

// Serve appends the decisions about those who wait that are due, in order of arrival: grants, and denials after a
// Surprise. It is to be called after everything that can end a wait: applied entries, Release, Withdraw, Expire.
func (l *Line) Serve(h Holders, dst []Decision) []Decision {
	fresh := l.changed
	l.changed = false
	var next *Request
	for r := l.first; r != nil; r = next {
		next = r.next
		if !fresh && r.behind != nil && r.behind.stage == waiting {
			continue
		}
		switch l.review(r, h, fresh) {
		case Grant:
			l.dequeue(r)
			l.grant(r)
			dst = append(dst, Decision{r, Grant})
		case Deny:
			l.dequeue(r)
			dst = append(dst, Decision{r, Deny})
		}
	}
	return dst
}

// Withdraw denies the prepare of t that waits, if its attempt is at most a: it is dead. Serve is due afterwards.
func (l *Line) Withdraw(t storage.TxnID, a storage.Attempt, dst []Decision) []Decision {
	if len(l.txns) == 0 {
		return dst
	}
	r := l.txns[t]
	if r == nil || r.stage != waiting || r.Attempt > a {
		return dst
	}
	l.dequeue(r)
	return append(dst, Decision{r, Deny})
}

// Expire denies those whose time is over. Serve is due afterwards.
func (l *Line) Expire(now time.Duration, dst []Decision) []Decision {
	var next *Request
	for r := l.first; r != nil; r = next {
		next = r.next
		if r.Deadline != 0 && r.Deadline <= now {
			l.dequeue(r)
			dst = append(dst, Decision{r, Deny})
		}
	}
	return dst
}

// Clear forgets everything, because the leadership is lost. It appends those who waited, in order of arrival.
func (l *Line) Clear(dst []*Request) []*Request {
	for l.first != nil {
		dst = append(dst, l.first)
		l.dequeue(l.first)
	}
	for _, q := range l.queues {
		for _, r := range q.granted {
			r.stage = outside
		}
	}
	clear(l.queues)
	clear(l.txns)
	clear(l.leaving)
	l.granted, l.changed = 0, false
	return dst
}

// WaitedFor calls visit for the holders that somebody waits for, some of them more than once.
func (l *Line) WaitedFor(h Holders, visit func(*storage.OpenTxn)) {
	for r := l.first; r != nil; r = r.next {
		if r.behind != nil && r.behind.stage == waiting {
			continue // whom that one waits for is visited
		}
		l.holders(r, h, func(o *storage.OpenTxn) bool {
			visit(o)
			return true
		})
	}
}
