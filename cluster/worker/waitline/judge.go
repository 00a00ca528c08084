package waitline

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

// blocker is one that a request would have to wait for: a holder, a granted prepare, or a waiter ahead.
type blocker struct {
	txn     storage.TxnID
	age     storage.Millis
	ordered bool
	waiter  *Request // nil for holders and the granted
}

// maxSearch bounds the look at one request's blockers: who stands behind more may not wait.
const maxSearch = 4096

// judge says whether a new request is granted, may wait, or may not.
func (l *Line) judge(r *Request, h Holders) Verdict {
	if l.refusedAtOnce(r, h) {
		return Pass
	}
	return l.review(r, h, true)
}

// refusedAtOnce reports whether a lock that nobody waits for is held.
func (l *Line) refusedAtOnce(r *Request, h Holders) bool {
	held := false
	for i := range r.Locks {
		lock := &r.Locks[i]
		if !lock.Judged {
			continue
		}
		l.holdersOf(r, lock, h, func(*storage.OpenTxn) bool { held = true; return false })
		held = held || !l.grantedTo(r, lock, func(*Request) bool { return false })
	}
	return held
}

// review looks at one request, new or waiting. Only with fresh are its blockers compared with it: a waiter's blockers
// were, when it came, and those among the waiters only get fewer.
func (l *Line) review(r *Request, h Holders, fresh bool) Verdict {
	r.behind = nil
	compare := fresh && r.Kind == Prepare && !r.Ordered
	if compare {
		l.searches++
	}
	s := search{l: l, r: r, h: h}
	verdict := Grant
	l.blockers(r, h, func(b blocker) bool {
		verdict = Wait
		if b.waiter != nil && r.behind == nil {
			r.behind = b.waiter
		}
		if compare && !l.mayWait(&s, b) {
			verdict = Deny
			return false
		}
		return compare
	})
	return verdict
}

// search compares a parallel attempt with everything that it would wait for.
type search struct {
	l     *Line
	r     *Request
	h     Holders
	steps int
}

// waitsSafely is the rule against circles: a parallel attempt waits only for parallel ones that are younger. A plain
// request ahead holds nothing; to wait behind it is to wait for everything that it waits for. Others may always wait.
func waitsSafely(s *search, b blocker) bool {
	s.steps++
	switch {
	case s.steps > maxSearch:
		return false
	case b.waiter != nil && b.waiter.Kind == Plain:
		return s.behind(b.waiter)
	case b.txn == s.r.Txn: // met behind a plain request: an attempt of its own that is dead
		return true
	}
	return !b.ordered && younger(b, s.r)
}

// behind compares with what a plain request waits for; each is looked at once.
func (s *search) behind(p *Request) bool {
	if p.seen == s.l.searches {
		return true
	}
	p.seen = s.l.searches
	ok := true
	s.l.blockers(p, s.h, func(b blocker) bool {
		ok = s.l.mayWait(s, b)
		return ok
	})
	return ok
}

// younger reports whether b began after r did.
func younger(b blocker, r *Request) bool {
	return cmp.Or(cmp.Compare(b.age, r.Age), b.txn.Compare(r.Txn)) > 0
}

// blockers calls visit for what r waits for, the nearest waiters ahead first, until visit returns false. Some are
// visited more than once.
func (l *Line) blockers(r *Request, h Holders, visit func(blocker) bool) {
	if r.Kind != Read && l.waiting > 0 && !l.waitersAhead(r, visit) {
		return
	}
	for i := range r.Locks {
		if lock := &r.Locks[i]; !lock.Judged && r.Kind != Read {
			if !l.grantedTo(r, lock, func(g *Request) bool { return visit(blockerOf(g, nil)) }) {
				return
			}
		}
	}
	l.holders(r, h, func(o *storage.OpenTxn) bool {
		return visit(blocker{txn: o.ID, age: o.Age, ordered: o.Ordered})
	})
}

func blockerOf(r, waiter *Request) blocker {
	return blocker{txn: r.Txn, age: r.Age, ordered: r.Ordered, waiter: waiter}
}

// waitersAhead visits the waiters in front of r that it conflicts with; false if visit ended it.
func (l *Line) waitersAhead(r *Request, visit func(blocker) bool) bool {
	for i := range r.Locks {
		lock := &r.Locks[i]
		q := l.find(lock)
		if q == nil || lock.Judged {
			continue
		}
		for j := len(q.waiters) - 1; j >= 0; j-- {
			w := q.waiters[j]
			ahead := r.stage != waiting || w.order < r.order
			if ahead && w != r && (lock.Exclusive || w.excludes(lock)) && !visit(blockerOf(w, w)) {
				return false
			}
		}
	}
	return true
}

// grantedTo visits the granted prepares of others that exclude a lock of r; false if visit ended it.
func (l *Line) grantedTo(r *Request, lock *Lock, visit func(*Request) bool) bool {
	if l.granted == 0 {
		return true
	}
	q := l.find(lock)
	if q == nil {
		return true
	}
	for _, g := range q.granted {
		if g.Txn != r.Txn && (lock.Exclusive || g.excludes(lock)) && !visit(g) {
			return false
		}
	}
	return true
}

// excludes reports whether r wants a lock's name for itself.
func (r *Request) excludes(lock *Lock) bool {
	i, ok := slices.BinarySearchFunc(r.Locks, *lock, compareLocks)
	return ok && r.Locks[i].Exclusive
}

// holders visits the holders of locks that r waits for, itself not among them.
func (l *Line) holders(r *Request, h Holders, visit func(*storage.OpenTxn) bool) {
	more := true
	for i := 0; i < len(r.Locks) && more; i++ {
		if lock := &r.Locks[i]; !lock.Judged {
			l.holdersOf(r, lock, h, func(o *storage.OpenTxn) bool {
				more = visit(o)
				return more
			})
		}
	}
}

func (l *Line) holdersOf(r *Request, lock *Lock, h Holders, visit func(*storage.OpenTxn) bool) {
	h.Holders(lock.Space, lock.Key, lock.Exclusive, func(o *storage.OpenTxn) bool {
		return o.ID == r.Txn || l.letsBehind(o, r) || visit(o)
	})
}

// letsBehind reports whether r may be proposed although o still holds.
func (l *Line) letsBehind(o *storage.OpenTxn, r *Request) bool {
	if len(l.leaving) == 0 || l.reads > 0 || r.Kind == Read {
		return false
	}
	_, leaves := l.leaving[o.ID]
	return leaves
}

// holds is the attempt of r's own transaction that holds locks which r asks for, 0 if none does. All attempts of a
// transaction take the same locks, so any of them tells.
func holds(r *Request, h Holders) storage.Attempt {
	var own storage.Attempt
	if len(r.Locks) == 0 {
		return 0
	}
	h.Holders(r.Locks[0].Space, r.Locks[0].Key, true, func(o *storage.OpenTxn) bool {
		if o.ID == r.Txn {
			own = o.Attempt
		}
		return own == 0
	})
	return own
}
