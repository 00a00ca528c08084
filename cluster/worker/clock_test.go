package worker_test

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

// A leader that began to count late (it was started again while the group was quiet) stamps low. What lives by such a
// stamp lives its whole time under the next leader too, whose own estimate is ahead.
func TestDeadlinesOutliveALeaderWhoseClockLags(t *testing.T) {
	for name, c := range map[string]*storage.Command{
		"lease": {Kind: storage.KindAcquire, Clock: 1000, Lease: &storage.LeaseCommand{
			Name: []byte("m"), Waiter: waiterID(1), Owner: "o", TTL: 10_000,
		}},
		"key": {Kind: storage.KindPut, Clock: 1000, Key: []byte("brief"), TTL: 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			m := filled(t)
			m.now += time.Hour // this node has counted all the time
			m.worker.Tick(m.now)
			m.settle()
			late := appendFrom(4, 20, 3, 0, 21)
			late.Entries = []*raftpb.Entry{{Index: new(uint64(21)), Term: new(uint64(4)), Data: storage.AppendCommand(nil, c)}}
			m.worker.Deliver(0, late)
			m.settle()
			m.lead()
			m.tickLed(90)
			if !m.lives(c) {
				t.Fatal("gone early")
			}
			m.tickLed(20)
			if m.lives(c) {
				t.Fatal("there for ever")
			}
		})
	}
}

// lead has node 2 win an election.
func (m *machine) lead() {
	m.t.Helper()
	for n := 0; m.worker.Status()[0].Role != "leader"; n++ {
		if n > 100 {
			m.t.Fatal("never leads")
		}
		m.tickLed(1)
	}
}

// lives tells whether what c has set is there.
func (m *machine) lives(c *storage.Command) bool {
	m.t.Helper()
	if c.Lease == nil {
		return m.exists(string(c.Key))
	}
	a := m.ask(&worker.Op{Group: 0, Kind: worker.Read, LeaseName: c.Lease.Name})
	m.settle()
	m.obey()
	return a.err == nil && a.times == 1
}
