package replica

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/ringkv/ringkv/ring"
)

// Target is where a group's members should be. Voters[0] is the preferred leader unless AnyLeader is set.
type Target struct {
	Voters    []ID
	Learners  []ID
	AnyLeader bool
	// Crowded are nodes that should lead nothing and be given nothing more, where there are others: their disks are
	// nearly full. The replicas that they have stay members.
	Crowded []ring.NodeID
}

// Holds reports whether id has a place in the target.
func (t Target) Holds(id ID) bool {
	return slices.Contains(t.Voters, id) || slices.Contains(t.Learners, id)
}

// among is the target with the IDs that the group's present members have: a member on a node of the target fills that
// node's place even if it was placed there at another epoch. This happens when a node loses its place and gets it back
// before the group has moved. The new ID could not be created beside the old one, and the old one waits for its successor.
//
// A learner that is not heard from may have been removed at its node, which would refuse it for ever: it fills no place.
func (t Target) among(cs *raftpb.ConfState, heard func(ID) bool) Target {
	present := make(map[ring.NodeID]ID)
	for _, id := range cs.GetLearners() {
		if heard(ID(id)) {
			present[ID(id).Node()] = ID(id)
		}
	}
	for _, id := range cs.GetVoters() {
		present[ID(id).Node()] = ID(id)
	}
	resolve := func(ids []ID) []ID {
		out := slices.Clone(ids)
		for i, id := range out {
			if have, ok := present[id.Node()]; ok {
				out[i] = have
			}
		}
		return out
	}
	t.Voters, t.Learners = resolve(t.Voters), resolve(t.Learners)
	return t
}

// Member is what a leader knows of another member.
type Member struct {
	Match  uint64 // the last index known to be on its disk
	Active bool   // heard from within the last election timeout
	Steady bool   // receives entries as they come, neither probed nor sent a snapshot
}

// Move is the next step of a walk: at most one of its fields is set.
type Move struct {
	Change   *raftpb.ConfChangeV2
	Transfer ID
}

// caughtUp is how many entries a learner may miss to be made a voter, and a voter to be handed the leadership.
const caughtUp = 64

// NextMove says how a leader brings its group one step nearer to the target, with the zero Move when it is there or
// has to wait. The way is always: add as learner, catch up, make voter and drop what is superfluous in one joint
// change, hand over the leadership, and let the next leader drop the last one. At every step a majority of the
// present voters is needed, so a wrong or outdated target costs work but never data.
func NextMove(self ID, cs *raftpb.ConfState, members map[ID]Member, last uint64, t Target) Move {
	if len(cs.GetVotersOutgoing()) > 0 || len(t.Voters) == 0 {
		return Move{} // raft leaves the joint configuration by itself
	}
	w := walk{self: self, cs: cs, members: members, last: last, target: t.among(cs, func(id ID) bool { return members[id].Active })}
	if id, ok := w.missing(); ok {
		return Move{Change: change(raftpb.ConfChangeAddLearnerNode, id)}
	}
	if cc := w.swap(); cc != nil {
		return Move{Change: cc}
	}
	return Move{Transfer: w.heir()}
}

type walk struct {
	self    ID
	cs      *raftpb.ConfState
	members map[ID]Member
	last    uint64
	target  Target
}

func (w *walk) voter(id ID) bool   { return slices.Contains(w.cs.GetVoters(), uint64(id)) }
func (w *walk) learner(id ID) bool { return slices.Contains(w.cs.GetLearners(), uint64(id)) }

func (w *walk) crowded(id ID) bool { return slices.Contains(w.target.Crowded, id.Node()) }

func (w *walk) ready(id ID) bool {
	m := w.members[id]
	return id == w.self || m.Active && m.Steady && m.Match+caughtUp >= w.last
}

// missing is the first replica of the target that is no member yet and can be filled.
func (w *walk) missing() (ID, bool) {
	for _, id := range append(slices.Clone(w.target.Voters), w.target.Learners...) {
		if !w.voter(id) && !w.learner(id) && !w.crowded(id) {
			return id, true
		}
	}
	return 0, false
}

// swap makes voters of the learners that have caught up and drops members without a place. Old voters stay until as
// many new ones have taken over, so that a move never leaves the group with fewer voters than it had.
func (w *walk) swap() *raftpb.ConfChangeV2 {
	cc := &raftpb.ConfChangeV2{}
	settled := 0
	for _, id := range w.target.Voters {
		switch {
		case w.voter(id):
			settled++
		case w.ready(id):
			settled++
			cc.Changes = append(cc.Changes, single(raftpb.ConfChangeAddNode, id))
		}
	}
	all := settled == len(w.target.Voters)
	for _, v := range w.cs.GetVoters() {
		if id := ID(v); all && id != w.self && !slices.Contains(w.target.Voters, id) {
			cc.Changes = append(cc.Changes, w.demoteOrDrop(id))
		}
	}
	for _, l := range w.cs.GetLearners() {
		if !w.target.Holds(ID(l)) {
			cc.Changes = append(cc.Changes, single(raftpb.ConfChangeRemoveNode, ID(l)))
		}
	}
	if len(cc.Changes) == 0 {
		return nil
	}
	return cc
}

func (w *walk) demoteOrDrop(id ID) *raftpb.ConfChangeSingle {
	if slices.Contains(w.target.Learners, id) {
		return single(raftpb.ConfChangeAddLearnerNode, id)
	}
	return single(raftpb.ConfChangeRemoveNode, id)
}

// heir is whom the leadership should be handed to now, 0 if nobody.
func (w *walk) heir() ID {
	stay := slices.Contains(w.target.Voters, w.self) && !w.crowded(w.self)
	if stay && w.target.AnyLeader {
		return 0
	}
	for _, id := range w.target.Voters {
		if w.crowded(id) {
			continue
		}
		if id != w.self && w.voter(id) && w.ready(id) {
			return id
		}
		if stay {
			return 0 // only the preferred leader is worth a transfer
		}
	}
	return 0
}

func single(t raftpb.ConfChangeType, id ID) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: t.Enum(), NodeId: new(uint64(id))}
}

func change(t raftpb.ConfChangeType, id ID) *raftpb.ConfChangeV2 {
	return &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{single(t, id)}}
}

// The walk's pace, in ticks. A handover takes a round trip or, if the heir does not answer, an election timeout. A new
// leader keeps the leadership for a while even if it is not the preferred one: who handed it over may be about to stop.
const (
	walkEvery     = 2
	walkSettled   = 10
	transferEvery = 30
)

// Walk takes the next step towards the target if this replica leads and the last step had time to take effect. It
// reports whether it did something.
func (r *Replica) Walk(t Target) bool {
	if r.walkPause > 0 || !r.Serving() {
		return false
	}
	r.walkPause = walkEvery
	m := NextMove(r.id, r.conf, r.members(), r.lastIndex(), t)
	switch {
	case m.Change != nil:
		return r.raw.ProposeConfChange(m.Change) == nil
	case m.Transfer != 0 && r.transferPause == 0:
		r.transfer(m.Transfer)
		return true
	}
	r.walkPause = walkSettled
	return false
}

// Hurry lets the next Walk come at once, for a change of the target that must not wait.
func (r *Replica) Hurry() { r.walkPause, r.transferPause = 0, 0 }

func (r *Replica) transfer(to ID) {
	r.transferPause = transferEvery
	r.raw.TransferLeader(uint64(to))
}

// HandOver gives the leadership to whichever voter is most up to date, because this node is about to stop. It reports
// whether there is somebody to take it.
func (r *Replica) HandOver() bool {
	if !r.Leading() {
		return false
	}
	var heir ID
	var best Member
	r.Members(func(id ID, m Member) {
		voter := slices.Contains(r.conf.GetVoters(), uint64(id))
		if id != r.id && voter && m.Active && (heir == 0 || m.Match > best.Match || m.Match == best.Match && id < heir) {
			heir, best = id, m
		}
	})
	if heir == 0 {
		return false
	}
	r.transfer(heir)
	return true
}

// Settled reports whether the group, as this leader has applied it, has exactly the members of the target,
// whatever epoch they were placed at.
func (r *Replica) Settled(t Target) bool {
	t = t.among(r.conf, func(ID) bool { return true })
	return r.Leading() && len(r.conf.GetVotersOutgoing()) == 0 &&
		sameMembers(r.conf.GetVoters(), t.Voters) && sameMembers(r.conf.GetLearners(), t.Learners)
}

func sameMembers(have []uint64, want []ID) bool {
	if len(have) != len(want) {
		return false
	}
	for _, id := range want {
		if !slices.Contains(have, uint64(id)) {
			return false
		}
	}
	return true
}

// Members calls fn for every member that this leader replicates to, itself included, in no particular order.
func (r *Replica) Members(fn func(id ID, m Member)) {
	r.raw.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		fn(ID(id), Member{Match: p.Match, Active: p.RecentActive, Steady: p.State == tracker.StateReplicate})
	})
}

func (r *Replica) members() map[ID]Member {
	out := make(map[ID]Member)
	r.Members(func(id ID, m Member) { out[id] = m })
	return out
}

func (r *Replica) lastIndex() uint64 {
	if n := len(r.view.recent); n > 0 {
		return r.view.recent[n-1].GetIndex()
	}
	return r.view.log.LastIndex(r.group)
}
