package worker_test

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// message is one to replica 2.1 of partition 0.
func message(kind raftpb.MessageType, from replica.ID, term uint64) *raftpb.Message {
	return &raftpb.Message{Type: kind.Enum(), To: new(uint64(follower)), From: new(uint64(from)), Term: new(term)}
}

// stands reports whether the machine has asked for votes since it was asked last.
func (m *machine) stands() bool {
	stands := slices.ContainsFunc(m.sent, func(msg *raftpb.Message) bool { return msg.GetType() == raftpb.MsgPreVote })
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

func (m *machine) wantTurns(want ...bool) {
	m.t.Helper()
	if got := m.standsAt(len(want)); !slices.Equal(got, want) {
		m.t.Fatalf("stood for election at the ticks %v, want %v", got, want)
	}
}

// heir makes the machine node 2 of the three that have partition 0, led by leads in term 4.
func heir(t *testing.T, leads replica.ID) *machine {
	t.Helper()
	m := filled(t)
	m.lead4(leads)
	return m
}

func (m *machine) lead4(leads replica.ID) {
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, leads, 4))
	m.settle()
	m.stands()
}

// The others may notice later that the leader is gone, and vote for nobody until they have.
func TestFirstHeirStandsUntilOthersHaveNoticed(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true, true, true, false)
}

func TestNextHeirStandsAfterTheFirst(t *testing.T) {
	m := heir(t, other)
	m.worker.NodeGone(other.Node())
	m.wantTurns(false, false, false, true)
}

// The placement may name another replica of a node than the group has.
func TestHeirsAreInTheOrderOfThePlacement(t *testing.T) {
	m := filled(t)
	s := meta.State{Partitions: 1, Placement: [][]replica.ID{{leader, 3<<32 | 7, 2<<32 | 7}}}
	value, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	cmd := put(storage.MetaPartition, meta.Key, string(value)).Data
	md, sp := m.snapshotOf(storage.MetaPartition, "meta", cmd, 20, 3, leader, follower, other)
	m.deliverTo(storage.MetaPartition, follower, md, sp)
	m.settle()
	if m.worker.State() == nil {
		t.Fatal("the placement is not known")
	}
	m.lead4(leader)
	m.worker.NodeGone(leader.Node())
	m.settle()
	for tick := range 4 {
		if stands, due := m.worker.Status()[0].Role == "candidate", tick == 3; stands != due {
			t.Fatalf("it stands at tick %d: %v, want %v", tick, stands, due)
		}
		m.worker.Tick(m.now)
		m.settle()
	}
}

func TestNobodyStandsAgainstALeaderThatIsHeard(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, leader, 4))
	m.wantTurns(false, false, false)
}

// Where there is no majority nobody can be elected, and raft asks less often.
func TestHeirsLeaveItToRaftInTheEnd(t *testing.T) {
	const electionTicks = 15
	m := survivor(t, follower, electionTicks)
	m.worker.NodeGone(leader.Node())
	m.standsAt(electionTicks)
	count := 0
	for _, stands := range m.standsAt(2 * electionTicks) {
		if stands {
			count++
		}
	}
	if count > 3 {
		t.Fatalf("it stood %d times in %d ticks", count, 2*electionTicks)
	}
}

func TestNobodyStandsAgainstANewLeader(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, other, 5))
	m.wantTurns(false, false, false)
}

func TestNobodyStandsAgainstWhoHasItsVote(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.Deliver(0, vote(other, 5))
	m.settle()
	if granted(m.sent, other) != 1 {
		t.Fatalf("it did not vote: %v", m.sent)
	}
	m.wantTurns(false, false, false)
}

func TestOnlyTheLeadersNodeOrphansAGroup(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(other.Node())
	m.wantTurns(false, false, false, false)
}

// A connection that breaks and comes back says nothing against the leader.
func TestNobodyStandsBeforeWhoIsBackHasHadItsSay(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.NodeBack(leader.Node())
	m.wantTurns(false, false, true) // a heartbeat comes at each tick here
}

// Who asks for votes already would lose those that are on their way.
func TestCandidateWaitsForItsVotes(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.settle()
	m.worker.Deliver(0, message(raftpb.MsgPreVoteResp, other, 5))
	m.settle()
	m.stands()
	m.wantTurns(false, false, false)
	m.worker.Deliver(0, message(raftpb.MsgVoteResp, other, 5))
	m.settle()
	if st := m.worker.Status()[0]; st.Role != "leader" {
		t.Fatalf("with the votes of a majority it is a %s", st.Role)
	}
}

// Whichever of two heirs notices first, and however much earlier, a group does not wait for raft's election timeout.
func TestHeirsFindALeaderWhoeverNoticesFirst(t *testing.T) {
	const electionTicks = 15
	for late := -8; late <= 8; late++ {
		two := map[uint64]*machine{uint64(follower): survivor(t, follower, electionTicks), uint64(other): survivor(t, other, electionTicks)}
		ticks := 0
		for ; !led(two); ticks++ {
			if ticks == electionTicks {
				t.Fatalf("no leader where the second heir notices %d ticks after the first", late)
			}
			for id, m := range two {
				if ticks > 0 {
					m.worker.Tick(m.now)
				}
				if own := max(0, late); id == uint64(other) && ticks == own || id == uint64(follower) && ticks == own-late {
					m.worker.NodeGone(leader.Node())
				}
				m.settle()
			}
			exchange(two)
		}
		if most := max(late, -late) + 3*4; ticks > most {
			t.Errorf("the second heir notices %d ticks after the first: %d ticks, want at most %d", late, ticks, most)
		}
	}
}

// survivor is the machine of a replica of partition 0, which hears the leader in term 4 for the last time.
func survivor(t *testing.T, id replica.ID, electionTicks int) *machine {
	t.Helper()
	m := newMachine(t)
	m.electionTicks = electionTicks
	m.openDisks()
	if err := m.tryOpen(id.Node()); err != nil {
		t.Fatal(err)
	}
	md, s := m.snapshot("first", 20, 3, leader, follower, other)
	m.deliverTo(0, id, md, s)
	m.settle()
	beat := message(raftpb.MsgHeartbeat, leader, 4)
	beat.To = new(uint64(id))
	m.worker.Deliver(0, beat)
	m.settle()
	m.sent = nil
	return m
}

func led(machines map[uint64]*machine) bool {
	for _, m := range machines {
		if m.worker.Status()[0].Role == "leader" {
			return true
		}
	}
	return false
}

// exchange delivers what the machines have sent to each other, in rounds in which all messages cross.
func exchange(machines map[uint64]*machine) {
	for range 8 {
		var under []*raftpb.Message
		for _, m := range machines {
			under = append(under, m.sent...)
			m.sent = nil
		}
		for _, msg := range under {
			if m := machines[msg.GetTo()]; m != nil {
				m.worker.Deliver(ring.PartitionID(0), msg)
			}
		}
		for _, m := range machines {
			m.settle()
		}
	}
}
