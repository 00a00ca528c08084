package txn

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// reply takes a group's answer. What a group says of a final state is evidence in every phase; what it says of a ballot
// only for the present one.
func (r *Recovery) reply(ev *Reply) {
	i := r.roster.find(ev.From)
	if i < 0 || ev.Reply == nil || r.phase == RecoveryIdle || r.phase == RecoveryFinished {
		return
	}
	r.effects.Alarm = ev.Reply.Alarm
	switch a := ev.Reply; a.Kind {
	case storage.ReplyYes:
		r.yes(i, a)
	case storage.ReplyNo:
		r.no(i, ev)
	case storage.ReplyCommitted:
		r.committed(i, a)
	case storage.ReplyGone:
		r.gone()
	case storage.ReplyAck:
		r.ack(i, ev)
	case storage.ReplySuperseded:
		if r.phase == RecoveryAborting {
			r.roster.groups[i].acked = true
		}
	case storage.ReplyPromise:
		r.promise(i, a)
	case storage.ReplyAccepted:
		r.accepted(i, a)
	case storage.ReplyNack:
		r.nack(a)
	}
}

func (r *Recovery) yes(i int, a *storage.TxnReply) {
	if a.Attempt == r.open.Attempt && a.Vote != nil { // R2
		r.vote(i, a.Vote)
		r.votesIn()
	}
}

func (r *Recovery) vote(i int, v *storage.Vote) {
	if g := &r.roster.groups[i]; g.vote == nil {
		g.vote = v
	}
	if r.phase == RecoveryCommitting {
		r.complete()
	}
}

// no: sealed, superseded or NO(a), the attempt can never commit. The answer to an earlier attempt's command, late on its
// way to the coordinator that this recovery was, says nothing about this one (R2).
func (r *Recovery) no(i int, ev *Reply) {
	a := ev.Reply
	if !a.Sealed && ev.Ref.Attempt != r.open.Attempt {
		return
	}
	if r.phase == RecoveryCommitting {
		r.effects.Alarm = "I1"
		return
	}
	if r.phase != RecoveryAborting {
		r.abort()
	}
	if a.Sealed {
		r.sealed(i)
	}
}

// sealed: no attempt of the transaction will ever be prepared in this group, so none ever commits (R7).
func (r *Recovery) sealed(i int) {
	r.conclude(ConcludeAborted)
	r.roster.groups[i].acked = true
}

func (r *Recovery) committed(i int, a *storage.TxnReply) {
	if a.Attempt != r.open.Attempt || r.phase == RecoveryAborting {
		r.effects.Alarm = "I1"
		return
	}
	if r.phase != RecoveryCommitting {
		r.commit(a.Decision)
	}
	if a.Vote != nil {
		r.vote(i, a.Vote)
	}
	r.roster.groups[i].acked = true
}

// gone is evidence of an end, not of which (R8).
func (r *Recovery) gone() {
	r.conclude(ConcludeGone)
	r.finish()
}

// ack of an abort without Sealed is a GONE's, which is no evidence of an abort (R8).
func (r *Recovery) ack(i int, ev *Reply) {
	final := r.phase == RecoveryAborting && ev.Ref.Kind == storage.KindAbort && ev.Ref.Final
	switch {
	case final && ev.Reply.Sealed:
		r.sealed(i)
	case final:
		r.gone()
	case r.phase == RecoveryCommitting && ev.Ref.Kind == storage.KindCommit:
		r.roster.groups[i].committed(ev)
	}
}

func (r *Recovery) promise(i int, a *storage.TxnReply) {
	if a.Attempt != r.open.Attempt || a.Ballot != r.ballot {
		return
	}
	if a.Vote != nil {
		r.vote(i, a.Vote)
	}
	if r.phase != RecoveryAsking {
		return
	}
	e := &r.parts[i]
	e.promised, e.value, e.acceptedAt = true, a.Accepted, a.AcceptedAt
	if r.count(func(e *evidence) bool { return e.promised }) >= r.roster.majority() {
		r.phase, r.decision = RecoveryProposing, r.value()
	}
}

// value is what a majority's promises leave to propose: the value accepted at the highest ballot, else abort.
func (r *Recovery) value() storage.Decision {
	var best *evidence
	for i := range r.parts {
		e := &r.parts[i]
		if e.promised && e.value != storage.Undecided && (best == nil || best.acceptedAt.Compare(e.acceptedAt) < 0) {
			best = e
		}
	}
	if best == nil {
		return storage.DecideAbort
	}
	return best.value
}

func (r *Recovery) count(is func(*evidence) bool) int {
	n := 0
	for i := range r.parts {
		if is(&r.parts[i]) {
			n++
		}
	}
	return n
}

func (r *Recovery) accepted(i int, a *storage.TxnReply) {
	if r.phase != RecoveryProposing || a.Attempt != r.open.Attempt || a.Ballot != r.ballot {
		return
	}
	r.parts[i].accepted = true
	if r.count(func(e *evidence) bool { return e.accepted }) < r.roster.majority() {
		return
	}
	if r.decision == storage.DecideAbort {
		r.abort()
		return
	}
	r.commit(r.decision)
}

// nack: another recoverer's ballot is higher. A pause that differs between recoverers lets one of them through.
func (r *Recovery) nack(a *storage.TxnReply) {
	if r.phase != RecoveryAsking && r.phase != RecoveryProposing || a.Attempt != r.open.Attempt {
		return
	}
	if a.Ballot.Compare(r.ballot) <= 0 {
		return // of an earlier round of ours
	}
	r.highest = max(r.highest, a.Ballot.Round)
	r.phase = RecoveryPausing
	r.resume = r.now.Add(r.random.upTo(backoff(5*time.Millisecond, 500*time.Millisecond, int(min(r.ballot.Round, 10)))))
}
