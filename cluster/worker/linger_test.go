package worker_test

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

const linger = 5 * time.Millisecond

// voted is a node that lets commits linger, with a transaction that holds x and waits for its commit.
func voted(t *testing.T) (*machine, part) {
	t.Helper()
	m := newMachine(t)
	m.linger = linger
	m.form()
	m.open()
	m.settle()
	m.wait(linger)
	c := part{p: 0, seq: 5, age: 5, puts: []string{"x"}, value: "txn"}
	if m.vote(c) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	return m, c
}

func (m *machine) wait(d time.Duration) {
	m.t.Helper()
	m.now += d
	m.settle()
}

func TestCommitsLinger(t *testing.T) {
	m, c := voted(t)
	commit := m.later(c.commit())
	if until, some := m.worker.Lingering(); !some || until != m.now+linger {
		t.Fatalf("lingers %t until %v; it is %v", some, until, m.now)
	}
	m.wait(linger - 1)
	commit.waits(t)
	m.do(put(1, keyIn(1, "x"), "another group's"))
	commit.waits(t)
	m.wait(1)
	commit.wantReply(t, storage.ReplyAck, storage.NoReason)
	if _, some := m.worker.Lingering(); some {
		t.Fatal("something lingers still")
	}
}

// Nobody waits for a commit that lingers: whoever comes takes it along, and is let behind it at once.
func TestCommitsDoNotKeepOthersWaiting(t *testing.T) {
	for name, op := range map[string]func() *worker.Op{
		"a put":                func() *worker.Op { return put(0, keyIn(0, "x"), "after") },
		"a put of another key": func() *worker.Op { return put(0, keyIn(0, "y"), "after") },
		"a transaction of the group": func() *worker.Op {
			return part{p: 0, seq: 9, age: 9, kind: storage.KindSingle, puts: []string{"x"}, value: "after"}.op()
		},
		"a read": func() *worker.Op { return read(0, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			m, c := voted(t)
			commit := m.later(c.commit())
			m.do(op())
			commit.wantReply(t, storage.ReplyAck, storage.NoReason)
		})
	}
}

// A prepare that may not wait for the holder need not: its commit is ahead in the log, in the same turn.
func TestAPrepareGoesBehindTheCommit(t *testing.T) {
	for name, linger := range map[string]time.Duration{"lingering": linger, "at once": 0} {
		t.Run(name, func(t *testing.T) {
			m, c := voted(t)
			m.linger = linger
			m.powercut()
			m.open()
			m.settle()
			commit := m.ask(c.commit())
			young := m.ask(part{p: 0, seq: 9, age: 9, puts: []string{"x"}}.op())
			m.settle()
			commit.wantReply(t, storage.ReplyAck, storage.NoReason)
			young.wantReply(t, storage.ReplyYes, storage.NoReason)
			if m.get(0, keyIn(0, "x")) != "txn" {
				t.Fatal("the commit had no effect")
			}
		})
	}
}

// Where somebody waits already the commit goes at once, and those who waited right behind it.
func TestCommitsDoNotLingerWhereSomebodyWaits(t *testing.T) {
	m, c := voted(t)
	older := m.later(part{p: 0, seq: 1, age: 1, puts: []string{"x"}}.op())
	m.do(c.commit())
	older.wantReply(t, storage.ReplyYes, storage.NoReason)
}

// However many transactions follow each other, a read finds its gap.
func TestReadsAreNotStarvedByTransactionsInARow(t *testing.T) {
	m, c := voted(t)
	get := m.later(read(0, "x"))
	older := m.later(part{p: 0, seq: 1, age: 1, puts: []string{"x"}}.op())
	m.do(c.commit())
	get.want(t, nil)
	older.wantReply(t, storage.ReplyYes, storage.NoReason)
}

func TestLingeringCommitsAreAnsweredAtTheEnd(t *testing.T) {
	m, c := voted(t)
	commit := m.later(c.commit())
	m.worker.Close()
	commit.want(t, replica.ErrDropped)
}

func TestLingeringCommitsAreAnsweredWhenTheLeadershipIsLost(t *testing.T) {
	m := lingeringLeader(t)
	c := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}
	prepare := m.ask(c.op())
	m.settle()
	m.follow(22)
	prepare.want(t, nil)
	commit := m.later(c.commit())
	m.worker.Deliver(0, appendFrom(6, 22, 5, 0, 22))
	m.settle()
	if commit.times != 1 || commit.err == nil {
		t.Fatalf("answered %d times: %v", commit.times, commit.err)
	}
}

// lingeringLeader leads partition 0 of three members, with entry 21 acknowledged by a majority.
func lingeringLeader(t *testing.T) *machine {
	t.Helper()
	m := lingeringFollower(t)
	m.elect()
	m.follow(21)
	m.wait(linger)
	return m
}

// lingeringFollower has partition 0 up to entry 20, lets things linger once it leads, and knows that its leader is gone.
func lingeringFollower(t *testing.T) *machine {
	t.Helper()
	m := filled(t)
	m.linger = linger
	m.powercut()
	if err := m.tryOpen(2); err != nil {
		t.Fatal(err)
	}
	m.worker.NodeGone(leader.Node())
	m.settle()
	return m
}

// news counts the messages without entries that tell the other member of a commit index.
func (m *machine) news(commit uint64) (bare, along int) {
	for _, msg := range m.sent {
		switch {
		case msg.GetType() != raftpb.MsgApp || msg.GetTo() != uint64(other) || msg.GetCommit() != commit:
		case len(msg.GetEntries()) == 0:
			bare++
		default:
			along++
		}
	}
	return bare, along
}

func TestNewsOfCommitsLingers(t *testing.T) {
	m := lingeringLeader(t)
	m.ask(put(0, keyIn(0, "x"), "22"))
	m.settle()
	m.follow(22)
	if bare, along := m.news(22); bare+along > 0 {
		t.Fatalf("sent at once: %d alone, %d with entries", bare, along)
	}
	m.wait(linger)
	if bare, along := m.news(22); bare != 1 || along != 0 {
		t.Fatalf("%d alone, %d with entries; want one alone", bare, along)
	}
	m.ask(put(0, keyIn(0, "x"), "23"))
	m.settle()
	m.follow(23)
	m.ask(put(0, keyIn(0, "x"), "24"))
	m.settle()
	m.wait(linger)
	if bare, along := m.news(23); bare != 0 || along != 1 {
		t.Fatalf("%d alone, %d with entries; want it along with the next entry only", bare, along)
	}
}

// A new configuration is no such news. Until the others know that it is committed they would, without the leader, elect by
// the old one.
func TestNewsOfAConfigurationDoesNotLinger(t *testing.T) {
	m := lingeringFollower(t)
	change, err := proto.Marshal(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(replica.MakeID(9, 1)))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	old := appendFrom(4, 20, 3, 0, 20)
	old.Entries = append(old.Entries, &raftpb.Entry{
		Type: raftpb.EntryConfChangeV2.Enum(), Index: new(uint64(21)), Term: new(uint64(4)), Data: change,
	})
	m.worker.Deliver(0, old)
	m.elect()
	m.follow(22)
	if bare, _ := m.news(22); bare == 0 {
		t.Fatal("the news that a configuration is committed lingers")
	}
}
