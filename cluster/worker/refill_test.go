package worker_test

import (
	"errors"
	"testing"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// damaged makes the machine node 2 with a replica of partition 0 whose log ends at 30, all of it committed and applied,
// and whose state has lost a key and gained a cell.
func damaged(t *testing.T) *machine {
	t.Helper()
	m := filled(t)
	m.worker.Deliver(0, appendFrom(4, 20, 3, 10, 30))
	m.settle()
	if err := m.worker.Sync(); err != nil {
		t.Fatal(err)
	}
	v := m.engine.View()
	var key []byte
	err := v.Scan([]byte{0, 0}, []byte{0, 1}, false, func(k, value []byte) (bool, error) {
		if string(k[3:]) == "k" {
			key = append([]byte(nil), k...)
		}
		return true, nil
	})
	v.Close()
	b := m.engine.Batch()
	if err := errors.Join(err, b.Delete(key), b.Set(append(key, 'x'), []byte("rot")), b.Commit(), m.engine.Sync()); err != nil {
		t.Fatal(err)
	}
	if m.verify() == nil {
		t.Fatal("not damaged")
	}
	return m
}

func (m *machine) verify() error {
	v := m.engine.View()
	defer v.Close()
	return storage.Verify(v, 0)
}

// refill hands over a snapshot of partition 0 that was taken at an index of term 4.
func (m *machine) refill(index uint64) error {
	m.t.Helper()
	_, s := m.snapshot("good", index, 4, leader, follower, other)
	return m.worker.Refill(0, s, storage.Meta{Applied: index, AppliedTerm: 4})
}

// A damaged state is replaced by a snapshot, wherever in the log that was taken, and what followed is applied again. The
// log stays as it was: it holds what this replica has acknowledged.
func TestRefill(t *testing.T) {
	for _, index := range []uint64{22, 25, 30} {
		m := damaged(t)
		if err := m.refill(index); err != nil {
			t.Fatal(err)
		}
		m.settle()
		want := "entry"
		if index == 30 {
			want = "good" // nothing followed
		}
		if err := m.verify(); err != nil || m.get(0, "k") != want {
			t.Errorf("index %d: %q, %v", index, m.get(0, "k"), err)
		}
		if got := m.log.LastIndex(0); got != 30 {
			t.Errorf("index %d: the log ends at %d", index, got)
		}
		m.worker.Deliver(0, appendFrom(4, 30, 4, 1, 31))
		m.settle()
		if got := m.log.LastIndex(0); got != 31 {
			t.Errorf("index %d: takes no more entries: the log ends at %d", index, got)
		}
	}
}

// One that was taken ahead of the log makes the log follow, as any snapshot does.
func TestRefillAheadOfTheLog(t *testing.T) {
	m := damaged(t)
	if err := m.refill(40); err != nil {
		t.Fatal(err)
	}
	m.settle()
	m.worker.Deliver(0, appendFrom(4, 40, 4, 1, 41))
	m.settle()
	if err := m.verify(); err != nil || m.get(0, "k") != "entry" || m.log.LastIndex(0) != 41 {
		t.Errorf("%q, log ends at %d, %v", m.get(0, "k"), m.log.LastIndex(0), err)
	}
}

// A crash at any step loses nothing that the log holds, and the start finishes or forgets the refill.
func TestRefillSurvivesACrashAtEveryStep(t *testing.T) {
	for name, fault := range map[string]memdb.Fault{"lost": memdb.FaultLost, "kept": memdb.FaultKept} {
		t.Run(name, func(t *testing.T) {
			for crash := range 12 {
				m := damaged(t)
				m.left, m.fault = crash, fault
				if err := m.refill(25); err != nil {
					t.Fatal(err)
				}
				broke := m.turnUntilBroken()
				m.powercut()
				if err := m.tryOpen(2); err != nil {
					t.Fatalf("crash after %d operations: %v", crash, err)
				}
				if got := m.log.LastIndex(0); got != 30 {
					t.Fatalf("crash after %d operations: the log ends at %d", crash, got)
				}
				m.settle()
				if m.verify() != nil { // it had not begun
					if err := m.refill(25); err != nil {
						t.Fatal(err)
					}
				}
				m.worker.Deliver(0, appendFrom(4, 30, 4, 1, 31))
				m.settle()
				if err := m.verify(); err != nil || m.get(0, "k") != "entry" {
					t.Fatalf("crash after %d operations: %q, %v", crash, m.get(0, "k"), err)
				}
				if !broke {
					return
				}
			}
			t.Fatal("the refill was never whole")
		})
	}
}

func TestRefillIsRefused(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	if err := m.refill(20); !errors.Is(err, worker.ErrNotNow) {
		t.Errorf("of a leader: %v", err)
	}
	if m.spools["good"] != nil {
		t.Error("its spool stays")
	}
	m = damaged(t)
	if err := m.refill(19); !errors.Is(err, worker.ErrNotNow) {
		t.Errorf("from before the log: %v", err)
	}
}
