package worker_test

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
)

// heartbeat is a leader's to replica 2.1 of partition 0.
func heartbeat(from replica.ID, term uint64) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(follower)), From: new(uint64(from)), Term: new(term)}
}

// stands reports whether the machine has asked for votes since it was asked last.
func (m *machine) stands() bool {
	stands := false
	for _, msg := range m.sent {
		stands = stands || msg.GetType() == raftpb.MsgPreVote
	}
	m.sent = nil
	return stands
}

// standsAt lets ticks pass and tells at which of them the machine stood for election; the first is the present one.
func (m *machine) standsAt(ticks int) []bool {
	m.t.Helper()
	at := make([]bool, ticks)
	for i := range at {
		if i > 0 {
			m.worker.Tick(m.now)
		}
		m.settle()
		at[i] = m.stands()
	}
	return at
}

// heir makes the machine node 2 of the three that have partition 0, led by node `leads`.
func heir(t *testing.T, leads replica.ID) *machine {
	t.Helper()
	m := filled(t)
	m.worker.Deliver(0, heartbeat(leads, 4))
	m.settle()
	m.stands()
	return m
}

func wantTurns(t *testing.T, got []bool, want ...bool) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("stood for election at the ticks %v, want %v", got, want)
		}
	}
}

// The others may notice later that the leader is gone, and vote for nobody until they have.
func TestFirstHeirStandsUntilOthersHaveNoticed(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	wantTurns(t, m.standsAt(4), true, true, true, false)
}

func TestNextHeirStandsAfterTheFirst(t *testing.T) {
	m := heir(t, other)
	m.worker.NodeGone(other.Node())
	wantTurns(t, m.standsAt(4), false, false, false, true)
}

func TestNobodyStandsAgainstANewLeader(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	wantTurns(t, m.standsAt(1), true)
	m.worker.Deliver(0, heartbeat(other, 5))
	wantTurns(t, m.standsAt(3), false, false, false)
}

func TestOnlyTheLeadersNodeOrphansAGroup(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(other.Node())
	wantTurns(t, m.standsAt(4), false, false, false, false)
}

// Who asks for votes already would lose those that are on their way.
func TestCandidateIsNotDisturbed(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.settle()
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgPreVoteResp.Enum(), To: new(uint64(follower)), From: new(uint64(other)), Term: new(uint64(5)),
	})
	m.settle()
	m.stands()
	wantTurns(t, m.standsAt(3), false, false, false)
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgVoteResp.Enum(), To: new(uint64(follower)), From: new(uint64(other)), Term: new(uint64(5)),
	})
	m.settle()
	if st := m.worker.Status()[0]; st.Role != "leader" {
		t.Fatalf("with the votes of a majority it is a %s", st.Role)
	}
}
