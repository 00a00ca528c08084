package ring

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// TestFairSharesAreFair checks what defines a fair division under limits: everything is given out, no limit is
// exceeded, and whoever has less per unit of weight than somebody else is stopped by a limit of its own.
func TestFairSharesAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawPartitions(t)
		members := drawMembers(t, 40)
		f, err := newFleet(members)
		if err != nil {
			t.Fatal(err)
		}
		replicas := min(rapid.IntRange(1, 6).Draw(t, "n"), len(f.nodes))
		limit := f.zoneLimit(replicas)
		checkFair(t, f, q, replicas, limit, rationals(fairShares(f, q, replicas, limit)))
	})
}

func rationals(shares []share) []*big.Rat {
	out := make([]*big.Rat, len(shares))
	for i, s := range shares {
		fraction := new(big.Rat).SetFrac(new(big.Int).SetUint64(s.rem), new(big.Int).SetUint64(s.den))
		out[i] = fraction.Add(fraction, big.NewRat(int64(s.lo), 1))
	}
	return out
}

func checkFair(t *rapid.T, f *fleet, q, replicas, limit int, shares []*big.Rat) {
	whole := big.NewRat(int64(q), 1)
	total, zoneTotal := new(big.Rat), make([]*big.Rat, len(f.members))
	for z := range zoneTotal {
		zoneTotal[z] = new(big.Rat)
	}
	for i, s := range shares {
		total.Add(total, s)
		zoneTotal[f.zone[i]].Add(zoneTotal[f.zone[i]], s)
	}
	if want := big.NewRat(int64(q*replicas), 1); total.Cmp(want) != 0 {
		t.Fatalf("%v given out, not %v", total, want)
	}
	zoneWhole := big.NewRat(int64(q*limit), 1)
	for z, s := range zoneTotal {
		if s.Cmp(zoneWhole) > 0 {
			t.Fatalf("zone %d gets %v", z, s)
		}
	}
	for i, s := range shares {
		if s.Cmp(whole) > 0 {
			t.Fatalf("node %d gets %v of %d", i, s, q)
		}
		stopped := s.Cmp(whole) == 0
		for j, o := range shares {
			full := f.zone[i] != f.zone[j] && zoneTotal[f.zone[i]].Cmp(zoneWhole) == 0
			if perWeight(s, f, i).Cmp(perWeight(o, f, j)) < 0 && !stopped && !full {
				t.Fatalf("node %d gets %v, less than node %d with %v, and nothing stops it", i, s, j, o)
			}
		}
	}
}

func perWeight(s *big.Rat, f *fleet, i int) *big.Rat {
	return new(big.Rat).Quo(s, big.NewRat(int64(f.nodes[i].Weight), 1))
}

func TestZoneLimit(t *testing.T) {
	tests := []struct {
		name     string
		zones    string // the zone of each node
		replicas int
		want     int
	}{
		{"no zones", "aaaa", 3, 3},
		{"as many zones as replicas", "abc", 3, 1},
		{"more zones than replicas", "abcde", 3, 1},
		{"two zones for three", "aabb", 3, 2},
		{"small zones cannot take their part", "abbbb", 4, 3},
		{"one replica", "aab", 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var members []Member
			for i, z := range tt.zones {
				members = append(members, Member{ID: NodeID(i + 1), Zone: string(z), Weight: 1})
			}
			f, err := newFleet(members)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.zoneLimit(tt.replicas); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
