package worker_test

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// entry is what a leader of term 4 may send at index 21.
func entry(kind storage.Kind) *raftpb.Entry {
	e := &raftpb.Entry{Index: new(uint64(21)), Term: new(uint64(4))}
	if kind != storage.KindInvalid {
		e.Data = storage.AppendCommand(nil, &storage.Command{Kind: kind, Key: []byte("k"), Limit: 1})
	}
	return e
}

// A follower takes what its disk has room for; what it does not take it has never seen.
func TestFollowerOnAFullDisk(t *testing.T) {
	for _, c := range []struct {
		name  string
		space worker.Space
		kind  storage.Kind // KindInvalid: the empty entry of a new leader
		taken bool
	}{
		{"low, put", worker.Low, storage.KindPut, true},
		{"tight, put", worker.Tight, storage.KindPut, false},
		{"tight, delete", worker.Tight, storage.KindDelete, true},
		{"tight, expire", worker.Tight, storage.KindExpire, true},
		{"tight, new leader", worker.Tight, storage.KindInvalid, true},
		{"full, delete", worker.Full, storage.KindDelete, false},
		{"full, new leader", worker.Full, storage.KindInvalid, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := filled(t)
			m.worker.SetSpace(c.space, []ring.NodeID{2})
			msg := appendFrom(4, 20, 3, 0, 20)
			msg.Entries = []*raftpb.Entry{entry(c.kind)}
			m.worker.Deliver(0, msg)
			m.settle()
			if got := m.log.LastIndex(0) == 21; got != c.taken {
				t.Errorf("taken: %t", got)
			}
			m.worker.SetSpace(worker.Roomy, nil)
			m.worker.Deliver(0, msg)
			m.settle()
			if m.log.LastIndex(0) != 21 {
				t.Error("not taken with room again")
			}
		})
	}
}

// A full disk stops an install between two steps, and room lets it go on.
func TestInstallWaitsForSpace(t *testing.T) {
	m := filled(t)
	m.deliverSnapshot("second", 40, 6)
	if err := m.turn(); err != nil { // takes the snapshot up
		t.Fatal(err)
	}
	m.worker.SetSpace(worker.Full, []ring.NodeID{2})
	m.settle()
	if got := m.spools["second"]; got == nil {
		t.Fatal("installed on a full disk")
	}
	m.worker.SetSpace(worker.Roomy, nil)
	m.settle()
	if got := m.get(0, "k"); got != "second" {
		t.Errorf("with room again: %q", got)
	}
}
