package worker_test

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
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
	m.worker.NodeBack(leader.Node())
	for range 2 {
		m.worker.Deliver(0, message(raftpb.MsgHeartbeat, leads, 4))
		m.settle()
		m.worker.Tick(m.now)
	}
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
	m.place(follower, leader, 3<<32|7, 2<<32|7)
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

func TestNobodyStandsAgainstALeaderThatIsBack(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.NodeBack(leader.Node())
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, leader, 4))
	m.wantTurns(false, false, false, false)
}

// What the leader had sent before its end may arrive after the news of it, on another connection.
func TestLastWordsOfALeaderAreNotItsReturn(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, leader, 4))
	m.wantTurns(false, true, true)
}

func TestLastWordsOfALeaderDoNotBindAVote(t *testing.T) {
	m := heir(t, other)
	m.worker.NodeGone(other.Node())
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, other, 4))
	m.settle()
	m.worker.Tick(m.now)
	m.settle()
	m.sent = nil
	ask := vote(leader, 5)
	ask.Type = raftpb.MsgPreVote.Enum()
	m.worker.Deliver(0, ask)
	m.settle()
	if !slices.ContainsFunc(m.sent, func(msg *raftpb.Message) bool {
		return msg.GetType() == raftpb.MsgPreVoteResp && !msg.GetReject()
	}) {
		t.Fatalf("the first heir gets no vote: %v", m.sent)
	}
}

// What came in the same turn before the news counts already.
func TestANewLeaderIsNotForgottenForTheOldOne(t *testing.T) {
	m := heir(t, leader)
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, other, 5))
	m.worker.NodeGone(leader.Node())
	m.wantTurns(false, false, false)
}

func TestANewLeaderIsNotForgottenWhereTheOldOneIsGoneAgain(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.settle()
	m.worker.Deliver(0, message(raftpb.MsgHeartbeat, other, 5))
	m.settle()
	m.stands()
	m.worker.NodeBack(leader.Node())
	m.worker.NodeGone(leader.Node())
	m.wantTurns(false, false, false)
}

// The node has come back and died before it was heard.
func TestHeirsStandWhereTheNodeIsGoneAgain(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.worker.NodeBack(leader.Node())
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true, true, true)
}

// Where there is no majority nobody can be elected, and raft asks less often.
func TestHeirsLeaveItToRaftInTheEnd(t *testing.T) {
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
	m.wantTurns(false, false, false) // as long as that one waits for votes
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

func TestOnlyWhoIsGoneIsWaitedFor(t *testing.T) {
	m := heir(t, leader)
	m.worker.NodeGone(leader.Node())
	m.wantTurns(true)
	m.worker.NodeBack(other.Node())
	m.wantTurns(false, true, true)
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

const electionTicks = 15

// Whichever of two heirs notices first, and however much earlier, a group does not wait for raft's election timeout.
func TestHeirsFindALeaderWhoeverNoticesFirst(t *testing.T) {
	for late := -8; late <= 8; late++ {
		two := survivors(t)
		ticks := two.untilLed(func(id replica.ID, tick int) {
			if own := max(0, late); id == other && tick == own || id == follower && tick == own-late {
				two[id].worker.NodeGone(leader.Node())
			}
		}, func(*raftpb.Message) int { return 0 })
		if ticks >= electionTicks {
			t.Errorf("the second heir notices %d ticks after the first: %d ticks without a leader", late, ticks)
		}
	}
}

// Votes may take long, where disks are slow: who has asked for them must not ask for others for ever.
func TestHeirsWaitForSlowVotes(t *testing.T) {
	for slow := range 6 {
		two := survivors(t)
		ticks := two.untilLed(two.noticeAtOnce, func(m *raftpb.Message) int {
			if m.GetType() == raftpb.MsgVoteResp {
				return slow
			}
			return 0
		})
		if ticks > electionTicks {
			t.Errorf("votes take %d ticks: %d ticks without a leader", slow, ticks)
		}
	}
}

// Nodes that know different placements may both believe that it is their turn.
func TestHeirsFindALeaderWherePlacementsDiffer(t *testing.T) {
	two := survivors(t)
	two[other].place(other, leader, other, follower)
	if ticks := two.untilLed(two.noticeAtOnce, func(*raftpb.Message) int { return 0 }); ticks >= electionTicks {
		t.Errorf("%d ticks without a leader", ticks)
	}
}

// pair is the two machines that are left of three, by their replicas of partition 0.
type pair map[replica.ID]*machine

func survivors(t *testing.T) pair {
	return pair{follower: survivor(t, follower, electionTicks), other: survivor(t, other, electionTicks)}
}

func (p pair) noticeAtOnce(id replica.ID, tick int) {
	if tick == 0 {
		p[id].worker.NodeGone(leader.Node())
	}
}

// untilLed lets ticks pass until one of the two leads and returns how many, at most 100. What they send to each other
// crosses, and arrives as many ticks later as delay says.
func (p pair) untilLed(meanwhile func(id replica.ID, tick int), delay func(*raftpb.Message) int) int {
	due := make(map[int][]*raftpb.Message)
	for tick := range 100 {
		for _, id := range []replica.ID{follower, other} {
			m := p[id]
			if tick > 0 {
				m.worker.Tick(m.now)
			}
			meanwhile(id, tick)
			m.settle()
		}
		for range 8 {
			for _, id := range []replica.ID{follower, other} {
				for _, msg := range p[id].sent {
					at := tick + delay(msg)
					due[at] = append(due[at], msg)
				}
				p[id].sent = nil
			}
			now := due[tick]
			due[tick] = nil
			for _, msg := range now {
				if m := p[replica.ID(msg.GetTo())]; m != nil {
					m.worker.Deliver(0, msg)
				}
			}
			for _, m := range p {
				m.settle()
			}
		}
		for _, m := range p {
			for _, g := range m.worker.Status() {
				if g.Partition == 0 && g.Role == "leader" {
					return tick
				}
			}
		}
	}
	return 100
}

// place tells the machine of replica own where partition 0 is placed.
func (m *machine) place(own replica.ID, voters ...replica.ID) {
	m.t.Helper()
	s := meta.State{Partitions: 1, Placement: [][]replica.ID{voters}}
	value, err := s.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	m.muteMeta = true
	cmd := put(storage.MetaPartition, meta.Key, string(value)).Data
	md, sp := m.snapshotOf(storage.MetaPartition, "meta", cmd, 20, 3, leader, follower, other)
	m.deliverTo(storage.MetaPartition, own, md, sp)
	m.settle()
	m.sent = nil
	if m.worker.State() == nil {
		m.t.Fatal("the placement is not known")
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
