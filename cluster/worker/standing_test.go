package worker_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

// What holds for all that is sent, shown and locked is in board_test.go. These are the situations that it is for.

// term is the term that is published of partition 0's replica when something happens, 0 if nothing is.
func (m *machine) term() uint64 { return m.board.on[0].Term }

// Who has voted denies the last term's leader from before anybody can count the vote, whether it is given or not.
func TestATermIsPublishedBeforeAVoteLeaves(t *testing.T) {
	for _, c := range []struct {
		name    string
		ask     *raftpb.Message
		granted int
	}{
		{"granted", vote(other, 5), 1},
		{"refused", outdated(vote(other, 5)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := filled(t)
			m.sent = nil
			before := m.term()
			var seen []uint64
			m.board.look = func() { // each time something was published or is about to leave
				if len(m.queued)+len(m.sent) == 0 {
					seen = append(seen, m.term())
				}
			}
			m.worker.Deliver(0, c.ask)
			if m.term() != before {
				t.Fatal("published before the turn, with which it may be lost")
			}
			m.settle()
			if len(seen) == 0 || seen[0] != 5 || granted(m.sent, other) != c.granted || len(m.sent) != 1 {
				t.Errorf("published %v before %v left", seen, m.sent)
			}
		})
	}
}

// outdated is a vote for somebody whose log ends too early.
func outdated(m *raftpb.Message) *raftpb.Message {
	m.Index, m.LogTerm = new(uint64(1)), new(uint64(1))
	return m
}

// A term that was published is never taken back, though the disk that it was to be kept on breaks: no vote has left, but
// nobody knows that.
func TestATermIsPublishedThoughItsSyncFails(t *testing.T) {
	m := filled(t)
	m.left = 0
	m.worker.Deliver(0, vote(leader, 5))
	if err := m.turn(); !errors.Is(err, errDisk) || m.term() != 5 {
		t.Fatalf("turn: %v; term %d is published", err, m.term())
	}
}

// To say that one would vote is to stay in one's term: the leader of that is not doubted.
func TestAPreVoteMovesNobody(t *testing.T) {
	m := filled(t)
	m.sent = nil
	before := m.term()
	ask := vote(other, before+1)
	ask.Type = raftpb.MsgPreVote.Enum()
	m.worker.Deliver(0, ask)
	m.settle()
	if len(m.sent) != 1 || m.sent[0].GetType() != raftpb.MsgPreVoteResp || m.sent[0].GetReject() || m.term() != before {
		t.Fatalf("sent %v, term %d is published behind %d", m.sent, m.term(), before)
	}
}

// A candidate has left its term, and with it the leader, before it asks anybody.
func TestACandidateIsPublishedBeforeItAsks(t *testing.T) {
	m := filled(t)
	asked := 0
	for n := 0; m.term() < 4 && n < 100; n++ {
		m.tickLed(1)
		for _, msg := range slices.Concat(m.sent, m.queued) {
			if msg.GetType() == raftpb.MsgVote && msg.GetTerm() > 3 {
				asked++
			}
		}
	}
	if s := m.board.on[0]; s.Term != 4 || s.Replica != follower || !s.Leading {
		t.Errorf("published %+v; asked %d times", s.Standing, asked)
	}
}

// entrant is a member that is added.
const entrant = replica.ID(4<<32 | 1)

// A new voter counts from the moment that the configuration is applied: no message goes to it before the board knows it
// (board.leaves), and neither half of a joint configuration is forgotten.
func TestAConfigurationIsPublishedBeforeItIsUsed(t *testing.T) {
	data, err := proto.Marshal(&raftpb.ConfChangeV2{
		Transition: raftpb.ConfChangeTransition_ConfChangeTransitionJointImplicit.Enum(),
		Changes: []*raftpb.ConfChangeSingle{
			{Type: raftpb.ConfChangeType_ConfChangeAddNode.Enum(), NodeId: new(uint64(entrant))},
			{Type: raftpb.ConfChangeType_ConfChangeRemoveNode.Enum(), NodeId: new(uint64(leader))},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := filled(t)
	old := appendFrom(4, 20, 3, 0, 20)
	old.Entries = []*raftpb.Entry{{Type: raftpb.EntryConfChangeV2.Enum(), Index: new(uint64(21)), Term: new(uint64(4)), Data: data}}
	m.worker.Deliver(0, old)
	m.elect()
	m.wantVoters(t, []replica.ID{leader, follower, other}, nil)
	m.sent = nil
	m.follow(22)
	m.wantVoters(t, []replica.ID{follower, other, entrant}, []replica.ID{leader, follower, other})
	if !slices.ContainsFunc(m.sent, func(msg *raftpb.Message) bool { return msg.GetTo() == uint64(entrant) }) {
		t.Fatal("nothing was sent to the new member, nothing is shown")
	}
	m.follow(23)
	m.wantVoters(t, []replica.ID{follower, other, entrant}, nil)
}

func (m *machine) wantVoters(t *testing.T, voters, outgoing []replica.ID) {
	t.Helper()
	s := m.board.on[0]
	same := func(got []uint64, want []replica.ID) bool {
		return slices.EqualFunc(got, want, func(a uint64, b replica.ID) bool { return a == uint64(b) })
	}
	if !s.Leading || !same(s.Voters, voters) || !same(s.Outgoing, outgoing) {
		t.Fatalf("published %+v, want voters %v and %v", s.Standing, voters, outgoing)
	}
}

// What is committed is published before the others can hear of it, and as applied when the engine shows it, not before.
func TestCommittedThenApplied(t *testing.T) {
	m := elected(t)
	m.follow(21)
	type at struct{ commit, applied, shown uint64 }
	var seen []at
	m.board.look = func() {
		s := m.board.on[0]
		if now := (at{s.Commit, s.Applied, m.meta(0).Applied}); len(seen) == 0 || seen[len(seen)-1] != now {
			seen = append(seen, now)
		}
	}
	write := m.later(put(0, "k", "v"))
	m.follow(22)
	write.want(t, nil)
	if want := []at{{21, 21, 21}, {22, 21, 21}, {22, 21, 22}, {22, 22, 22}}; !slices.Equal(seen, want) {
		t.Errorf("seen %v, want %v", seen, want)
	}
}

// Nobody hears of a write before the index that its readers have to wait for is published.
func TestAWriteIsAnsweredBehindItsCommitIndex(t *testing.T) {
	m := ready(t)
	w := put(0, "k", "v")
	answered := false
	w.Done = func(*worker.Op) {
		answered = true
		if s := m.board.on[0]; s.Commit != m.meta(0).Applied {
			t.Errorf("answered at index %d, %d is published", m.meta(0).Applied, s.Commit)
		}
	}
	m.worker.Submit(w)
	m.settle()
	if !answered {
		t.Error("no answer")
	}
}

// The clock that is published goes on as the worker's own does.
func TestTheClockIsPublished(t *testing.T) {
	m := ready(t)
	m.do(put(0, keyIn(0, "k"), "v"))
	m.now += 1234 * time.Millisecond
	m.worker.Begin(m.now)
	op := read(0, "k")
	m.do(op)
	if got := m.board.on[0].Clock.Now(m.now); got != op.Clock || got < 1234 {
		t.Errorf("published %d, the worker says %d", got, op.Clock)
	}
}

// A read is the business of the leadership that it was granted for.
func TestAReadOfAnotherTermIsDropped(t *testing.T) {
	m := elected(t)
	m.follow(21)
	for _, c := range []struct {
		term uint64
		want error
	}{{5, nil}, {4, replica.ErrDropped}, {6, replica.ErrDropped}} {
		op := read(0, "k")
		op.Term = c.term
		m.ask(op).want(t, c.want)
	}
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(follower)), From: new(uint64(leader)), Term: new(uint64(6)), Commit: new(uint64(21)),
	})
	m.settle()
	if s := m.board.on[0]; s.Leading || s.Term != 6 {
		t.Fatalf("published %+v", s.Standing)
	}
	op := read(0, "k")
	op.Term = 6
	m.ask(op).wantNotLeader(t)
}

func (a *answer) wantNotLeader(t *testing.T) {
	t.Helper()
	if e := new(replica.NotLeaderError); a.times != 1 || !errors.As(a.err, &e) {
		t.Fatalf("answered %d times, last with %v", a.times, a.err)
	}
}

// A replica that is gone vouches for nobody and is read by nobody; one that rests stays in its term.
func TestLeavingTheBoard(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *machine{
		"follower": filled,
		"leader":   func(t *testing.T) *machine { return elected(t) },
	} {
		t.Run("removed "+name, func(t *testing.T) {
			m := make(t)
			if err := m.worker.Remove(0, follower); err != nil {
				t.Fatal(err)
			}
			if s, ok := m.board.on[0]; ok {
				t.Errorf("published %+v", s.Standing)
			}
			m.settle()
			if s, ok := m.board.on[0]; ok {
				t.Errorf("published later %+v", s.Standing)
			}
		})
	}
	t.Run("refilled", func(t *testing.T) {
		m := damaged(t)
		before := m.term()
		if err := m.refill(25); err != nil {
			t.Fatal(err)
		}
		for m.worker.Resting(0) {
			if s := m.board.on[0]; s.Leading || s.Term != before {
				t.Fatalf("while it rests: %+v", s.Standing)
			}
			op := read(0, "k")
			op.Term = before
			m.ask(op).wantNotLeader(t)
			if err := m.turn(); err != nil {
				t.Fatal(err)
			}
		}
		if s := m.board.on[0]; s.Replica != follower || s.Term != before {
			t.Errorf("afterwards: %+v", s.Standing)
		}
	})
	t.Run("installing", func(t *testing.T) {
		m := filled(t)
		m.deliverSnapshot("second", 40, 6)
		for rested := false; m.worker.Busy() || !rested; rested = true {
			if err := m.turn(); err != nil {
				t.Fatal(err)
			}
			if s := m.board.on[0]; s.Leading || s.Term != 6 {
				t.Fatalf("while it rests: %+v", s.Standing)
			}
		}
	})
}

// eyes look at a key of partition 0 whenever something happens, as a reader does who asks nobody: where no shadow falls,
// the key is what decided transactions have made of it.
type eyes struct {
	m            *machine
	key          string
	dark, bright int // how often it saw a shadow, and none
	least        string
}

func (m *machine) watch(key string) *eyes {
	e := &eyes{m: m, key: key}
	m.board.look = e.look
	return e
}

func (e *eyes) look() {
	e.m.t.Helper()
	if e.m.board.on[0].Locks.Falls([]byte(e.key)) {
		e.dark++
		return
	}
	e.bright++
	if got := e.m.get(0, e.key); got < e.least {
		e.m.t.Fatalf("no shadow falls on %q, which others know to be %q", got, e.least)
	}
}

// decided tells that the transaction's clients may know of its effects: all have voted YES.
func (e *eyes) decided(value string) {
	e.least = value
	e.look()
}

func TestAShadowFallsUntilTheEffectsAreThere(t *testing.T) {
	m := ready(t)
	x := keyIn(0, "x")
	m.do(put(0, x, "0"))
	e := m.watch(x)
	e.decided("0")
	c := part{p: 0, seq: 1, puts: []string{"x"}, value: "1"}
	if m.vote(c) != storage.ReplyYes || !m.board.on[0].Locks.Falls([]byte(x)) {
		t.Fatal("no vote, or no shadow")
	}
	e.decided("1")
	e.bright = 0
	if m.do(c.commit()); e.bright == 0 || e.dark == 0 {
		t.Errorf("looked %d times at a shadow and %d times at none", e.dark, e.bright)
	}
	e.look()
	aborted := part{p: 0, seq: 2, puts: []string{"x"}, value: "2"}
	m.vote(aborted)
	m.do(aborted.abort())
	e.dark = 0
	if e.look(); e.dark > 0 {
		t.Error("a shadow falls behind an abort")
	}
}

// Several entries of one batch release and lock: the shadow falls until all of it can be seen.
func TestAShadowFallsThroughoutABatch(t *testing.T) {
	m := ready(t)
	x := keyIn(0, "x")
	m.do(put(0, x, "0"))
	first, second := part{p: 0, seq: 1, puts: []string{"x"}, value: "1"}, part{p: 0, seq: 2, puts: []string{"x"}, value: "2"}
	if m.vote(first) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	e := m.watch(x)
	e.decided("1")
	var as []*answer
	for _, op := range []*worker.Op{first.commit(), second.op(), second.commit()} {
		as = append(as, m.ask(op))
	}
	e.bright = 0
	m.settle()
	as[1].wantReply(t, storage.ReplyYes, storage.NoReason)
	as[2].wantReply(t, storage.ReplyAck, storage.NoReason)
	if m.get(0, x) != "2" || e.bright == 0 {
		t.Errorf("%q, seen %d times without a shadow", m.get(0, x), e.bright)
	}
}

// A lock that is taken again in the batch that releases it counts once.
func TestAShadowOfALockTakenAgain(t *testing.T) {
	first, second := part{p: 0, seq: 1, puts: []string{"x"}, value: "1"}, part{p: 0, seq: 2, puts: []string{"x"}, value: "2"}
	m := elected(t, first.op().Data, first.commit().Data, second.op().Data)
	m.follow(24)
	shadow := m.board.on[0].Locks
	if x := []byte(keyIn(0, "x")); !shadow.Falls(x) {
		t.Error("none falls under the second transaction")
	}
	end := m.ask(second.commit())
	m.settle()
	m.follow(25)
	end.wantReply(t, storage.ReplyAck, storage.NoReason) // and board.rest finds no shadow
}
