package serial

import (
	"fmt"
	"slices"
	"sync"
)

// Recorder collects a history while clients run. All its methods, and those of its handles, may be called at once from
// several goroutines.
type Recorder struct {
	now func() Time

	mu     sync.Mutex // guards what follows, for all handles too
	last   Time
	txns   []Txn
	misuse error // the first
}

// NewRecorder makes an empty one. Now is the clock, real or virtual; it may stand still between calls: moments are
// recorded in the order in which they came, one nanosecond apart at least.
func NewRecorder(now func() Time) *Recorder { return &Recorder{now: now} }

// Handle is a transaction that has begun. It is ended once: by Commit, Abort or Unknown. What is never ended is unknown.
type Handle struct {
	recorder *Recorder
	at       int // place in txns
	ended    bool
}

// Begin is called before anything is sent. What reads saw is given to Commit. The ops are copied.
func (r *Recorder) Begin(client Client, ops ...Op) *Handle {
	ops = slices.Clone(ops)
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &Handle{recorder: r, at: len(r.txns)}
	r.txns = append(r.txns, Txn{ID: TxnID(h.at), Client: client, Invoked: r.stamp(now), Ops: ops})
	return h
}

// Commit is called after the answer that the transaction has committed. Reads are the lists that it saw, one for each
// read in the order of its operations; they are kept and must not change.
func (h *Handle) Commit(reads ...[]Value) { h.end(Committed, reads) }

// Abort is called after the answer that the transaction certainly has no effect and never will.
func (h *Handle) Abort() { h.end(Aborted, nil) }

// Unknown is called when it is clear that no answer will say what happened.
func (h *Handle) Unknown() { h.end(Unknown, nil) }

// History is all that began so far, in that order; what has not ended is Unknown. The error is ErrMalformed, if a handle
// was ended twice or with a wrong number of reads.
func (r *Recorder) History() ([]Txn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.txns), r.misuse
}

func (h *Handle) end(o Outcome, reads [][]Value) {
	r := h.recorder
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.txns[h.at]
	if h.ended {
		r.blame("%v ended a second time", t.ID)
		return
	}
	h.ended = true
	t.Outcome, t.Returned = o, r.stamp(now)
	if o == Committed {
		r.fill(t, reads)
	}
}

// fill sets what the reads of t saw, in a copy: a history that was given away keeps its own.
func (r *Recorder) fill(t *Txn, reads [][]Value) {
	t.Ops = slices.Clone(t.Ops)
	n := 0
	for i := range t.Ops {
		if t.Ops[i].Kind != OpRead {
			continue
		}
		if n < len(reads) {
			t.Ops[i].Seen = reads[n]
		}
		n++
	}
	if n != len(reads) {
		r.blame("%v committed with %d lists for %d reads", t.ID, len(reads), n)
	}
}

// stamp makes moments strictly increase in the order of the calls. That invents no order: who was stamped first had
// answered, or not yet asked, before the other.
func (r *Recorder) stamp(now Time) Time {
	r.last = max(r.last+1, now)
	return r.last
}

func (r *Recorder) blame(format string, args ...any) {
	if r.misuse == nil {
		r.misuse = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}
