package ring

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// history is a seeded run of joins and leaves over a small ring.
type history struct {
	rng      *rand.Rand
	q, n     int
	zones    int
	weights  uint32
	nextID   NodeID
	members  []Member
	previous Placement
}

func newHistory(seed uint64, zones int, weights uint32) *history {
	rng := rand.New(rand.NewPCG(seed, 0))
	return &history{rng: rng, q: 8 << rng.IntN(3), n: 1 + rng.IntN(4), zones: zones, weights: weights}
}

// change adds a node, two times in three, or removes one. It returns the new node, 0 after a removal.
func (h *history) change() NodeID {
	if len(h.members) > 1 && h.rng.IntN(3) == 0 {
		i := h.rng.IntN(len(h.members))
		h.members = append(h.members[:i:i], h.members[i+1:]...)
		return 0
	}
	h.nextID++
	zone := fmt.Sprint(h.rng.IntN(h.zones))
	h.members = append(h.members, Member{ID: h.nextID, Zone: zone, Weight: 1 + h.rng.Uint32N(h.weights)})
	return h.nextID
}

// tally compares what Place did with what an exact solver needs.
type tally struct {
	copies, needed    int // replicas added
	onto, unavoidable int // replicas added to old nodes by joins
}

func (c *tally) step(t *testing.T, h *history) {
	joined := h.change()
	next := mustPlace(t, h.q, h.n, h.members, h.previous)
	s, err := newTask(h.q, h.n, h.members, h.previous)
	if err != nil {
		t.Fatal(err)
	}
	c.copies += added(h.previous, next, anyNode)
	c.needed += optimum(s, (*allocation).cost)
	if joined != 0 && len(h.members) > 1 {
		c.onto += added(h.previous, next, except(joined))
		c.unavoidable += optimum(s, ontoOld(s, joined))
	}
	h.previous = next
}

// ontoOld prices copies onto all nodes but the new one.
func ontoOld(s *task, joined NodeID) func(a *allocation, p int, v uint16) int {
	return func(a *allocation, p int, v uint16) int {
		if s.fleet.nodes[v].ID == joined {
			return 0
		}
		return a.cost(p, v)
	}
}

// TestNearOptimum compares with an exact solver over seeded histories. Without zones there is never a copy more than
// needed, nor one onto an old node by a join; with zones at most one in a thousand of either.
func TestNearOptimum(t *testing.T) {
	tests := []struct {
		name    string
		zones   int
		weights uint32
	}{
		{"equal", 1, 1},
		{"weights to 4", 1, 4},
		{"weights to 1000", 1, 1000},
		{"zones", 4, 1},
		{"zones and weights", 4, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c tally
			for seed := range uint64(12) {
				h := newHistory(seed, tt.zones, tt.weights)
				for range 20 {
					c.step(t, h)
				}
			}
			t.Logf("%+v", c)
			if c.copies < c.needed {
				t.Fatalf("the exact solver is wrong: %d copies did what needs %d", c.copies, c.needed)
			}
			spare := 0
			if tt.zones > 1 {
				spare = c.needed / 1000
			}
			if c.copies > c.needed+spare {
				t.Errorf("%d copies where %d do", c.copies, c.needed)
			}
			if c.onto > c.unavoidable+spare {
				t.Errorf("joins moved %d replicas onto old nodes, %d had to", c.onto, c.unavoidable)
			}
		})
	}
}
