package replica

import (
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/ringkv/ringkv/storage/raftlog"
)

// Ready is what a replica wants done. The owner, in this order:
//
//  1. may send Early at once;
//  2. if Snapshot is set, installs it in the state machine and resets the log;
//  3. if MustSync, writes Entries and State (if HasState) to the log, with an fsync;
//  4. sends Late: votes and acknowledgements, which promise what step 3 made durable;
//  5. applies Committed in order, calling Applied (or ApplyConf) for each, with the applied index in the same engine
//     batch as the data;
//  6. calls Advance.
//
// Dropped and Lost are known from the start and may be answered at once.
type Ready struct {
	Early []*raftpb.Message
	Late  []*raftpb.Message

	Entries  []*raftpb.Entry
	State    raftlog.State
	HasState bool
	MustSync bool

	Snapshot  *raftpb.Snapshot
	Committed []*raftpb.Entry

	Dropped []Tag // had no effect and never will
	Lost    []Tag // proposals whose fate this replica cannot learn

	raw    raft.Ready
	ofRaft bool // raw is to be advanced
}

// HasReady reports whether there is anything to do.
func (r *Replica) HasReady() bool {
	return len(r.queue) > 0 || len(r.refused) > 0 || r.raftReady()
}

// raftReady reports whether raft has something to do. It asks once only, which costs raft several allocations: there is
// something until Ready takes it.
func (r *Replica) raftReady() bool {
	r.pending = r.pending || r.raw.HasReady()
	return r.pending
}

// Ready gathers the effects of everything that went in since the last one.
func (r *Replica) Ready() Ready {
	r.propose()
	rd := Ready{Dropped: r.refused}
	r.refused = nil
	if len(r.proposed) > 0 || r.raftReady() {
		r.ready(&rd)
	}
	return rd
}

// ready adds what raft wants done.
func (r *Replica) ready(rd *Ready) {
	raw := r.raw.Ready()
	r.pending = false
	rd.raw, rd.ofRaft = raw, true
	rd.Entries, rd.MustSync, rd.Committed = raw.Entries, raw.MustSync, raw.CommittedEntries
	if !raft.IsEmptySnap(raw.Snapshot) {
		rd.Snapshot = raw.Snapshot
		rd.MustSync = true
	}
	r.keepState(raw.HardState, rd)
	for _, m := range raw.Messages {
		if leavesEarly(m.GetType()) {
			rd.Early = append(rd.Early, m)
		} else {
			rd.Late = append(rd.Late, m)
		}
	}
	r.know(raw.Entries, rd)
	if raw.SoftState != nil {
		r.follow(raw.SoftState)
	}
}

// keepState notes a new term, vote or commit index. A commit index alone costs no fsync, but it goes along with the next
// thing that does: a member that has acknowledged an entry never forgets what it knew to be committed before it. So it
// does not stand for election with a configuration that it had known to be over (raft refuses while a committed change is
// not applied), even where the state machine has lost the change.
func (r *Replica) keepState(hs *raftpb.HardState, rd *Ready) {
	if !raft.IsEmptyHardState(hs) {
		r.hard, r.unwritten = r.stateOf(hs), true
		r.term = hs.GetTerm()
	}
	if rd.MustSync && r.unwritten {
		rd.State, rd.HasState, r.unwritten = r.hard, true, false
	}
}

// leavesEarly tells which messages may overtake the fsync of their own Ready: those of a leader. Its entries count
// only once a majority has them on disk, and its own vote for them is counted by raft after the fsync (Raft thesis,
// 10.2.1). Everything else waits, the candidate's request included, though only answers strictly need to.
func leavesEarly(t raftpb.MessageType) bool {
	return t == raftpb.MsgApp || t == raftpb.MsgHeartbeat || t == raftpb.MsgSnap
}

// know finds our own proposals among the entries that are about to be written. They were proposed just now, so this
// replica leads, and entries of its term come from nobody else: those with data are the proposals, in order.
func (r *Replica) know(ents []*raftpb.Entry, rd *Ready) {
	if len(r.proposed) == 0 {
		return
	}
	i := 0
	for _, e := range ents {
		if e.GetTerm() != r.term || e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
			continue
		}
		if old, ok := r.waiting[e.GetIndex()]; ok {
			rd.Lost = append(rd.Lost, old.tag)
		}
		r.waiting[e.GetIndex()] = write{term: e.GetTerm(), tag: r.proposed[i]}
		i++
	}
	if i != len(r.proposed) {
		panic(fmt.Sprintf("group %d: raft took %d proposals and shows %d entries", r.group, len(r.proposed), i))
	}
	clear(r.proposed)
	r.proposed = r.proposed[:0]
}

// follow takes a change of role or leader over. Writes may still be committed by the next leader and wait on.
func (r *Replica) follow(s *raft.SoftState) {
	was := r.role
	r.role, r.lead = s.RaftState, ID(s.Lead)
	if was != raft.StateLeader && r.role == raft.StateLeader {
		r.transferPause = transferEvery
	}
}

// Stable tells that the Ready's entries are in the log, so that they can be read back from memory.
func (r *Replica) Stable(rd *Ready) { r.view.appended(rd.Entries) }

// Installed tells that the Ready's snapshot is in the state machine and in the log. It returns the tags of proposals
// that the snapshot jumped over.
func (r *Replica) Installed(s *raftpb.Snapshot) []Tag {
	r.view.forget()
	r.applied, r.appliedTerm = s.GetMetadata().GetIndex(), s.GetMetadata().GetTerm()
	r.conf = s.GetMetadata().GetConfState()
	var lost []Tag
	for _, i := range slices.Sorted(maps.Keys(r.waiting)) {
		if i <= r.applied {
			lost = append(lost, r.waiting[i].tag)
			delete(r.waiting, i)
		}
	}
	return lost
}

// Applied tells that the state machine has taken an entry in. It returns the tag of the proposal that waited at this
// index, if any, and whether this entry is that proposal: if not, another leader's entry took its place and the
// proposal will never take effect.
func (r *Replica) Applied(index, term uint64) (tag Tag, ours bool) {
	r.applied, r.appliedTerm = index, term
	if len(r.waiting) == 0 {
		return nil, false
	}
	w, ok := r.waiting[index]
	if !ok {
		return nil, false
	}
	delete(r.waiting, index)
	return w.tag, w.term == term
}

// ApplyConf applies a configuration entry and returns the new configuration for the state machine. An entry that raft
// emptied (a change refused when it was proposed) never gets here: it is a normal one.
func (r *Replica) ApplyConf(e *raftpb.Entry) (conf []byte, err error) {
	var cc raftpb.ConfChangeI
	switch e.GetType() {
	case raftpb.EntryConfChangeV2:
		v2 := &raftpb.ConfChangeV2{}
		err, cc = proto.Unmarshal(e.GetData(), v2), v2
	case raftpb.EntryConfChange:
		v1 := &raftpb.ConfChange{}
		err, cc = proto.Unmarshal(e.GetData(), v1), v1
	default:
		return nil, fmt.Errorf("group %d index %d: entry type %v is no configuration", r.group, e.GetIndex(), e.GetType())
	}
	if err != nil {
		return nil, fmt.Errorf("group %d index %d: decode configuration change: %w", r.group, e.GetIndex(), err)
	}
	r.conf = r.raw.ApplyConfChange(cc)
	return EncodeConf(r.conf), nil
}

// Advance ends a Ready.
func (r *Replica) Advance(rd *Ready) {
	if rd.ofRaft {
		r.raw.Advance(rd.raw)
	}
	r.view.trim(r.applied)
}

// Close gives up everything that waits.
func (r *Replica) Close() (lost, dropped []Tag) {
	lost = append(lost, r.proposed...)
	for _, i := range slices.Sorted(maps.Keys(r.waiting)) {
		lost = append(lost, r.waiting[i].tag)
	}
	dropped = append(dropped, r.refused...)
	dropped = append(dropped, r.tags...)
	r.queue, r.tags, r.refused, r.proposed = nil, nil, nil, nil
	clear(r.waiting)
	return lost, dropped
}
