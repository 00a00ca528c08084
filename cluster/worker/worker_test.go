package worker_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

func TestOneNodeWritesAndReads(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	w := m.ask(put(0, "k", "v"))
	m.settle()
	w.want(t, nil)
	if w.op.Result.Status != storage.StatusCreated {
		t.Fatalf("status %v", w.op.Result.Status)
	}
	r := m.ask(&worker.Op{Group: 0, Kind: worker.Read})
	m.settle()
	r.want(t, nil)
	m.powercut()
	m.open()
	m.settle()
	if got := m.get(0, "k"); got != "v" {
		t.Fatalf("after a power cut: %q", got)
	}
}

func TestEveryRequestIsAnsweredOnceWhenTheDiskFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		after int // syncs and commits that still succeed
		fault memdb.Fault
	}{
		{"log", 0, memdb.FaultLost},
		{"engine, batch lost", 1, memdb.FaultLost},
		{"engine, batch kept", 1, memdb.FaultKept},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.form()
			m.open()
			m.settle()
			write, read := m.ask(put(0, "k", "v")), m.ask(&worker.Op{Group: 1, Kind: worker.Read})
			m.left, m.fault = c.after, c.fault
			if err := m.turn(); err == nil {
				t.Fatal("the turn succeeded on a broken disk")
			}
			m.worker.Close()
			write.want(t, replica.ErrOutcomeUnknown)
			if read.times != 1 {
				t.Fatalf("the read was answered %d times", read.times)
			}
		})
	}
}

// vote is a candidate's request to replica 2.1 of partition 0.
func vote(from replica.ID, term uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgVote.Enum(), To: new(uint64(follower)), From: new(uint64(from)),
		Term: new(term), LogTerm: new(uint64(9)), Index: new(uint64(90)),
	}
}

const (
	follower = replica.ID(2<<32 | 1)
	leader   = replica.ID(1<<32 | 1)
	other    = replica.ID(3<<32 | 1)
)

// filled makes the machine node 2 with a replica of partition 0 at index 20.
func filled(t *testing.T) *machine {
	m := newMachine(t)
	m.openDisks()
	if err := m.tryOpen(2); err != nil {
		t.Fatal(err)
	}
	m.install("first", 20, 3)
	if got := m.get(0, "k"); got != "first" {
		t.Fatalf("after the install: %q", got)
	}
	m.worker.NodeGone(leader.Node()) // else it votes for nobody for an election timeout
	m.settle()
	return m
}

func (m *machine) deliverSnapshot(name string, index, term uint64) {
	md, s := m.snapshot(name, index, term, leader, follower, other)
	m.deliverTo(0, follower, md, s)
}

// deliverTo hands the machine a snapshot for its replica id, from the leader.
func (m *machine) deliverTo(p ring.PartitionID, id replica.ID, md *raftpb.SnapshotMetadata, s spool) {
	m.worker.DeliverSnapshot(p, &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), To: new(uint64(id)), From: new(uint64(leader)), Term: md.Term,
		Snapshot: &raftpb.Snapshot{Metadata: md},
	}, s)
}

func (m *machine) install(name string, index, term uint64) {
	m.t.Helper()
	m.deliverSnapshot(name, index, term)
	m.settle()
}

func TestVoteIsOnDiskBeforeItLeaves(t *testing.T) {
	m := filled(t)
	m.sent = nil
	syncs := m.log.Stats().Syncs
	m.worker.Deliver(0, vote(leader, 5))
	m.settle()
	if granted(m.sent, leader) != 1 || m.log.Stats().Syncs == syncs {
		t.Fatalf("sent %v after %d syncs", m.sent, m.log.Stats().Syncs-syncs)
	}
	m.powercut()
	if err := m.tryOpen(2); err != nil {
		t.Fatal(err)
	}
	m.worker.Deliver(0, vote(other, 5))
	m.settle()
	if granted(m.sent, other) != 0 {
		t.Fatal("voted twice in one term")
	}
	m.worker.Deliver(0, vote(other, 6))
	m.settle()
	if granted(m.sent, other) != 1 {
		t.Fatal("did not vote in the next term")
	}
}

func TestNoVoteLeavesWhenItsSyncFails(t *testing.T) {
	m := filled(t)
	m.sent = nil
	m.left = 0
	m.worker.Deliver(0, vote(leader, 5))
	if err := m.turn(); !errors.Is(err, errDisk) {
		t.Fatalf("turn: %v", err)
	}
	if len(m.sent)+len(m.queued) != 0 {
		t.Fatalf("sent %v", m.sent)
	}
}

func granted(msgs []*raftpb.Message, to replica.ID) int {
	n := 0
	for _, m := range msgs {
		if m.GetType() == raftpb.MsgVoteResp && !m.GetReject() && m.GetTo() == uint64(to) {
			n++
		}
	}
	return n
}

// appendFrom is a leader's message with entries after (index, term).
func appendFrom(term, index, prev uint64, n int, commit uint64) *raftpb.Message {
	m := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: new(uint64(follower)), From: new(uint64(leader)), Term: new(term),
		Index: new(index), LogTerm: new(prev), Commit: new(commit),
	}
	for i := range uint64(n) {
		m.Entries = append(m.Entries, &raftpb.Entry{Index: new(index + 1 + i), Term: new(term), Data: put(0, "k", "entry").Data})
	}
	return m
}

// TestInstallSurvivesACrashAtEveryStep kills the node at each commit and each sync of an install into a replica whose
// log holds entries that never were committed.
func TestInstallSurvivesACrashAtEveryStep(t *testing.T) {
	for name, fault := range map[string]memdb.Fault{"lost": memdb.FaultLost, "kept": memdb.FaultKept} {
		t.Run(name+", all of it", func(t *testing.T) { crashEverywhere(t, fault, worst{}) })
		for seed := range uint64(8) {
			t.Run(name, func(t *testing.T) { crashEverywhere(t, fault, rand.NewPCG(1, seed)) })
		}
	}
}

func crashEverywhere(t *testing.T, fault memdb.Fault, src rand.Source) {
	for crash := range 12 {
		m := filled(t)
		m.rng = rand.New(src)
		m.worker.Deliver(0, appendFrom(4, 20, 3, 30, 20)) // 21 to 50, uncommitted, of a leader that lost
		m.settle()
		m.deliverSnapshot("second", 40, 6)
		m.left, m.fault = crash, fault
		broke := m.turnUntilBroken()
		for cut := range 2 { // the second right after the start, which may have ended the install
			m.powercut()
			if err := m.tryOpen(2); err != nil {
				t.Fatalf("crash after %d operations, power cut %d: %v", crash, cut, err)
			}
		}
		m.settle()
		if m.get(0, "k") == "first" {
			m.install("second", 40, 6) // the leader sends it again
		}
		m.worker.Deliver(0, appendFrom(6, 40, 6, 1, 41))
		m.settle()
		if got := m.get(0, "k"); got != "entry" {
			t.Fatalf("crash after %d operations, commit %v: %q after the next entry", crash, fault, got)
		}
		if !broke {
			return
		}
	}
	t.Fatal("the install was never whole")
}

// turnUntilBroken takes turns until the disks break or nothing is left to do.
func (m *machine) turnUntilBroken() bool {
	for range 100 {
		if err := m.turn(); err != nil {
			return true
		}
		if !m.worker.Busy() {
			return false
		}
	}
	m.t.Fatal("still busy after 100 turns")
	return false
}

// A data directory that was set back to an older copy ends the worker with a reason.
func TestSetBackEndsTheWorker(t *testing.T) {
	m := filled(t)
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(follower)), From: new(uint64(leader)), Term: new(uint64(3)), Commit: new(uint64(21)),
	})
	err := m.turn()
	var back *replica.RolledBackError
	if !errors.As(err, &back) || back.Acknowledged != 21 || back.Last != 20 {
		t.Fatalf("turn: %v", err)
	}
	if err := m.turn(); !errors.As(err, &back) {
		t.Fatalf("the next turn: %v", err)
	}
}
