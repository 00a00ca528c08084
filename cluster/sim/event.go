package sim

import (
	"cmp"
	"container/heap"
	"time"
)

// event is something that will happen at a moment of virtual time. Events of one moment happen in the order in which
// they were planned.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// agenda is a heap of events, the next one first.
type agenda []event

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(a[i].at, a[j].at), cmp.Compare(a[i].seq, a[j].seq)) < 0
}

func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push is as heap.Interface says.
func (a *agenda) Push(x any) { *a = append(*a, x.(event)) }

// Pop is as heap.Interface says.
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*a = old[:len(old)-1]
	return last
}

// after plans do for d from now.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.agenda, event{w.now + d, w.seq, do})
}

// run lets events happen until the moment end, or until one has found a violation.
func (w *world) run(end time.Duration) {
	for len(w.agenda) > 0 && w.agenda[0].at <= end && w.violation == nil {
		e := heap.Pop(&w.agenda).(event)
		w.now = e.at
		w.events++
		e.do()
	}
	if w.violation == nil {
		w.now = max(w.now, end)
	}
}

// between draws a duration from [lo, hi).
func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// chance is true with probability p.
func (w *world) chance(p float64) bool { return w.rng.Float64() < p }
