package txn

import (
	"slices"
	"time"

	"github.com/ringkv/ringkv/storage"
)

// How long a core waits before it sends a command again. A call that the network lost is noticed by its Failed, so
// silence is answered late; it is often a prepare that waits in its leader's line.
const (
	silencePause    = time.Second
	maxSilencePause = 4 * time.Second
	failurePause    = 20 * time.Millisecond
	maxFailurePause = time.Second
	answerLimit     = 5 * time.Second // Send.Until of what need not wait in a line
)

// group is what a core knows of one participant, and what it is asking it at the moment: one command at a time, sent
// again until it is answered or another one is wanted.
type group struct {
	id     storage.PartitionID
	vote   *storage.Vote // of the attempt in hand
	acked  bool          // acknowledged a final state (R9)
	filled bool          // keeps the idempotency token's answer

	asking Ref // the zero Ref: nothing
	tries  int
	due    time.Time // send again then
}

// roster is the participants of one core.
type roster struct {
	groups []group
}

func newRoster(ids []storage.PartitionID) roster {
	r := roster{groups: make([]group, len(ids))}
	for i, id := range ids {
		r.groups[i].id = id
	}
	return r
}

// find returns the index of a participant, -1 for a stranger.
func (r *roster) find(id storage.PartitionID) int {
	return slices.IndexFunc(r.groups, func(g group) bool { return g.id == id })
}

func (r *roster) all(is func(g *group) bool) bool {
	for i := range r.groups {
		if !is(&r.groups[i]) {
			return false
		}
	}
	return true
}

func (r *roster) allVoted() bool { return r.all(func(g *group) bool { return g.vote != nil }) }
func (r *roster) allAcked() bool { return r.all(func(g *group) bool { return g.acked }) }

func (r *roster) votes() []*storage.Vote {
	vs := make([]*storage.Vote, len(r.groups))
	for i := range r.groups {
		vs[i] = r.groups[i].vote
	}
	return vs
}

// majority is more than half of the participants.
func (r *roster) majority() int { return len(r.groups)/2 + 1 }

// ask makes ref what the group is asked. It returns true when the command is to be sent now.
func (g *group) ask(ref Ref, now time.Time) bool {
	if ref != g.asking {
		g.asking, g.tries, g.due = ref, 0, now
	}
	if ref == (Ref{}) || now.Before(g.due) {
		return false
	}
	g.due = now.Add(backoff(silencePause, maxSilencePause, g.tries))
	g.tries++
	return true
}

// failed plans an earlier repetition of what got no answer.
func (g *group) failed(ref Ref, now time.Time) {
	if ref != g.asking {
		return
	}
	if at := now.Add(backoff(failurePause, maxFailurePause, g.tries-1)); at.Before(g.due) {
		g.due = at
	}
}

// committed takes the ack of a commit. An answer that came with it may have found no room beside the writes (TooLarge):
// then the same commit is sent again, and has all the room.
func (g *group) committed(ev *Reply) {
	g.acked = true
	switch {
	case !ev.Ref.Answer:
	case ev.Reply.Reason == storage.TooLarge:
		g.asking = Ref{}
	default:
		g.filled = true
	}
}

// wake returns the earlier of at and the next repetition.
func (r *roster) wake(at time.Time) time.Time {
	for i := range r.groups {
		if g := &r.groups[i]; g.asking != (Ref{}) {
			at = earlier(at, g.due)
		}
	}
	return at
}

func backoff(first, most time.Duration, tries int) time.Duration {
	return min(first<<min(max(tries, 0), 16), most)
}

// earlier returns the earlier of two times, of which the zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
