package worker_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// pass lets time go by in ticks of 100 ms.
func (m *machine) pass(d time.Duration) {
	m.t.Helper()
	for end := m.now + d; m.now < end; {
		m.now += 100 * time.Millisecond
		m.worker.Tick(m.now)
		m.settle()
	}
}

func (m *machine) exists(key string) bool {
	m.t.Helper()
	v := m.engine.View()
	defer v.Close()
	_, err := storage.Get(v, 0, []byte(key))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		m.t.Fatal(err)
	}
	return err == nil
}

func (m *machine) putTTL(key string, ttl time.Duration) {
	m.t.Helper()
	m.putTTLIn(0, key, ttl)
}

func (m *machine) putTTLIn(p ring.PartitionID, key string, ttl time.Duration) {
	m.t.Helper()
	c := storage.Command{Kind: storage.KindPut, Key: []byte(key), TTL: storage.Millis(ttl.Milliseconds())}
	a := m.ask(&worker.Op{Group: p, Kind: worker.Write, Data: storage.AppendCommand(nil, &c)})
	m.settle()
	a.want(m.t, nil)
}

// A key lives its whole TTL, counted on the partition's clock, and goes within a second of it.
func TestKeysExpireOnTime(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.putTTL("short", 2*time.Second)
	m.putTTL("long", 5*time.Second)
	m.pass(2 * time.Second)
	if !m.exists("short") {
		t.Error("gone at the end of its TTL: early, for its client heard of it later than the clock began")
	}
	m.pass(time.Second)
	if m.exists("short") {
		t.Error("still there a second after its TTL")
	}
	if !m.exists("long") {
		t.Error("another key went with it")
	}
	m.pass(3 * time.Second)
	if m.exists("long") {
		t.Error("the second key is still there a second after its TTL")
	}
}

// A TTL counts from when the request arrived, however long the turn before took.
func TestATTLCountsFromItsArrival(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.now += time.Minute // in which the node was busy with its last turn
	m.worker.Begin(m.now)
	m.putTTL("k", 2*time.Second)
	m.pass(2 * time.Second)
	if !m.exists("k") {
		t.Error("gone early: it was stamped with the time of the turn before")
	}
	m.pass(time.Second)
	if m.exists("k") {
		t.Error("still there a second after its TTL")
	}
}

// The partition's clock does not go back when a node starts again, nor does it run while nobody counts: a key may live
// longer for that, never shorter.
func TestExpiryAfterARestart(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.putTTL("k", 3*time.Second)
	m.pass(2 * time.Second)
	m.powercut()
	m.now += time.Hour // nobody counted
	m.open()
	m.settle()
	m.pass(500 * time.Millisecond)
	if !m.exists("k") {
		t.Fatal("gone early: time in which the node did not run was counted")
	}
	m.pass(4 * time.Second)
	if m.exists("k") {
		t.Error("never goes")
	}
}

// Many keys that expire at once go in bounded steps, all of them soon.
func TestManyKeysExpireTogether(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	const keys = 500
	for i := range keys {
		m.putTTL(string(rune('a'+i%26))+time.Duration(i).String(), time.Second)
	}
	m.pass(3 * time.Second)
	v := m.engine.View()
	defer v.Close()
	left, _, err := storage.Scan(v, 0, storage.ScanOptions{KeysOnly: true})
	if err != nil || len(left) > 0 {
		t.Errorf("%d of %d keys left two seconds late, %v", len(left), keys, err)
	}
}

// keysIn counts the keys of a partition, and those that have expired and are not purged yet.
func (m *machine) keysIn(p ring.PartitionID) (live, expired int) {
	for _, st := range m.worker.Status() {
		if st.Partition == p {
			return int(st.Keys), int(st.Expired)
		}
	}
	return 0, 0
}

// Keys that are due in one group at once go one expire after another, without a tick between.
func TestManyKeysExpireInOneTick(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	const keys = 2*storage.MaxExpire + 10
	for i := range keys {
		m.putTTL(fmt.Sprint(i), time.Second)
	}
	m.now += 2 * time.Second
	m.worker.Tick(m.now)
	if st := m.worker.Status()[0]; st.Overdue != time.Second {
		t.Errorf("overdue by %v, want 1s", st.Overdue)
	}
	for range 3 { // each group has its tick
		m.settle()
		m.worker.Tick(m.now)
	}
	m.settle()
	if live, _ := m.keysIn(0); live != 0 {
		t.Errorf("%d keys are left", live)
	}
	if got := m.worker.Expired(); got != keys {
		t.Errorf("%d expired, want %d", got, keys)
	}
	if st := m.worker.Status()[0]; st.Overdue != 0 {
		t.Errorf("overdue by %v with nothing left", st.Overdue)
	}
}

// A key that a transaction had locked when it was due counts as expired once it has gone with the lock.
func TestCountsKeysThatWereHeld(t *testing.T) {
	m := ready(t)
	m.putTTL(keyIn(0, "held"), time.Second)
	reader := part{p: 0, seq: 1, gets: []string{"held"}, groups: []ring.PartitionID{0, 1}}
	m.do(reader.op())
	m.pass(3 * time.Second)
	if live, _ := m.keysIn(0); live != 1 || m.worker.Expired() != 0 {
		t.Fatalf("%d keys, %d expired while it is locked, want 1 and none", live, m.worker.Expired())
	}
	m.do(reader.abort())
	if live, _ := m.keysIn(0); live != 0 || m.worker.Expired() != 1 {
		t.Fatalf("%d keys, %d expired once it is unlocked, want none and 1", live, m.worker.Expired())
	}
}

// Without keys that are due, and without expired ones to purge, there are no entries.
func TestExpiryAtRest(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.putTTL("brief", time.Second)
	m.putTTL("long", time.Hour)
	m.pass(5 * time.Second)
	if live, expired := m.keysIn(0); live != 1 || expired != 0 {
		t.Fatalf("%d keys, %d to purge, want 1 and none", live, expired)
	}
	before := m.worker.Status()[0].Applied
	m.pass(time.Minute)
	if after := m.worker.Status()[0].Applied; after != before {
		t.Errorf("%d entries within a minute at rest", after-before)
	}
}

// obey answers what the machine, node 2, sent to replica 1.1 as a follower does that agrees to everything but to lead.
func (m *machine) obey() {
	m.t.Helper()
	answers := map[raftpb.MessageType]raftpb.MessageType{
		raftpb.MsgPreVote: raftpb.MsgPreVoteResp, raftpb.MsgVote: raftpb.MsgVoteResp,
		raftpb.MsgApp: raftpb.MsgAppResp, raftpb.MsgHeartbeat: raftpb.MsgHeartbeatResp,
	}
	for len(m.sent) > 0 {
		msgs := m.sent
		m.sent = nil
		for _, msg := range msgs {
			answer, ok := answers[msg.GetType()]
			if !ok || msg.GetTo() != uint64(leader) {
				continue
			}
			m.worker.Deliver(0, &raftpb.Message{
				Type: answer.Enum(), To: new(uint64(follower)), From: new(uint64(leader)), Term: new(msg.GetTerm()),
				Index: new(msg.GetIndex() + uint64(len(msg.GetEntries()))), Context: msg.GetContext(),
			})
		}
		m.settle()
	}
}

// tickLed lets ticks go by on node 2, whose follower obeys.
func (m *machine) tickLed(ticks int) {
	m.t.Helper()
	for range ticks {
		m.now += 100 * time.Millisecond
		m.worker.Tick(m.now)
		m.settle()
		m.obey()
	}
}

// An expire that raft refuses, because the leadership is being handed over, is proposed again when that came to nothing.
func TestExpiryAfterARefusedProposal(t *testing.T) {
	m := filled(t)
	leads := func() (led bool) {
		m.worker.Led(func(ring.PartitionID, uint64) { led = true })
		return led
	}
	for n := 0; !leads(); n++ {
		if n > 100 {
			t.Fatal("never leads")
		}
		m.tickLed(1)
	}
	c := storage.Command{Kind: storage.KindPut, Key: []byte("brief"), TTL: 100}
	a := m.ask(&worker.Op{Group: 0, Kind: worker.Write, Data: storage.AppendCommand(nil, &c)})
	m.settle()
	m.obey()
	a.want(t, nil)
	if m.worker.HandOver() == 0 {
		t.Fatal("nothing is handed over")
	}
	m.settle()
	refused := m.ask(put(0, "k", "v"))
	m.tickLed(3) // the key's time comes, and the expire is refused as this write is
	refused.want(t, replica.ErrDropped)
	if !m.exists("brief") {
		t.Fatal("gone: its expire was not refused, and there is nothing to see")
	}
	m.tickLed(10)
	if !leads() {
		t.Fatal("the leadership went, and with it what is tested")
	}
	if m.exists("brief") {
		t.Error("never goes")
	}
}
