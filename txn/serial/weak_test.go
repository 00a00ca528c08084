package serial_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringkv/ringkv/txn/serial"
)

// TestWeakStoresAreConvicted runs stores that are known to be too weak. They must be found out nearly always, and of
// nothing that their isolation level does not allow.
func TestWeakStoresAreConvicted(t *testing.T) {
	noUnknown := large()
	noUnknown.unknown, noUnknown.aborted = 0, 20
	once := large()
	once.once = true
	tests := []struct {
		name  string
		store func(dice) store
		load  load
		may   []serial.Anomaly
	}{
		{"snapshot isolation", newSnapshot, large(), []serial.Anomaly{serial.G2, serial.G2Realtime}},
		{"read committed", newReadCommitted, large(), []serial.Anomaly{serial.Internal, serial.LostUpdate, serial.GSingle, serial.G2}},
		{"read committed, each key once", newReadCommitted, once, []serial.Anomaly{serial.LostUpdate, serial.GSingle, serial.G2}},
		{"read uncommitted", newDirty, noUnknown, []serial.Anomaly{serial.G0, serial.G1a, serial.G1b, serial.G1c}},
		{"serializable, stale reads", newStale, large(), []serial.Anomaly{serial.GSingleRealtime, serial.G2Realtime}},
		{"half of an unknown commit", newHalf, large(), []serial.Anomaly{
			serial.G1b, serial.GSingle, serial.G2, serial.GSingleRealtime, serial.G2Realtime,
		}},
		{"commits are lost", newLossy, large(), []serial.Anomaly{serial.LostUpdate, serial.LostAppend}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const runs, enough = 50, 45
			convicted := map[serial.Anomaly]int{}
			for seed := range uint64(runs) {
				d := rand.New(rand.NewPCG(seed, 1))
				h, final := simulate(d, tt.load, tt.store(d))
				rep := mustCheckFinal(t, h, final)
				if worst := rep.Worst(); worst != serial.None {
					convicted[worst]++
					if !slices.Contains(tt.may, worst) {
						t.Errorf("seed %d: unexpected verdict:\n%v", seed, rep)
					}
				}
			}
			sum := 0
			for _, n := range convicted {
				sum += n
			}
			t.Logf("%d of %d convicted: %v", sum, runs, convicted)
			if sum < enough {
				t.Errorf("%d of %d convicted, want %d", sum, runs, enough)
			}
		})
	}
}

func mustCheck(t testing.TB, h []serial.Txn) serial.Report {
	t.Helper()
	rep, err := serial.Check(h)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func mustCheckFinal(t testing.TB, h []serial.Txn, final lists) serial.Report {
	t.Helper()
	rep, err := serial.CheckFinal(h, final)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// versions is lists that remember what they were.
type versions struct {
	lists
	commits int
	when    map[serial.Key][]int // of each value: the number of its commit
}

func newVersions() versions { return versions{lists{}, 0, map[serial.Key][]int{}} }

func (v *versions) apply(t *running) {
	v.commits++
	v.lists.apply(t)
	for _, op := range t.own {
		v.when[op.Key] = append(v.when[op.Key], v.commits)
	}
}

// asOf is how a list was after so many commits.
func (v *versions) asOf(commits int, key serial.Key) []serial.Value {
	n, _ := slices.BinarySearch(v.when[key], commits+1)
	return v.lists[key][:n]
}

// snapshotStore is snapshot isolation: reads as of the beginning; the first to commit wins; write skew goes unnoticed.
type snapshotStore struct{ versions }

func newSnapshot(dice) store { return &snapshotStore{newVersions()} }

func (s *snapshotStore) begin(t *running) { t.snapshot = s.commits }
func (s *snapshotStore) abort(*running)   {}

func (s *snapshotStore) op(t *running, op *serial.Op) {
	if op.Kind == serial.OpRead {
		op.Seen = t.see(op.Key, s.asOf(t.snapshot, op.Key))
	}
}

func (s *snapshotStore) commit(t *running) bool {
	for _, op := range t.own {
		if len(s.lists[op.Key]) != len(s.asOf(t.snapshot, op.Key)) {
			return false
		}
	}
	s.apply(t)
	return true
}

// readCommittedStore reads what is committed at that moment and keeps appends back until the commit.
type readCommittedStore struct{ lists }

func newReadCommitted(dice) store { return &readCommittedStore{lists{}} }

func (s *readCommittedStore) begin(*running) {}
func (s *readCommittedStore) abort(*running) {}

func (s *readCommittedStore) op(t *running, op *serial.Op) {
	if op.Kind == serial.OpRead {
		op.Seen = s.read(t, op.Key)
	}
}

func (s *readCommittedStore) commit(t *running) bool {
	s.apply(t)
	return true
}

// dirtyStore appends at once and takes it back to abort.
type dirtyStore struct{ lists }

func newDirty(dice) store { return &dirtyStore{lists{}} }

func (s *dirtyStore) begin(*running)       {}
func (s *dirtyStore) commit(*running) bool { return true }

func (s *dirtyStore) op(_ *running, op *serial.Op) {
	if op.Kind == serial.OpRead {
		op.Seen = slices.Clip(s.lists[op.Key])
		return
	}
	s.append(op.Key, op.Value)
}

func (s *dirtyStore) abort(t *running) {
	for _, op := range t.own {
		kept := slices.Clone(s.lists[op.Key])
		s.lists[op.Key] = slices.DeleteFunc(kept, func(v serial.Value) bool { return v == op.Value })
	}
}

// staleStore is serializable, but what only reads may see an old state.
type staleStore struct {
	versions
	dice dice
}

func newStale(d dice) store { return &staleStore{newVersions(), d} }

func (s *staleStore) begin(*running)          {}
func (s *staleStore) op(*running, *serial.Op) {}
func (s *staleStore) abort(*running)          {}

func (s *staleStore) commit(t *running) bool {
	now := s.commits
	if len(t.own) == 0 && s.dice.IntN(4) == 0 {
		now = max(0, now-s.dice.IntN(10))
	}
	t.own = nil
	for i := range t.txn.Ops {
		op := &t.txn.Ops[i]
		if op.Kind == serial.OpAppend {
			t.own = append(t.own, op)
			continue
		}
		op.Seen = t.see(op.Key, s.asOf(now, op.Key))
	}
	s.apply(t)
	return true
}

// halfStore applies only the first append of a transaction whose client has gone.
type halfStore struct{ serialStore }

func newHalf(dice) store { return &halfStore{serialStore{lists{}}} }

func (s *halfStore) commit(t *running) bool {
	if t.fate != commits && len(t.own) > 1 {
		t.own = t.own[:1]
		s.apply(t)
		return true
	}
	return s.execute(t)
}

// lossyStore forgets some commits.
type lossyStore struct {
	serialStore
	dice dice
}

func newLossy(d dice) store { return &lossyStore{serialStore{lists{}}, d} }

func (s *lossyStore) commit(t *running) bool {
	if s.dice.IntN(20) == 0 {
		return maps.Clone(s.lists).execute(t)
	}
	return s.execute(t)
}
