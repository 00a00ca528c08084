package ring

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"
)

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func drawPartitions(t *rapid.T) int {
	return 1 << rapid.IntRange(0, 6).Draw(t, "log2 of partitions")
}

// drawMembers draws at least one member with weight, with ids that are not in order.
func drawMembers(t *rapid.T, most int) []Member {
	zones := rapid.IntRange(1, 6).Draw(t, "zones")
	weights := drawWeights(t)
	members := []Member{{ID: 500, Zone: "z0", Weight: 1}}
	for i := range rapid.IntRange(0, most-1).Draw(t, "further members") {
		members = append(members, Member{
			ID:     NodeID(1000 - i*7),
			Zone:   fmt.Sprintf("z%d", rapid.IntRange(0, zones-1).Draw(t, "zone")),
			Weight: weights.Draw(t, "weight"),
		})
	}
	return members
}

func drawWeights(t *rapid.T) *rapid.Generator[uint32] {
	return rapid.SampledFrom([]*rapid.Generator[uint32]{
		rapid.Just[uint32](1),
		rapid.Uint32Range(0, 4),
		rapid.Uint32Range(1, 1000),
		rapid.Uint32(),
	}).Draw(t, "weights")
}

func equalMembers(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{ID: NodeID(i + 1), Weight: 1}
	}
	return members
}

func mustPlace(t tester, q, n int, members []Member, prev Placement) Placement {
	t.Helper()
	pl, err := Place(q, n, members, prev)
	if err != nil {
		t.Fatalf("place: %v", err)
	}
	return pl
}

// load counts what each node holds and leads.
func load(pl Placement) (replicas, leaders map[NodeID]int) {
	replicas, leaders = make(map[NodeID]int), make(map[NodeID]int)
	for _, nodes := range pl.Replicas {
		leaders[nodes[0]]++
		for _, id := range nodes {
			replicas[id]++
		}
	}
	return replicas, leaders
}

// added counts the replicas that to has more than from, on the nodes that hold(id) selects.
func added(from, to Placement, hold func(NodeID) bool) int {
	n := 0
	for _, m := range Diff(from, to) {
		for _, id := range m.Added {
			if hold(id) {
				n++
			}
		}
	}
	return n
}

func anyNode(NodeID) bool { return true }

func except(id NodeID) func(NodeID) bool { return func(other NodeID) bool { return other != id } }

// checkShape checks that every partition has its replicas, on distinct members with weight, spread over zones.
func checkShape(t tester, q, n int, members []Member, pl Placement) {
	t.Helper()
	f, err := newFleet(members)
	if err != nil {
		t.Fatalf("fleet: %v", err)
	}
	if len(pl.Replicas) != q {
		t.Fatalf("%d partitions, not %d", len(pl.Replicas), q)
	}
	degree := min(n, len(f.nodes))
	limit := f.zoneLimit(degree)
	for p, nodes := range pl.Replicas {
		if sorted := slices.Sorted(slices.Values(nodes)); len(nodes) != degree || len(slices.Compact(sorted)) != degree {
			t.Fatalf("partition %d is on %v, not on %d distinct nodes", p, nodes, degree)
		}
		inZone := make(map[string]int)
		for _, id := range nodes {
			i, ok := f.index[id]
			if !ok {
				t.Fatalf("partition %d is on node %d, which holds nothing", p, id)
			}
			zone := f.nodes[i].Zone
			if inZone[zone]++; inZone[zone] > limit {
				t.Fatalf("partition %d is on %v: more than %d in zone %q", p, nodes, limit, zone)
			}
		}
	}
}

// checkBalance checks that every node holds its share of replicas, rounded down or up, and the same of leaders unless
// the replicas forbid it. Equal nodes without zones get no such excuse.
func checkBalance(t tester, q, n int, members []Member, pl Placement) {
	t.Helper()
	f, err := newFleet(members)
	if err != nil {
		t.Fatalf("fleet: %v", err)
	}
	degree := min(n, len(f.nodes))
	replicas, _ := load(pl)
	shares := fairShares(f, q, degree, f.zoneLimit(degree))
	for i, m := range f.nodes {
		if got := replicas[m.ID]; got < shares[i].lo || got > shares[i].hi() {
			t.Fatalf("node %d holds %d replicas, not %d to %d", m.ID, got, shares[i].lo, shares[i].hi())
		}
	}
	if off := leadersOff(f, q, pl); off > 0 && (alike(f) || leadersPossible(f, q, pl)) {
		t.Fatalf("leaders are off by %d", off)
	}
}

// alike tells whether all nodes have one weight and one zone.
func alike(f *fleet) bool {
	for _, m := range f.nodes {
		if m.Weight != f.nodes[0].Weight || m.Zone != f.nodes[0].Zone {
			return false
		}
	}
	return true
}
