package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// keys of different partitions, found by their hash.
func (g *groups) apart(n int) []string {
	var keys []string
	var seen []storage.PartitionID
	for i := 0; len(keys) < n; i++ {
		key := fmt.Sprintf("key/%d", i)
		if p := g.ring.Partition([]byte(key)); !slices.Contains(seen, p) {
			seen, keys = append(seen, p), append(keys, key)
		}
	}
	return keys
}

func put(key, value string) storage.TxnOp {
	return storage.TxnOp{Kind: storage.OpPut, Key: []byte(key), Value: []byte(value)}
}

func get(key string) storage.TxnOp { return storage.TxnOp{Kind: storage.OpGet, Key: []byte(key)} }

func add(key string, by int64) storage.TxnOp {
	lowest := int64(0)
	return storage.TxnOp{Kind: storage.OpAdd, Key: []byte(key), By: by, Min: &lowest}
}

func value(key, want string) storage.TxnCondition {
	return storage.TxnCondition{Test: storage.TestValue, Key: []byte(key), Value: []byte(want)}
}

var protocols = map[string]storage.Protocol{"auto": storage.Auto, "2pc": storage.TwoPhase, "3pc": storage.ThreePhase}

func TestCommitsOverSeveralPartitions(t *testing.T) {
	for name, protocol := range protocols {
		t.Run(name, func(t *testing.T) {
			g := newGroups(t)
			s := g.start(1, 1)
			defer s.Close()
			k := g.apart(3)
			g.put(k[0], "100")
			o, err := s.Transact(t.Context(), &txn.Request{
				If:   []storage.TxnCondition{value(k[0], "100")},
				Then: []storage.TxnOp{add(k[0], -30), add(k[1], 30), put(k[2], "paid"), get(k[1])}, Protocol: protocol,
			})
			if err != nil {
				t.Fatal(err)
			}
			if o.Decision != storage.DecideThen || o.Protocol != protocol || len(o.Participants) != 3 || len(o.Results) != 4 {
				t.Errorf("outcome %+v", o)
			}
			if string(o.Results[3].Value) != "30" || o.Results[3].Version != o.Results[1].Version {
				t.Errorf("its own add is read as %+v", o.Results[3])
			}
			g.eventually("not applied", func() bool { return g.get(k[0]) == "70" && g.get(k[1]) == "30" && g.get(k[2]) == "paid" })
			if st, err := s.TxnStatus(t.Context(), o.ID); err != nil || st != txn.StatusCommitted {
				t.Errorf("status %v, %v", st, err)
			}
		})
	}
}

func TestOnePartitionIsOneEntry(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	o, err := s.Transact(t.Context(), &txn.Request{Then: []storage.TxnOp{put("{a}1", "x"), put("{a}2", "y")}})
	if err != nil || o.Protocol != storage.OnePhase || g.get("{a}2") != "y" {
		t.Fatalf("%+v, %v", o, err)
	}
	if g.applied[storage.KindSingle] != 1 || g.applied[storage.KindPrepare]+g.applied[storage.KindCommit] != 0 {
		t.Errorf("applied %v", g.applied)
	}
}

// TestTheLargestFitsOnePartition: the limit of a transaction is on its keys and values alone, also where one partition
// gets all of them.
func TestTheLargestFitsOnePartition(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	largest := func(more int) *txn.Request {
		r := &txn.Request{Token: &storage.Token{Key: [16]byte{1, byte(more)}}}
		left := storage.MaxTxnBytes + more
		for i := 0; left > 0; i++ {
			key := fmt.Sprintf("{a}%04d", i)
			value := min(left-len(key), 1<<20)
			r.Then = append(r.Then, put(key, strings.Repeat("v", value)))
			left -= len(key) + value
		}
		return r
	}
	if _, err := s.Transact(t.Context(), largest(0)); err != nil {
		t.Errorf("the largest: %v", err)
	}
	if _, err := s.Transact(t.Context(), largest(1)); !errors.Is(err, txn.ErrTooLarge) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestNothingIsDone(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	k := g.apart(2)
	g.put(k[0], "10")
	for name, r := range map[string]*txn.Request{
		"false condition": {If: []storage.TxnCondition{value(k[0], "11")}, Then: []storage.TxnOp{put(k[0], "x"), put(k[1], "x")}},
		"broken bound":    {Then: []storage.TxnOp{add(k[0], -11), add(k[1], 11)}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := s.Transact(t.Context(), r)
			if err != nil || o.Decision != storage.DecideNothing || len(o.Failed) != 1 || string(o.Failed[0].Key) != k[0] {
				t.Fatalf("%+v, %v", o, err)
			}
			if g.get(k[0]) != "10" || g.get(k[1]) != "(absent)" {
				t.Errorf("changed to %s, %s", g.get(k[0]), g.get(k[1]))
			}
			g.eventually("status is not aborted", func() bool {
				st, err := s.TxnStatus(t.Context(), o.ID)
				return err == nil && st == txn.StatusAborted
			})
		})
	}
}

func TestReadOnlyWritesNoEntry(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	k := g.apart(2)
	g.put(k[0], "a")
	o, err := s.Transact(t.Context(), &txn.Request{
		If: []storage.TxnCondition{value(k[0], "a")}, Then: []storage.TxnOp{get(k[1]), get(k[0])},
	})
	if err != nil || o.ID == "" || len(o.Results) != 2 || o.Results[0].Exists || string(o.Results[1].Value) != "a" {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, err := s.TxnStatus(t.Context(), o.ID); !errors.Is(err, txn.ErrNotFound) {
		t.Errorf("status of a read: %v", err)
	}
	if len(g.applied) != 1 { // the put
		t.Errorf("applied %v", g.applied)
	}
}

// TestAtRestNothingIsKept: I13. Marks reach groups that nobody speaks to any more.
func TestAtRestNothingIsKept(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	k := g.apart(4)
	for i := range uint64(40) {
		_, err := s.Transact(t.Context(), &txn.Request{Then: []storage.TxnOp{put(k[i%4], "x"), put(k[(i+1)%4], "y")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range k {
		g.put(key, "z") // no lock is left
	}
	g.eventually("records are left", func() bool { return g.forgotten(k, storage.TxnID{Node: 1, Incarnation: 1, Seq: 40}) })
}

// TestFewCommandsCarryMarks: each is a cell to write on every replica.
func TestFewCommandsCarryMarks(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	k := g.apart(2)
	const transactions = 64
	commands, marks := 0, 0
	g.mu.Lock()
	g.refuse = func(_ storage.PartitionID, c *storage.Command) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if c.Kind != storage.KindMark {
			commands++
			marks += int(min(c.Txn.Mark, 1))
		}
		return nil
	}
	g.mu.Unlock()
	for range transactions {
		if _, err := s.Transact(t.Context(), &txn.Request{Then: []storage.TxnOp{put(k[0], "x"), put(k[1], "y")}}); err != nil {
			t.Fatal(err)
		}
	}
	g.eventually("records are left", func() bool { return g.forgotten(k, storage.TxnID{Node: 1, Incarnation: 1, Seq: transactions}) })
	g.mu.Lock()
	defer g.mu.Unlock()
	if marks == 0 || marks > commands/8 {
		t.Errorf("%d of %d commands carried a mark", marks, commands)
	}
}

var errLost = errors.New("lost")

// TestAnotherNodeFinishes: a coordinator dies between its prepares and its commits.
func TestAnotherNodeFinishes(t *testing.T) {
	for name, protocol := range protocols {
		t.Run(name, func(t *testing.T) {
			g := newGroups(t)
			dying, other := g.start(1, 1), g.start(2, 1)
			defer other.Close()
			k := g.apart(3)
			g.refuse = func(_ storage.PartitionID, c *storage.Command) error {
				if c.Txn.ID.Node == 1 && c.Kind != storage.KindPrepare && c.Kind != storage.KindRefuse && c.Kind != storage.KindInquire {
					return errLost
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, _ = dying.Transact(ctx, &txn.Request{Then: []storage.TxnOp{put(k[0], "x"), put(k[1], "x"), put(k[2], "x")}, Protocol: protocol})
			open := g.open()
			if len(open) != 3 {
				t.Fatalf("%d groups are in doubt", len(open))
			}
			g.mu.Lock()
			delete(g.nodes, 1)
			g.refuse = nil
			g.mu.Unlock()
			go dying.Close() // it has nobody to talk to about what it holds
			other.Suspect(open[0])
			g.eventually("still in doubt", func() bool { return len(g.open()) == 0 })
			values := []string{g.get(k[0]), g.get(k[1]), g.get(k[2])}
			if values[0] != values[1] || values[1] != values[2] {
				t.Errorf("half done: %v", values)
			}
			if protocol == storage.Auto && values[0] != "x" {
				t.Errorf("three votes are a commit, but %v", values)
			}
			g.eventually("the dead node's service does not stop", func() bool { return dying.TxnCounts().Running >= 0 })
			dying.Close()
		})
	}
}

// TestSameTokenOnce: many nodes carry out the same request with one idempotency token at the same time.
func TestSameTokenOnce(t *testing.T) {
	g := newGroups(t)
	s := []interface {
		Transact(ctx context.Context, r *txn.Request) (*txn.Outcome, error)
	}{}
	for i := range 3 {
		node := g.start(1+uint32ID(i), 1)
		defer node.Close()
		s = append(s, node)
	}
	k := g.apart(2)
	g.put(k[0], "100")
	token := &storage.Token{Key: [16]byte{1}, Body: [32]byte{2}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := make(map[string]int)
	for i := range 30 {
		wg.Go(func() {
			for {
				o, err := s[i%3].Transact(t.Context(), &txn.Request{Then: []storage.TxnOp{add(k[0], -1), add(k[1], 1)}, Token: token})
				if errors.Is(err, txn.ErrInFlight) || errors.Is(err, txn.ErrConflict) {
					continue
				}
				if err != nil {
					t.Errorf("transact: %v", err)
					return
				}
				mu.Lock()
				ids[o.ID+strconv.Quote(string(o.Results[0].Value))]++
				mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("answers %v", ids)
	}
	g.eventually("not applied", func() bool { return g.get(k[0]) == "99" && g.get(k[1]) == "1" })
	_, err := s[0].Transact(t.Context(), &txn.Request{Then: []storage.TxnOp{put(k[0], "x")}, Token: &storage.Token{Key: token.Key, Body: [32]byte{3}}})
	if !errors.Is(err, txn.ErrTokenReused) {
		t.Errorf("another body: %v", err)
	}
}

// TestSweepsDeadIncarnations: R11, with a transaction that a dead start has left in doubt.
func TestSweepsDeadIncarnations(t *testing.T) {
	g := newGroups(t)
	k := g.apart(2)
	cmd := func(p string) {
		parts := []storage.PartitionID{g.ring.Partition([]byte(k[0])), g.ring.Partition([]byte(k[1]))}
		slices.Sort(parts)
		c := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{
			ID: storage.TxnID{Node: 7, Incarnation: 1, Seq: 5}, Attempt: 1, Home: parts[0],
			Prepare: &storage.Prepare{
				Protocol: storage.Auto, Participants: parts, Partitions: partitions, Then: []storage.TxnOp{put(p, "x")},
			},
		}})
		if _, err := g.apply(g.ring.Partition([]byte(p)), c); err != nil {
			t.Fatal(err)
		}
	}
	cmd(k[0])
	if len(g.open()) != 1 {
		t.Fatal("nothing is in doubt")
	}
	s := g.start(1, 1)
	defer s.Close()
	g.mu.Lock()
	g.dead = append(g.dead, deadIncarnations(7, 2))
	g.mu.Unlock()
	g.eventually("not swept", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.swept) == 1
	})
	if len(g.open()) != 0 || !g.gone(storage.TxnID{Node: 7, Incarnation: 1, Seq: 5}) || g.get(k[0]) != "(absent)" {
		t.Errorf("%d in doubt, value %s", len(g.open()), g.get(k[0]))
	}
}

// TestSweepsItsOwnPast: the sweeper's node was started again itself. Commands about incarnations carry no mark of the
// present one.
func TestSweepsItsOwnPast(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 3)
	defer s.Close()
	g.mu.Lock()
	g.dead = append(g.dead, deadIncarnations(1, 3))
	g.mu.Unlock()
	g.eventually("not swept", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.swept) == 1
	})
}

// TestLostCommandTellsNothing: a mark counts as told only by a command that was answered.
func TestLostCommandTellsNothing(t *testing.T) {
	g := newGroups(t)
	s := g.start(1, 1)
	defer s.Close()
	k := g.apart(2)
	var mu sync.Mutex
	lost := make(map[storage.PartitionID]bool)
	g.mu.Lock()
	g.refuse = func(p storage.PartitionID, c *storage.Command) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Kind == storage.KindMark && !lost[p] {
			lost[p] = true
			return errLost
		}
		return nil
	}
	g.mu.Unlock()
	if _, err := s.Transact(t.Context(), &txn.Request{Then: []storage.TxnOp{put(k[0], "x"), put(k[1], "y")}}); err != nil {
		t.Fatal(err)
	}
	g.eventually("records are left", func() bool { return g.forgotten(k, storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}) })
	if mu.Lock(); len(lost) != 2 {
		t.Errorf("%d marks were lost", len(lost))
	}
	mu.Unlock()
}
