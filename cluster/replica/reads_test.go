package replica_test

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
)

// sentTo takes what from has sent to p since the last time, of one kind.
func sentTo(p, from *peer, kind raftpb.MessageType) []*raftpb.Message {
	var out []*raftpb.Message
	for from.HasReady() {
		rd := from.cycle()
		for _, m := range append(rd.Early, rd.Late...) {
			if m.GetTo() == uint64(p.ID()) && m.GetType() == kind {
				out = append(out, m)
			}
		}
	}
	return out
}

// answers has p hear what the leader asks for its reads, and returns what it answers.
func answers(t *testing.T, leader, p *peer) []*raftpb.Message {
	t.Helper()
	for _, m := range sentTo(p, leader, raftpb.MsgReadIndex) {
		p.step(m)
	}
	return sentTo(leader, p, raftpb.MsgReadIndexResp)
}

func hear(p *peer, msgs []*raftpb.Message) {
	for _, m := range msgs {
		p.step(m)
	}
	settle(p)
}

func TestAnAnswerIsForTheReadsBeforeItsQuestion(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	read(t, ps[0], "before")
	first := answers(t, ps[0], ps[1])
	read(t, ps[0], "after")
	second := answers(t, ps[0], ps[1])
	hear(ps[0], first)
	wantTags(t, "after the first answer", ps[0].readable, "before")
	hear(ps[0], second)
	wantTags(t, "after the second", ps[0].readable, "before", "after")
}

func TestOneAnswerIsForAllReadsBeforeIt(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	read(t, ps[0], "lost")
	settle(ps[0])
	read(t, ps[0], "heard")
	hear(ps[0], answers(t, ps[0], ps[2]))
	wantTags(t, "readable", ps[0].readable, "lost", "heard")
}

// Who has voted in a later term may have made another one leader, of whose writes this one knows nothing.
func TestNoAnswerFromALaterTerm(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	ps[1].ForgetLeader()
	ps[1].step(&raftpb.Message{
		Type: raftpb.MsgVote.Enum(), To: new(uint64(peerID(1))), From: new(uint64(peerID(2))), Term: new(ps[0].Term() + 1),
		Index: new(uint64(100)), LogTerm: new(ps[0].Term()),
	})
	read(t, ps[0], "r")
	if got := answers(t, ps[0], ps[1]); len(got) != 0 {
		t.Errorf("answers %v", got)
	}
}

// An answer to a former leadership says nothing of this one. The numbers of rounds begin anew with a process, so only the
// term tells.
func TestAnswersOfAnotherTermCountForNothing(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	former := ps[0].Term()
	elect(t, ps[1], ps[0], ps[2])
	elect(t, ps...)
	read(t, ps[0], "r")
	asked := sentTo(ps[1], ps[0], raftpb.MsgReadIndex)
	hear(ps[0], []*raftpb.Message{{
		Type: raftpb.MsgReadIndexResp.Enum(), To: new(uint64(peerID(0))), From: new(uint64(peerID(1))),
		Term: new(former), Index: asked[0].Index,
	}})
	wantTags(t, "readable", ps[0].readable)
}

// In a joint configuration either half may have elected a leader of its own.
func TestBothHalvesOfAJointConfigurationConfirm(t *testing.T) {
	ps := membersOf(t, 5, &raftpb.ConfState{
		Voters:         []uint64{uint64(peerID(0)), uint64(peerID(1)), uint64(peerID(2))},
		VotersOutgoing: []uint64{uint64(peerID(0)), uint64(peerID(3)), uint64(peerID(4))},
	})
	elect(t, ps...)
	read(t, ps[0], "r")
	asked := ps[0].cycle().Early
	for _, half := range []struct {
		name string
		peer *peer
		want []string
	}{{"one half", ps[1], nil}, {"the same half again", ps[2], nil}, {"both halves", ps[4], []string{"r"}}} {
		for _, m := range asked {
			if m.GetTo() == uint64(half.peer.ID()) {
				half.peer.step(m)
			}
		}
		hear(ps[0], sentTo(ps[0], half.peer, raftpb.MsgReadIndexResp))
		wantTags(t, half.name, ps[0].readable, half.want...)
	}
}

// An answer promises nothing that a disk has to keep, so it does not wait for one.
func TestAnswersLeaveBeforeTheFsync(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "w")
	read(t, ps[0], "r")
	for _, m := range ps[0].cycle().Early {
		if m.GetTo() == uint64(peerID(1)) {
			ps[1].step(m)
		}
	}
	rd := ps[1].cycle()
	if len(rd.Early) != 1 || rd.Early[0].GetType() != raftpb.MsgReadIndexResp {
		t.Errorf("early %v, want the answer", rd.Early)
	}
	if len(rd.Late) != 1 || rd.Late[0].GetType() != raftpb.MsgAppResp || !rd.MustSync {
		t.Errorf("late %v, fsync %t, want the acknowledgement behind one", rd.Late, rd.MustSync)
	}
}

// Learners and whoever is no member have no say.
func TestOnlyVotersAreAsked(t *testing.T) {
	ps := membersOf(t, 4, &raftpb.ConfState{
		Voters:   []uint64{uint64(peerID(0)), uint64(peerID(1)), uint64(peerID(2))},
		Learners: []uint64{uint64(peerID(3))},
	})
	elect(t, ps...)
	read(t, ps[0], "r")
	asked := map[replica.ID]int{}
	for _, m := range ps[0].cycle().Early {
		asked[replica.ID(m.GetTo())]++
	}
	if len(asked) != 2 || asked[peerID(1)] != 1 || asked[peerID(2)] != 1 {
		t.Errorf("asked %v, want each other voter once", asked)
	}
	ps[0].step(&raftpb.Message{
		Type: raftpb.MsgReadIndexResp.Enum(), To: new(uint64(peerID(0))), From: new(uint64(peerID(3))),
		Term: new(ps[0].Term()), Index: new(uint64(1)),
	})
	settle(ps[0])
	wantTags(t, "with a learner's answer", ps[0].readable)
}

// Another member may have applied all that it was told to be committed while the leader still applies it, part by part. Who
// has seen that state and then reads must not find an older one.
func TestReadsSeeWhatAnyMemberMayHaveApplied(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	const entries = 6 // the first alone, the others together once it is acknowledged
	for range entries {
		if err := ps[0].Propose(make([]byte, 3<<20), "w"); err != nil { // more than half of what is applied at once
			t.Fatal(err)
		}
	}
	hear := func() { // the second member stores everything, and the leader learns it, but takes no Ready
		for _, m := range ps[0].early {
			if m.GetTo() == uint64(peerID(1)) {
				ps[1].step(m)
			}
		}
		ps[0].early, ps[1].early, ps[1].late = nil, nil, nil
		for ps[1].HasReady() {
			ps[1].cycle()
		}
		for _, m := range append(ps[1].early, ps[1].late...) {
			ps[0].step(m)
		}
	}
	ps[0].early = nil
	for range 2 {
		ps[0].cycle()
		hear()
	}
	ps[0].cycle()
	told := ps[0].Status().Commit
	if told-ps[0].AppliedIndex() < 2 {
		t.Fatalf("applied %d of %d: all at once", ps[0].AppliedIndex(), told)
	}
	read(t, ps[0], "r")
	for range 2 * entries {
		hear()
		ps[0].cycle()
		if len(ps[0].readable) > 0 && ps[0].AppliedIndex() < told {
			t.Fatalf("read at index %d, others may be at %d", ps[0].AppliedIndex(), told)
		}
	}
	wantTags(t, "readable", ps[0].readable, "r")
}
