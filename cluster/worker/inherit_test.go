package worker_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/storage"
)

// elected makes the machine the leader of a group of three whose last leader had sent entries that are not committed.
func elected(t *testing.T, entries ...[]byte) *machine {
	t.Helper()
	m := filled(t)
	m.elect(entries...)
	return m
}

func (m *machine) elect(entries ...[]byte) {
	m.t.Helper()
	old := appendFrom(4, 20, 3, 0, 20)
	for i, data := range entries {
		old.Entries = append(old.Entries, &raftpb.Entry{Index: new(21 + uint64(i)), Term: new(uint64(4)), Data: data})
	}
	m.worker.Deliver(0, old)
	m.settle()
	for range 20 {
		m.worker.Tick(m.now)
		m.settle()
	}
	for _, typ := range []raftpb.MessageType{raftpb.MsgPreVoteResp, raftpb.MsgVoteResp} {
		m.worker.Deliver(0, &raftpb.Message{Type: typ.Enum(), To: new(uint64(follower)), From: new(uint64(other)), Term: new(uint64(5))})
		m.settle()
	}
}

// follow has another member acknowledge everything up to index, in the machine's term.
func (m *machine) follow(index uint64) {
	m.t.Helper()
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgAppResp.Enum(), To: new(uint64(follower)), From: new(uint64(other)), Term: new(uint64(5)), Index: new(index),
	})
	m.settle()
}

// The last leader's prepare is in the log, but the new leader does not know of it before it is applied: a put that it
// proposed meanwhile is applied without effect, and then waits like any other.
func TestBlockedWritesGoBackIntoTheLine(t *testing.T) {
	c := part{p: 0, seq: 1, age: 5, puts: []string{"x"}, value: "txn"}
	m := elected(t, c.op().Data)
	write := m.later(put(0, keyIn(0, "x"), "put")) // at 23, behind the entry of the new term
	logged := write.op.Data
	before := slices.Clone(logged)
	if m.board.on[0].Serving {
		t.Fatal("may be read")
	}
	m.follow(23)
	write.waits(t)
	if !m.board.on[0].Serving {
		t.Fatal("may not be read")
	}
	m.now += time.Second
	older := m.later(part{p: 0, seq: 2, age: 1, puts: []string{"x"}}.op())
	abort := m.later(c.abort())
	m.follow(24)
	abort.want(t, nil)
	m.follow(25)
	write.want(t, nil)
	if !slices.Equal(logged, before) {
		t.Fatal("what the log holds was changed")
	}
	if write.op.Result.Status != storage.StatusCreated || m.get(0, keyIn(0, "x")) != "put" {
		t.Fatalf("%+v", write.op.Result)
	}
	m.follow(26)
	older.wantReply(t, storage.ReplyYes, storage.NoReason)
}

// Whoever waits was not judged by the last leader's prepare, which is only known once it is applied.
func TestInheritedLocksAreJudgedAnew(t *testing.T) {
	inherited := part{p: 0, seq: 1, age: 1, puts: []string{"y"}}
	m := elected(t, inherited.op().Data)
	young := part{p: 0, seq: 9, age: 9, puts: []string{"x"}}
	first := m.later(young.op())                                                // 23
	waits := m.later(part{p: 0, seq: 5, age: 5, puts: []string{"x", "y"}}.op()) // for the younger one, it seems
	m.follow(23)
	first.wantReply(t, storage.ReplyYes, storage.NoReason)
	m.follow(24) // the refusal
	waits.wantReply(t, storage.ReplyNo, storage.Conflict)
}

func TestLostLeadershipEmptiesTheLine(t *testing.T) {
	c := part{p: 0, seq: 1, age: 5, puts: []string{"x"}, value: "txn"}
	m := elected(t, c.op().Data)
	m.follow(22)
	write, prepare := m.later(put(0, keyIn(0, "x"), "put")), m.later(part{p: 0, seq: 2, age: 1, puts: []string{"x"}}.op())
	proposed := m.later(part{p: 0, seq: 3, puts: []string{"z"}}.op())
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(follower)), From: new(uint64(leader)), Term: new(uint64(6)), Commit: new(uint64(22)),
	})
	m.settle()
	for _, a := range []*answer{write, prepare} {
		if e := new(replica.NotLeaderError); a.times != 1 || !errors.As(a.err, &e) || e.Leader != leader {
			t.Fatalf("answered %d times, %v", a.times, a.err)
		}
	}
	proposed.waits(t) // its entry may still be committed
	if got := m.worker.Status()[0]; got.Waiting != 0 || got.InDoubt != 1 {
		t.Fatalf("status %+v", got)
	}
}
