package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// TestGrowAndShrink takes clusters of equal nodes from 1 to 100 members one by one, and back, three at once. Nothing is moved that
// need not be, and joins move onto the new node only.
func TestGrowAndShrink(t *testing.T) {
	tests := []struct{ partitions, replication, zones int }{
		{64, 3, 1}, {64, 3, 3}, {32, 1, 1}, {16, 5, 1}, {32, 2, 2}, {1, 3, 1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			members := equalMembers(100)
			for i := range members {
				members[i].Zone = fmt.Sprint(i % tt.zones)
			}
			var pl Placement
			for size := 1; size <= len(members); size++ {
				next := mustPlace(t, tt.partitions, tt.replication, members[:size], pl)
				if n := added(pl, next, except(members[size-1].ID)); n > 0 {
					t.Fatalf("join of node %d: %d replicas onto other nodes", size, n)
				}
				checkStep(t, tt.partitions, tt.replication, members[:size], pl, next)
				pl = next
			}
			for size := len(members) - 3; size > 0; size -= 3 {
				next := mustPlace(t, tt.partitions, tt.replication, members[:size], pl)
				checkStep(t, tt.partitions, tt.replication, members[:size], pl, next)
				pl = next
			}
		})
	}
}

func checkStep(t *testing.T, q, n int, members []Member, from, to Placement) {
	t.Helper()
	checkShape(t, q, n, members, to)
	checkBalance(t, q, n, members, to)
	bound, err := LowerBound(q, n, members, from)
	if err != nil {
		t.Fatal(err)
	}
	if got := added(from, to, anyNode); got != bound {
		t.Fatalf("%d members: %d replicas added, the lower bound is %d", len(members), got, bound)
	}
}

// TestLaws takes arbitrary clusters through arbitrary changes.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, n := drawPartitions(t), rapid.IntRange(1, 5).Draw(t, "n")
		members := drawMembers(t, 100)
		var pl Placement
		for step := range rapid.IntRange(1, 4).Draw(t, "steps") {
			next := mustPlace(t, q, n, members, pl)
			checkShape(t, q, n, members, next)
			checkBalance(t, q, n, members, next)
			checkPure(t, q, n, members, pl, next)
			checkBound(t, q, n, members, pl, next)
			pl = next
			members = drawChange(t, members, NodeID(2000-step))
			n = rapid.SampledFrom([]int{n, n, n, 1 + n%5}).Draw(t, "next n")
		}
	})
}

// checkPure checks that the order of members does not matter, that nothing else changes the result, and that a
// placement is its own successor.
func checkPure(t *rapid.T, q, n int, members []Member, from, to Placement) {
	shuffled := rapid.Permutation(members).Draw(t, "order")
	if got := mustPlace(t, q, n, shuffled, from); !reflect.DeepEqual(got, to) {
		t.Fatalf("members in another order give another placement")
	}
	if got := mustPlace(t, q, n, members, to); !reflect.DeepEqual(got, to) {
		t.Fatalf("placing again changes %v", Diff(to, got))
	}
}

func checkBound(t *rapid.T, q, n int, members []Member, from, to Placement) {
	bound, err := LowerBound(q, n, members, from)
	if err != nil {
		t.Fatal(err)
	}
	if got := added(from, to, anyNode); got < bound {
		t.Fatalf("%d replicas added, less than the lower bound %d", got, bound)
	}
}

// drawChange returns members after a join, a leave, a drain, a change of weight or of zone. Member 500, the first one,
// stays as it is so that somebody always has weight.
func drawChange(t *rapid.T, members []Member, id NodeID) []Member {
	members = slices.Clone(members)
	i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
	if i == 0 {
		joining := Member{ID: id, Zone: "z1", Weight: rapid.Uint32Range(1, 5).Draw(t, "weight of the new node")}
		return append(members, joining)
	}
	switch rapid.SampledFrom([]string{"leave", "drain", "weight", "zone"}).Draw(t, "change") {
	case "leave":
		members = slices.Delete(members, i, i+1)
	case "drain":
		members[i].Weight = 0
	case "weight":
		members[i].Weight = rapid.Uint32Range(0, 5).Draw(t, "new weight")
	case "zone":
		members[i].Zone = "elsewhere"
	}
	return members
}

// TestJoinOfEqualNodes: however the placement came about, a join among equal nodes moves onto the new node only, and
// as little as possible.
func TestJoinOfEqualNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, n := drawPartitions(t), rapid.IntRange(1, 5).Draw(t, "n")
		members := equalMembers(rapid.IntRange(1, 100).Draw(t, "first members"))
		pl := mustPlace(t, q, n, members, Placement{})
		for range rapid.IntRange(0, 4).Draw(t, "leaves") {
			if len(members) == 1 {
				break
			}
			i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
			members = slices.Delete(members, i, i+1)
			pl = mustPlace(t, q, n, members, pl)
		}
		members = append(members, Member{ID: 1000, Weight: 1})
		next := mustPlace(t, q, n, members, pl)
		if got := added(pl, next, except(1000)); got > 0 {
			t.Fatalf("%d replicas moved onto old nodes", got)
		}
		if bound, _ := LowerBound(q, n, members, pl); added(pl, next, anyNode) != bound {
			t.Fatalf("%d replicas added, the lower bound is %d", added(pl, next, anyNode), bound)
		}
	})
}

// TestDrainEmptiesNode: a drain gives the same shares as a leave.
func TestDrainEmptiesNode(t *testing.T) {
	members := equalMembers(5)
	pl := mustPlace(t, 64, 3, members, Placement{})
	draining := slices.Clone(members)
	draining[2].Weight = 0
	drained := mustPlace(t, 64, 3, draining, pl)
	checkBalance(t, 64, 3, draining, drained)
	if replicas, _ := load(drained); replicas[3] != 0 {
		t.Errorf("the draining node still holds %d replicas", replicas[3])
	}
	left := mustPlace(t, 64, 3, slices.Delete(slices.Clone(members), 2, 3), pl)
	if !reflect.DeepEqual(left, drained) {
		t.Errorf("draining and leaving differ: %v", Diff(left, drained))
	}
}

// TestSurvivorsKeepOrder: replicas that stay keep their order, so that a leader is not changed without need.
func TestSurvivorsKeepOrder(t *testing.T) {
	members := equalMembers(6)
	pl := mustPlace(t, 64, 3, members, Placement{})
	next := mustPlace(t, 64, 3, members[:5], pl)
	changed := 0
	for _, m := range Diff(pl, next) {
		if m.OldLeader != m.NewLeader {
			changed++
		}
	}
	_, before := load(pl)
	if changed > before[6]+1 {
		t.Errorf("%d leaders changed; the node that left led %d", changed, before[6])
	}
}

func TestGarbageInPreviousPlacement(t *testing.T) {
	members := equalMembers(4)
	prev := Placement{Replicas: [][]NodeID{{1, 1, 1}, nil, {0, 99, 2}, {1, 2, 3, 4}}}
	pl := mustPlace(t, 4, 2, members, prev)
	checkShape(t, 4, 2, members, pl)
	checkBalance(t, 4, 2, members, pl)
	if !reflect.DeepEqual(prev.Replicas[0], []NodeID{1, 1, 1}) {
		t.Errorf("the previous placement was changed: %v", prev)
	}
}

func TestPlaceErrors(t *testing.T) {
	one := []Member{{ID: 1, Weight: 1}}
	tests := []struct {
		name    string
		q, n    int
		members []Member
		prev    Placement
		want    error
	}{
		{"no power of two", 63, 3, one, Placement{}, ErrPartitions},
		{"too many partitions", 1 << 16, 3, one, Placement{}, ErrPartitions},
		{"no partitions", 0, 3, one, Placement{}, ErrPartitions},
		{"no replicas", 64, 0, one, Placement{}, ErrReplication},
		{"no members", 64, 3, nil, Placement{}, ErrNoCapacity},
		{"all draining", 64, 3, []Member{{ID: 1}, {ID: 2}}, Placement{}, ErrNoCapacity},
		{"id 0", 64, 3, []Member{{ID: 0, Weight: 1}}, Placement{}, ErrNodeID},
		{"the same id twice", 64, 3, []Member{{ID: 1, Weight: 1}, {ID: 2}, {ID: 1}}, Placement{}, ErrDuplicateNode},
		{"too many members", 64, 3, equalMembers(MaxMembers + 1), Placement{}, ErrTooManyMembers},
		{"placement of another ring", 64, 3, one, Placement{Replicas: make([][]NodeID, 32)}, ErrPlacementSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Place(tt.q, tt.n, tt.members, tt.prev); !errors.Is(err, tt.want) {
				t.Errorf("Place: got %v, want %v", err, tt.want)
			}
			if _, err := LowerBound(tt.q, tt.n, tt.members, tt.prev); !errors.Is(err, tt.want) {
				t.Errorf("LowerBound: got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestPlaceGolden pins a whole history of placements: nodes of different versions must agree on them.
func TestPlaceGolden(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	digest := xxhash.New()
	var members []Member
	var pl Placement
	for i := range 30 {
		zone := fmt.Sprint(rng.IntN(4))
		members = append(members, Member{ID: NodeID(i + 1), Zone: zone, Weight: 1 + rng.Uint32N(4)})
		if i%5 == 4 {
			members = slices.Delete(members, 0, 1)
		}
		pl = mustPlace(t, 64, 3, members, pl)
		for _, nodes := range pl.Replicas {
			for _, id := range nodes {
				_ = binary.Write(digest, binary.BigEndian, id) // a Digest never fails
			}
		}
	}
	if got, want := digest.Sum64(), uint64(0x2c5264125d6568d4); got != want {
		t.Errorf("placements hash to %#x, not %#x", got, want)
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, size := range []struct{ partitions, nodes int }{{64, 3}, {64, 100}, {1024, 100}} {
		members := equalMembers(size.nodes + 1)
		old, joined := members[:size.nodes], members
		b.Run(fmt.Sprintf("first/q=%d/nodes=%d", size.partitions, size.nodes), func(b *testing.B) {
			for b.Loop() {
				_, _ = Place(size.partitions, 3, old, Placement{})
			}
		})
		b.Run(fmt.Sprintf("join/q=%d/nodes=%d", size.partitions, size.nodes), func(b *testing.B) {
			pl, err := Place(size.partitions, 3, old, Placement{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				_, _ = Place(size.partitions, 3, joined, pl)
			}
		})
	}
}
