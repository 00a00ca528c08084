package replica_test

import (
	"errors"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

func tags(list ...string) []replica.Tag {
	out := []replica.Tag{}
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

func wantTags(t *testing.T, what string, got []replica.Tag, want ...string) {
	t.Helper()
	if len(got) != len(want) || !slices.Equal(got, tags(want...)) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func propose(t *testing.T, p *peer, tag string) {
	t.Helper()
	if err := p.Propose([]byte(tag), tag); err != nil {
		t.Fatal(err)
	}
}

// Only what a leader sends to its followers may overtake the fsync.
func TestOnlyALeadersMessagesAreEarly(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "w")
	ps[0].Tick()
	settle(ps...)
	kinds := func(msgs []*raftpb.Message) map[raftpb.MessageType]bool {
		out := make(map[raftpb.MessageType]bool)
		for _, m := range msgs {
			out[m.GetType()] = true
		}
		return out
	}
	early, late := kinds(slices.Concat(ps[0].early, ps[1].early)), kinds(slices.Concat(ps[0].late, ps[1].late))
	for _, k := range []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgHeartbeat} {
		if !early[k] || late[k] {
			t.Errorf("%v: early %t, late %t", k, early[k], late[k])
		}
	}
	for _, k := range []raftpb.MessageType{raftpb.MsgPreVote, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgAppResp} {
		if early[k] || !late[k] {
			t.Errorf("%v: early %t, late %t", k, early[k], late[k])
		}
	}
}

// A follower's acknowledgement comes with the entries that it acknowledges, and these must be synced first.
func TestAcknowledgementIsLateWithItsEntries(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "w")
	rd := ps[0].cycle()
	if len(rd.Early) != 2 || !rd.MustSync || len(rd.Entries) != 1 {
		t.Fatalf("leader: %d early, sync %t, %d entries", len(rd.Early), rd.MustSync, len(rd.Entries))
	}
	if len(ps[0].ours) != 0 {
		t.Fatal("applied before a majority has it")
	}
	for _, m := range rd.Early {
		if m.GetTo() == uint64(ps[1].ID()) {
			ps[1].step(m)
		}
	}
	rd = ps[1].cycle()
	if !rd.MustSync || len(rd.Entries) != 1 || len(rd.Early) != 0 || len(rd.Late) != 1 || rd.Late[0].GetType() != raftpb.MsgAppResp {
		t.Fatalf("follower: sync %t, %d entries, early %v, late %v", rd.MustSync, len(rd.Entries), rd.Early, rd.Late)
	}
	ps[0].step(rd.Late[0])
	settle(ps...)
	wantTags(t, "applied", ps[0].ours, "w")
}

func TestProposalsOfOneReadyKeepTheirOrder(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "a")
	propose(t, ps[0], "b")
	propose(t, ps[0], "c")
	settle(ps...)
	wantTags(t, "applied", ps[0].ours, "a", "b", "c")
}

func TestFollowerNamesTheLeader(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	var not *replica.NotLeaderError
	if err := ps[1].Propose([]byte("w"), "w"); !errors.As(err, &not) || not.Leader != ps[0].ID() {
		t.Errorf("propose: %v", err)
	}
}

// A former version asked for its reads within the group. raft panics at such a question that has a term.
func TestQuestionsOfAFormerVersionDoNoHarm(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	for _, kind := range []raftpb.MessageType{raftpb.MsgReadIndex, raftpb.MsgReadIndexResp} {
		for i, from := range []int{1, 0, 0} {
			ps[i].step(&raftpb.Message{
				Type: kind.Enum(), From: new(uint64(peerID(from))), To: new(uint64(peerID(i))), Term: new(ps[0].Term()), Index: new(uint64(1)),
			})
		}
	}
	settle(ps...)
	propose(t, ps[0], "w")
	settle(ps...)
	wantTags(t, "ours", ps[0].ours, "w")
}

// What another leader's entry took the place of certainly never takes effect.
func TestOverwrittenProposalIsToldApart(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "kept")
	settle(ps...)
	propose(t, ps[0], "alone") // reaches nobody
	settle(ps[0])
	elect(t, ps[1], ps[2])
	propose(t, ps[1], "other")
	settle(ps...)
	ps[1].Tick()
	settle(ps...)
	wantTags(t, "ours", ps[0].ours, "kept")
	wantTags(t, "overwritten", ps[0].overwritten, "alone")
	wantTags(t, "lost", ps[0].lost)
	wantTags(t, "the other's", ps[1].ours, "other")
}

// A proposal that the next leader carries on is answered when it is committed.
func TestProposalOutlivesItsLeadership(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "w")
	settle(ps[0])
	for _, m := range ps[0].early { // only the second member hears of it
		if m.GetTo() == uint64(ps[1].ID()) && len(m.GetEntries()) > 0 {
			ps[1].step(m)
		}
	}
	settle(ps[1])
	elect(t, ps[1], ps[2])
	ps[1].Tick()
	settle(ps...)
	wantTags(t, "ours", ps[0].ours, "w")
}

// While a leadership is being handed over raft takes no proposals: they are dropped, not lost.
func TestProposalDuringHandoverIsDropped(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	settle(ps...)
	if !ps[0].HandOver() {
		t.Fatal("nobody to hand over to")
	}
	propose(t, ps[0], "w")
	ps[0].cycle()
	wantTags(t, "dropped", ps[0].dropped, "w")
	wantTags(t, "lost", ps[0].lost)
}

// A new leader does not know what is committed before an entry of its own term is.
func TestALeaderServesBehindTheFirstCommitOfItsTerm(t *testing.T) {
	ps := members(t, 3)
	ps[0].Campaign()
	for !ps[0].Leading() { // hold back everything once it leads
		for _, p := range ps {
			for p.HasReady() && !ps[0].Leading() {
				rd := p.cycle()
				for _, m := range slices.Concat(rd.Early, rd.Late) {
					for _, to := range ps {
						if uint64(to.ID()) == m.GetTo() {
							to.step(m)
						}
					}
				}
			}
		}
	}
	settle(ps[0])
	if ps[0].Serving() {
		t.Fatal("serves before it has committed in its term")
	}
	ps[0].Tick()
	settle(ps...)
	if !ps[0].Serving() || ps[1].Serving() {
		t.Errorf("serving: the leader %t, a follower %t", ps[0].Serving(), ps[1].Serving())
	}
	ps[0].step(&raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(peerID(0))), From: new(uint64(peerID(1))), Term: new(ps[0].Term() + 1),
	})
	settle(ps[0])
	if ps[0].Serving() {
		t.Error("serves under another leader")
	}
}

func TestSoleVoterServesOnlyAfterItsFirstCommit(t *testing.T) {
	p := members(t, 1)[0]
	p.Campaign()
	for !p.Leading() {
		p.cycle()
	}
	if p.Serving() {
		t.Fatal("serves before it has committed in its term")
	}
	settle(p)
	if !p.Serving() {
		t.Fatal("does not serve")
	}
}

func TestSnapshotLosesWhatItJumpsOver(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "w")
	settle(ps[0])
	lost := ps[0].Installed(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(uint64(100)), Term: new(uint64(9)), ConfState: ps[0].Conf(),
	}})
	wantTags(t, "lost", lost, "w")
}

func TestCloseGivesEverythingBackOnce(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "in the log")
	settle(ps[0])
	propose(t, ps[0], "queued")
	lost, dropped := ps[0].Close()
	wantTags(t, "lost", lost, "in the log")
	wantTags(t, "dropped", dropped, "queued")
	lost, dropped = ps[0].Close()
	wantTags(t, "lost again", lost)
	wantTags(t, "dropped again", dropped)
}

// A message for a former life of a replica means nothing to its successor.
func TestMessageForAnotherIDIsIgnored(t *testing.T) {
	p := members(t, 3)[0]
	p.step(&raftpb.Message{
		Type: raftpb.MsgVote.Enum(), To: new(uint64(replica.MakeID(1, 9))), From: new(uint64(peerID(1))),
		Term: new(uint64(5)), LogTerm: new(uint64(5)), Index: new(uint64(50)),
	})
	if p.HasReady() {
		t.Fatal("it was taken")
	}
}

func TestNewRefusesAGapBetweenStateAndLog(t *testing.T) {
	for _, c := range []struct {
		name    string
		applied uint64
	}{{"state behind the log", 8}, {"state ahead of the log", 11}} {
		t.Run(c.name, func(t *testing.T) {
			l, err := raftlog.Open(memfs.New(), "log", raftlog.Options{ID: 1})
			if err != nil {
				t.Fatal(err)
			}
			var b raftlog.Batch
			b.Reset(groupID, begun, begunTerm)
			if err := l.Write(&b, true); err != nil {
				t.Fatal(err)
			}
			if _, err := replica.New(replica.Config{Group: groupID, ID: peerID(0), Log: l, Applied: c.applied, AppliedTerm: 1, Logger: quiet()}); err == nil {
				t.Fatal("it was started")
			}
		})
	}
}

// What a member knew to be committed when it acknowledged an entry it must still know after a crash: it would else stand
// for election with a configuration that is over.
func TestAnEntryBringsTheCommitIndexAlong(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "a")
	settle(ps...)
	known := ps[1].Status().Commit
	if s, _ := ps[1].log.State(groupID); s.Commit >= known {
		t.Fatalf("commit %d is in the log already, nothing can be shown", known)
	}
	propose(t, ps[0], "b")
	for _, m := range ps[0].cycle().Early {
		if m.GetTo() == uint64(ps[1].ID()) {
			ps[1].step(m)
		}
	}
	if rd := ps[1].cycle(); !rd.MustSync || len(rd.Entries) != 1 {
		t.Fatalf("sync %t with %d entries", rd.MustSync, len(rd.Entries))
	}
	if s, _ := ps[1].log.State(groupID); s.Commit != known {
		t.Errorf("commit %d in the log, %d was known", s.Commit, known)
	}
}

// A leader never tells a member of a commit that it has not acknowledged: the member's disk was set back.
func TestSetBackIsAnErrorNotAPanic(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	beat := func(term, commit uint64) *raftpb.Message {
		return &raftpb.Message{
			Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(ps[1].ID())), From: new(uint64(ps[0].ID())), Term: new(term), Commit: new(commit),
		}
	}
	last, term := ps[1].log.LastIndex(groupID), ps[1].Term()
	if err := ps[1].Step(beat(term, last)); err != nil {
		t.Errorf("a heartbeat up to the log's end: %v", err)
	}
	if err := ps[1].Step(beat(term-1, last+1)); err != nil {
		t.Errorf("a heartbeat of an old term: %v", err)
	}
	err := ps[1].Step(beat(term, last+1))
	var back *replica.RolledBackError
	if !errors.As(err, &back) || back.Partition != groupID || back.Acknowledged != last+1 || back.Last != last {
		t.Errorf("a heartbeat beyond the log's end: %v", err)
	}
}
