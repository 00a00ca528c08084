package worker_test

import (
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

func TestReadsWaitForExclusiveLocks(t *testing.T) {
	m := ready(t)
	m.do(put(0, keyIn(0, "x"), "old"))
	c := part{p: 0, seq: 1, puts: []string{"x"}, gets: []string{"y"}, value: "new"}
	before := m.ask(read(0, "x")) // asked before the vote, granted before it: it may see the old value
	if m.vote(c) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	before.want(t, nil)
	m.do(read(0, "y"))
	m.do(read(1, "x"))
	m.do(&worker.Op{Group: 0, Kind: worker.Read})
	one, two := m.later(read(0, "x")), m.later(read(0, "y", "x"))
	m.do(c.commit())
	one.want(t, nil)
	two.want(t, nil)
	if got := m.get(0, keyIn(0, "x")); got != "new" {
		t.Fatalf("granted while the value was %q", got)
	}
}

func TestPlainWritesWaitForLocks(t *testing.T) {
	for name, end := range map[string]func(part) *worker.Op{"commit": part.commit, "abort": part.abort} {
		t.Run(name, func(t *testing.T) {
			m := ready(t)
			c := part{p: 0, seq: 1, puts: []string{"x"}, gets: []string{"y"}}
			if m.vote(c) != storage.ReplyYes {
				t.Fatal("no vote")
			}
			m.do(put(0, keyIn(0, "z"), "free"))
			x, y := m.later(put(0, keyIn(0, "x"), "mine")), m.later(put(0, keyIn(0, "y"), "mine"))
			single := m.later(part{p: 0, seq: 2, kind: storage.KindSingle, puts: []string{"y"}, value: "single"}.op())
			m.do(end(c))
			x.want(t, nil)
			y.want(t, nil)
			single.wantReply(t, storage.ReplyCommitted, storage.NoReason)
			if m.get(0, keyIn(0, "x")) != "mine" || m.get(0, keyIn(0, "y")) != "single" {
				t.Fatal("not in the order of arrival")
			}
		})
	}
}

// What is proposed and not applied yet is in the way already: all of this happens before the first turn.
func TestProposedPreparesHold(t *testing.T) {
	m := ready(t)
	first := part{p: 0, seq: 2, age: 2, puts: []string{"x"}}
	yes, no := m.ask(first.op()), m.ask(part{p: 0, seq: 3, age: 3, puts: []string{"x"}}.op())
	older, write := m.ask(part{p: 0, seq: 1, age: 1, gets: []string{"x"}}.op()), m.ask(put(0, keyIn(0, "x"), "v"))
	m.settle()
	yes.wantReply(t, storage.ReplyYes, storage.NoReason)
	no.wantReply(t, storage.ReplyNo, storage.Conflict)
	older.waits(t)
	write.waits(t)
	m.do(first.abort())
	older.wantReply(t, storage.ReplyYes, storage.NoReason)
	write.waits(t)
	m.do(part{p: 0, seq: 1, gets: []string{"x"}}.abort())
	write.want(t, nil)
}

// A refusal is a record: the same attempt hears the same, though nothing is in its way any more.
func TestARefusalIsAVote(t *testing.T) {
	m := ready(t)
	first := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}
	second := part{p: 0, seq: 2, age: 2, puts: []string{"x"}}
	if m.vote(first) != storage.ReplyYes || m.vote(second) != storage.ReplyNo {
		t.Fatal("the younger one was not refused")
	}
	m.do(first.abort())
	if m.vote(second) != storage.ReplyNo {
		t.Fatal("the refusal was forgotten")
	}
	second.attempt = 2
	if m.vote(second) != storage.ReplyYes {
		t.Fatal("the next attempt was refused")
	}
}

// Nothing holds y, but one that is older than T3 waits ahead of it: what the line refuses, the log refuses.
func TestRefusedForAWaiter(t *testing.T) {
	m := ready(t)
	if m.vote(part{p: 0, seq: 9, age: 9, puts: []string{"x"}}) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	m.later(part{p: 0, seq: 2, age: 2, puts: []string{"x", "y"}}.op())
	a := m.ask(part{p: 0, seq: 3, age: 3, puts: []string{"y"}}.op())
	m.settle()
	a.wantReply(t, storage.ReplyNo, storage.Conflict)
}

func TestDuplicatesShareAnAnswer(t *testing.T) {
	m := ready(t)
	first := part{p: 0, seq: 2, age: 2, puts: []string{"x"}}
	if m.vote(first) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	waiter := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}
	var answers []*answer
	for range 9 {
		answers = append(answers, m.later(waiter.op()))
	}
	m.do(first.abort())
	for _, a := range answers {
		a.wantReply(t, storage.ReplyYes, storage.NoReason)
	}
	one, two := m.ask(waiter.op()), m.ask(waiter.op())
	m.settle()
	one.wantReply(t, storage.ReplyYes, storage.NoReason)
	two.wantReply(t, storage.ReplyYes, storage.NoReason)
}

// A later attempt that has to wait must not keep what its dead one holds: the older transaction waits for that.
func TestALaterAttemptLetsGo(t *testing.T) {
	m := ready(t)
	young := part{p: 0, seq: 5, age: 5, puts: []string{"x"}}
	if m.vote(young) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	old := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}
	waits := m.later(old.op())
	young.attempt = 2
	again := m.later(young.op())
	waits.wantReply(t, storage.ReplyYes, storage.NoReason)
	m.do(old.commit())
	again.wantReply(t, storage.ReplyYes, storage.NoReason)
}

// An abort, or a recovery, ends the wait of a prepare; the answer comes from the record.
func TestTheDeadDoNotWait(t *testing.T) {
	for name, kind := range map[string]storage.Kind{"abort": storage.KindAbort, "refuse": storage.KindRefuse} {
		t.Run(name, func(t *testing.T) {
			m := ready(t)
			first := part{p: 0, seq: 2, age: 2, puts: []string{"x"}}
			if m.vote(first) != storage.ReplyYes {
				t.Fatal("no vote")
			}
			waiter := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}
			waits, write := m.later(waiter.op()), m.later(put(0, keyIn(0, "x"), "v"))
			m.do(waiter.command(kind, nil))
			waits.wantReply(t, storage.ReplyNo, storage.Refused)
			if sealed := reply(t, waits.op.Result).Sealed; sealed != (kind == storage.KindRefuse) {
				t.Fatalf("sealed: %v", sealed)
			}
			m.do(first.abort())
			write.want(t, nil)
		})
	}
}

func TestWaitsEnd(t *testing.T) {
	m := ready(t)
	if m.vote(part{p: 0, seq: 9, age: 9, puts: []string{"x"}}) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	short := put(0, keyIn(0, "x"), "v")
	short.Deadline = m.now + time.Second
	get := read(0, "x")
	get.Deadline = m.now + time.Second
	prepare := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}.op()
	prepare.Deadline = m.now + time.Second
	single := part{p: 0, seq: 2, kind: storage.KindSingle, puts: []string{"x"}}.op()
	single.Deadline = m.now + time.Second
	soon := []*answer{m.later(short), m.later(get)}
	refused := []*answer{m.later(prepare), m.later(single)}
	last := m.later(put(0, keyIn(0, "x"), "v"))
	m.pass(900 * time.Millisecond)
	for _, a := range append(soon, refused...) {
		a.waits(t)
	}
	m.pass(200 * time.Millisecond)
	for _, a := range soon {
		a.want(t, worker.ErrLocked)
	}
	for _, a := range refused {
		a.wantReply(t, storage.ReplyNo, storage.Conflict)
	}
	m.pass(worker.MaxWait - 2*time.Second)
	last.waits(t)
	m.pass(2 * time.Second)
	last.want(t, worker.ErrLocked)
	if m.exists(keyIn(0, "x")) {
		t.Fatal("what was refused was done")
	}
}

// Who sends again still wants to wait.
func TestADuplicateProlongsTheWait(t *testing.T) {
	m := ready(t)
	if m.vote(part{p: 0, seq: 9, age: 9, puts: []string{"x"}}) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	waiter := part{p: 0, seq: 1, age: 1, puts: []string{"x"}}
	first, second := waiter.op(), waiter.op()
	first.Deadline, second.Deadline = m.now+time.Second, m.now+3*time.Second
	as := []*answer{m.later(first), m.later(second)}
	m.pass(2900 * time.Millisecond)
	for _, a := range as {
		a.waits(t)
	}
	m.pass(200 * time.Millisecond)
	for _, a := range as {
		a.wantReply(t, storage.ReplyNo, storage.Conflict)
	}
}

func TestABusyTokenIsToldAtOnce(t *testing.T) {
	m := ready(t)
	if m.vote(part{p: 0, seq: 2, age: 2, puts: []string{"x"}, token: true}) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	a := m.ask(part{p: 0, seq: 1, age: 1, puts: []string{"y"}, token: true}.op())
	m.settle()
	a.wantReply(t, storage.ReplyNo, storage.TokenBusy)
}

func TestExactViewAndLockedKeys(t *testing.T) {
	m := ready(t)
	m.do(put(0, keyIn(0, "x"), "old"))
	c := part{p: 0, seq: 1, puts: []string{"x", "y"}, gets: []string{"z"}, value: "new"}
	if m.vote(c) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	span := &worker.Op{Group: 0, Kind: worker.Read, Span: &worker.Span{}}
	m.do(span)
	want := map[string]bool{keyIn(0, "x"): true, keyIn(0, "y"): true}
	if len(span.Locked) != 2 || !want[string(span.Locked[0])] || !want[string(span.Locked[1])] {
		t.Fatalf("locked: %q", span.Locked)
	}
	op := read(0, "x", "y")
	op.Exact = true
	a := m.later(op)
	m.worker.Submit(c.commit0())
	m.worker.Submit(quiet(put(0, keyIn(0, "z"), "after")))
	m.settle()
	a.want(t, nil)
	defer op.View.Close()
	set, err := storage.ReadKeys(op.View, 0, [][]byte{[]byte(keyIn(0, "x")), []byte(keyIn(0, "y")), []byte(keyIn(0, "z"))}, nil)
	if err != nil || string(set.Items[0].Value) != "new" || string(set.Items[1].Value) != "new" {
		t.Fatalf("%+v, %v", set, err)
	}
}

// commit0 is commit for those who do not care for the answer.
func (c part) commit0() *worker.Op { return quiet(c.commit()) }

func quiet(op *worker.Op) *worker.Op {
	op.Done = func(*worker.Op) {}
	return op
}

// stuck collects what OnStuck was told, with the time.
type stuck struct {
	at   []time.Duration
	txns []storage.OpenTxn
}

func (m *machine) watchStuck() *stuck {
	s := &stuck{}
	m.onStuck = func(_ ring.PartitionID, o storage.OpenTxn) { s.at, s.txns = append(s.at, m.now), append(s.txns, o) }
	return s
}

func TestStuckTransactionsAreTold(t *testing.T) {
	for _, c := range []struct {
		name    string
		waiter  bool
		first   time.Duration // at the earliest; 200 ms later at the latest
		repeats int           // in 2 s more
	}{
		{"a waiter", true, 200 * time.Millisecond, 4},
		{"nobody waits", false, 2 * time.Second, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			s := m.watchStuck()
			m.form()
			m.open()
			m.settle()
			p := part{p: 1, seq: 1, puts: []string{"x"}, groups: []ring.PartitionID{0, 1}}
			if m.vote(p) != storage.ReplyYes {
				t.Fatal("no vote")
			}
			begun := m.now
			if c.waiter {
				m.later(read(1, "x"))
			}
			m.pass(c.first - 100*time.Millisecond)
			if len(s.at) != 0 {
				t.Fatalf("told %v after the vote", s.at[0]-begun)
			}
			m.pass(300 * time.Millisecond)
			if len(s.at) != 1 || s.txns[0].ID != p.id() || len(s.txns[0].Participants) != 2 {
				t.Fatalf("told %+v", s.txns)
			}
			m.pass(2 * time.Second)
			if n := len(s.at) - 1; n != c.repeats {
				t.Fatalf("told %d times more in 2 s", n)
			}
			m.do(p.commit())
			told := len(s.at)
			m.pass(3 * time.Second)
			if len(s.at) != told {
				t.Fatal("told of what is over")
			}
		})
	}
}

func TestWaitersAreAnsweredAtTheEnd(t *testing.T) {
	m := ready(t)
	if m.vote(part{p: 0, seq: 9, age: 9, puts: []string{"x"}}) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	as := []*answer{m.later(put(0, keyIn(0, "x"), "v")), m.later(read(0, "x")), m.later(part{p: 0, seq: 1, puts: []string{"x"}}.op())}
	if got := m.worker.Status()[0]; got.InDoubt != 1 || got.Waiting != 3 || got.Alarms != 0 {
		t.Fatalf("status %+v", got)
	}
	m.worker.Close()
	for _, a := range as {
		a.want(t, replica.ErrDropped)
	}
}

// Finished transactions leave nothing behind in the end: the leader proposes the sweep of what is kept for a while.
func TestLeaderSweeps(t *testing.T) {
	m := ready(t)
	c := part{p: 0, seq: 1, puts: []string{"x"}}
	if m.vote(c) != storage.ReplyYes {
		t.Fatal("no vote")
	}
	m.do(c.commit())
	m.do(part{p: 0, seq: 0}.command(storage.KindMark, func(t *storage.TxnCommand) { t.Mark, t.Attempt, t.Home = 2, 0, 0 }))
	if st := m.state(c); st.State != storage.TxnGone || st.Decision != storage.DecideThen {
		t.Fatalf("behind the mark: %+v", st)
	}
	m.pass(16 * time.Minute)
	if st := m.state(c); st.State != storage.TxnGone || st.Decision != storage.Undecided {
		t.Fatalf("16 minutes later: %+v", st)
	}
}

func (m *machine) state(c part) storage.TxnStatus {
	m.t.Helper()
	v := m.engine.View()
	defer v.Close()
	st, err := storage.ReadTxn(v, c.p, c.id())
	if err != nil {
		m.t.Fatal(err)
	}
	return st
}
