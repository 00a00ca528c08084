package replica_test

import (
	"io"
	"log"
	"slices"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

const (
	groupID       = ring.PartitionID(7)
	begun         = 10 // index and
	begunTerm     = 1  // term from which every member starts
	electionTicks = 4
)

// peer is one member with its log. Its state machine only counts.
type peer struct {
	*replica.Replica
	t   *testing.T
	log *raftlog.Log

	inbox             []*raftpb.Message
	early, late       []*raftpb.Message // all that were sent
	dropped, lost     []replica.Tag
	ours, overwritten []replica.Tag // tags that Applied gave back
	toldMost          uint64        // highest commit index in what was sent
}

// members starts n members of one group.
func members(t *testing.T, n int) []*peer {
	t.Helper()
	cs := &raftpb.ConfState{}
	for i := range n {
		cs.Voters = append(cs.Voters, uint64(peerID(i)))
	}
	return membersOf(t, n, cs)
}

// membersOf starts n members of a group with this configuration.
func membersOf(t *testing.T, n int, cs *raftpb.ConfState) []*peer {
	t.Helper()
	var out []*peer
	for i := range n {
		l, err := raftlog.Open(memfs.New(), "log", raftlog.Options{ID: 1})
		if err != nil {
			t.Fatal(err)
		}
		var b raftlog.Batch
		b.Reset(groupID, begun, begunTerm)
		b.SetState(groupID, raftlog.State{Replica: uint64(peerID(i)), Term: begunTerm, Commit: begun})
		if err := l.Write(&b, true); err != nil {
			t.Fatal(err)
		}
		r, err := replica.New(replica.Config{
			Group: groupID, ID: peerID(i), Log: l, Applied: begun, AppliedTerm: begunTerm,
			Conf: replica.EncodeConf(cs), ElectionTicks: electionTicks, HeartbeatTicks: 1, Logger: quiet(),
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &peer{Replica: r, t: t, log: l})
	}
	return out
}

func quiet() raft.Logger { return &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)} }

func peerID(i int) replica.ID { return replica.MakeID(ring.NodeID(i+1), 1) }

// step hands over a message that the peer must not refuse.
func (p *peer) step(m *raftpb.Message) {
	p.t.Helper()
	if err := p.Step(m); err != nil {
		p.t.Fatal(err)
	}
}

// cycle does one Ready in the order that it asks for.
func (p *peer) cycle() replica.Ready {
	p.t.Helper()
	rd := p.Ready()
	p.told(&rd)
	p.early = append(p.early, rd.Early...)
	p.dropped, p.lost = append(p.dropped, rd.Dropped...), append(p.lost, rd.Lost...)
	if rd.MustSync {
		var b raftlog.Batch
		if len(rd.Entries) > 0 {
			b.Append(groupID, replica.ToLog(nil, rd.Entries))
		}
		if rd.HasState {
			b.SetState(groupID, rd.State)
		}
		if err := p.log.Write(&b, true); err != nil {
			p.t.Fatal(err)
		}
	}
	p.Stable(&rd)
	p.late = append(p.late, rd.Late...)
	for _, e := range rd.Committed {
		tag, ours := p.Applied(e.GetIndex(), e.GetTerm())
		switch {
		case tag != nil && ours:
			p.ours = append(p.ours, tag)
		case tag != nil:
			p.overwritten = append(p.overwritten, tag)
		}
	}
	p.Advance(&rd)
	return rd
}

// told sees to it that no message knows of a higher commit index than Told does.
func (p *peer) told(rd *replica.Ready) {
	p.t.Helper()
	for _, m := range slices.Concat(rd.Early, rd.Late) {
		switch m.GetType() {
		case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
			p.toldMost = max(p.toldMost, m.GetCommit(), m.GetSnapshot().GetMetadata().GetIndex())
		}
	}
	if p.toldMost > p.Told() {
		p.t.Fatalf("%v has sent commit index %d, and says that it told %d", p.ID(), p.toldMost, p.Told())
	}
}

// settle lets the members talk until nobody has anything to say. What is sent to or from the others is lost.
func settle(peers ...*peer) {
	for busy := true; busy; {
		busy = false
		for _, p := range peers {
			for _, m := range p.inbox {
				p.step(m)
			}
			p.inbox = nil
			for p.HasReady() {
				busy = true
				rd := p.cycle()
				for _, m := range append(rd.Early, rd.Late...) {
					for _, to := range peers {
						if uint64(to.ID()) == m.GetTo() {
							to.inbox = append(to.inbox, m)
						}
					}
				}
			}
		}
	}
}

// elect makes the first of peers lead, with the votes of all of them.
func elect(t *testing.T, peers ...*peer) {
	t.Helper()
	for _, p := range peers[1:] {
		p.ForgetLeader()
	}
	peers[0].ForgetLeader()
	peers[0].Campaign()
	settle(peers...)
	if !peers[0].Serving() {
		t.Fatalf("%v does not lead", peers[0].ID())
	}
}
