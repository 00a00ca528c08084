package worker_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

func (m *machine) meta(p ring.PartitionID) storage.Meta {
	m.t.Helper()
	v := m.engine.View()
	defer v.Close()
	meta, err := storage.ReadMeta(v, p)
	if err != nil {
		m.t.Fatal(err)
	}
	return meta
}

func TestFormIsDurable(t *testing.T) {
	m := newMachine(t)
	m.rng = rand.New(worst{})
	m.form()
	m.powercut()
	m.open()
	m.settle()
	a := m.ask(put(0, "k", "v"))
	m.settle()
	a.want(t, nil)
}

// Writes wait for the log only. The engine follows, and until it has, the log keeps everything that it may lose.
func TestNothingIsLostBeforeTheEngineIsSynced(t *testing.T) {
	for ticks := 1; ticks < 45; ticks++ {
		m := newMachine(t)
		m.keep = 1
		m.form()
		m.open()
		m.settle()
		for i := range ticks {
			a := m.ask(put(0, fmt.Sprint(i), "v"))
			m.settle()
			a.want(t, nil)
			m.pass(100 * time.Millisecond)
		}
		before := m.meta(0)
		m.rng = rand.New(worst{})
		m.powercut()
		if lag := before.Applied - m.meta(0).Applied; lag > 10+2 {
			t.Fatalf("after %d ticks: the engine lost %d entries, of more than a second", ticks, lag)
		}
		m.open()
		m.settle()
		for i := range ticks {
			if got := m.get(0, fmt.Sprint(i)); got != "v" {
				t.Fatalf("after %d ticks: key %d is %q", ticks, i, got)
			}
		}
	}
}

// admit gives the cluster a second node, so that every group's leader adds a replica of it.
func (m *machine) admit() {
	m.t.Helper()
	next, _, err := m.worker.State().Admit(meta.Admission{
		ClusterID: "c", UUID: "v", Name: "b", HTTP: "h", Peer: "p", Gossip: "g", Weight: 1,
	}, func(ring.NodeID) bool { return true })
	if err != nil {
		m.t.Fatal(err)
	}
	value, err := next.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	a := m.ask(put(storage.MetaPartition, meta.Key, string(value)))
	m.settle()
	a.want(m.t, nil)
}

// A configuration that is in use is not forgotten: this node could else be elected by the members of an older one, here
// by itself alone.
func TestConfigurationIsDurableBeforeItIsUsed(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.admit()
	m.pass(400 * time.Millisecond)
	learners := func() []uint64 {
		conf, err := replica.DecodeConf(m.meta(0).Conf)
		if err != nil {
			t.Fatal(err)
		}
		return conf.GetLearners()
	}
	want := learners()
	if len(want) == 0 {
		t.Fatal("no learner was added, nothing can be shown")
	}
	m.rng = rand.New(worst{})
	m.powercut()
	if got := learners(); !slices.Equal(got, want) {
		t.Fatalf("learners %v after the power cut, %v before", got, want)
	}
}

// What is left of a replica that was dropped does not come back under its successor.
func TestDropIsDurableBeforeASuccessorIsMade(t *testing.T) {
	m := filled(t)
	if err := m.worker.Remove(0, follower); err != nil {
		t.Fatal(err)
	}
	m.settle()
	successor := follower + 1
	m.worker.Deliver(0, &raftpb.Message{
		Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(successor)), From: new(uint64(leader)), Term: new(uint64(9)),
	})
	if s, _ := m.log.State(0); s.Removed || s.Replica != uint64(successor) {
		t.Fatalf("no successor was made, nothing can be shown: %+v", s)
	}
	m.rng = rand.New(worst{})
	m.powercut()
	if err := m.tryOpen(2); err != nil {
		t.Fatal(err)
	}
	if got := m.meta(0).Applied; got != 0 {
		t.Errorf("the successor begins at index %d of its predecessor", got)
	}
}

// A drop that a power cut took back is done again.
func TestDropIsRepeated(t *testing.T) {
	for seed := range uint64(20) {
		m := filled(t)
		if err := m.worker.Remove(0, follower); err != nil {
			t.Fatal(err)
		}
		m.settle()
		m.rng = rand.New(rand.NewPCG(seed, 1))
		m.powercut()
		if err := m.tryOpen(2); err != nil {
			t.Fatal(err)
		}
		m.settle()
		v := m.engine.View()
		left, err := storage.Partitions(v)
		v.Close()
		if err != nil || len(left) > 0 {
			t.Fatalf("seed %d: partitions %v are left, %v", seed, left, err)
		}
	}
}

// The engine learns within a second how far the log is, votes included, and has it on disk.
func TestEngineMarksTheLog(t *testing.T) {
	m := filled(t)
	m.worker.Deliver(0, vote(leader, 5))
	m.settle()
	voted := m.log.Durable()
	m.pass(1100 * time.Millisecond)
	m.rng = rand.New(worst{})
	m.powercut()
	v := m.engine.View()
	defer v.Close()
	if got, err := storage.LogMark(v); err != nil || got < voted {
		t.Errorf("mark %d, %v; the vote is in record %d", got, err, voted)
	}
}
