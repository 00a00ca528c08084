package waitline

import "slices"

// grant takes note of a prepare that is about to be proposed.
func (l *Line) grant(r *Request) {
	r.behind = nil
	if r.Kind != Prepare {
		return
	}
	r.stage = granted
	l.granted++
	l.txns[r.Txn] = r
	for i := range r.Locks {
		q := l.queue(&r.Locks[i])
		q.granted = append(q.granted, r)
	}
}

func (l *Line) enqueue(r *Request) {
	r.stage = waiting
	l.arrivals++
	r.order = l.arrivals
	l.waiting++
	l.bytes += r.Bytes
	if r.prev = l.last; r.prev != nil {
		r.prev.next = r
	} else {
		l.first = r
	}
	l.last = r
	if !r.Txn.IsZero() {
		l.txns[r.Txn] = r
	}
	if r.Kind == Read {
		l.reads++
		return
	}
	for i := range r.Locks {
		if lock := &r.Locks[i]; !lock.Judged {
			q := l.queue(lock)
			q.waiters = append(q.waiters, r)
		}
	}
}

func (l *Line) dequeue(r *Request) {
	r.stage = outside
	l.waiting--
	l.bytes -= r.Bytes
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.last = r.prev
	}
	r.prev, r.next, r.behind = nil, nil, nil
	if l.txns[r.Txn] == r {
		delete(l.txns, r.Txn)
	}
	if r.Kind == Read {
		l.reads--
		return
	}
	for i := range r.Locks {
		if !r.Locks[i].Judged {
			l.leave(&r.Locks[i], func(q *queue) { q.waiters = without(q.waiters, r) })
		}
	}
}

// queue is the queue of a lock's name, made if it is not there.
func (l *Line) queue(lock *Lock) *queue {
	if q := l.find(lock); q != nil {
		return q
	}
	q := &queue{}
	l.queues[name{lock.Space, string(lock.Key)}] = q
	return q
}

// find is the queue of a lock's name, nil if nobody wants it.
func (l *Line) find(lock *Lock) *queue { return l.queues[name{lock.Space, string(lock.Key)}] }

// leave changes a lock's queue and forgets it when it is empty.
func (l *Line) leave(lock *Lock, change func(*queue)) {
	q := l.find(lock)
	if q == nil {
		return
	}
	change(q)
	if len(q.waiters) == 0 && len(q.granted) == 0 {
		delete(l.queues, name{lock.Space, string(lock.Key)})
	}
}

func without(rs []*Request, r *Request) []*Request {
	i := slices.Index(rs, r)
	if i < 0 {
		return rs
	}
	return slices.Delete(rs, i, i+1)
}
