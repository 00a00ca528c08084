package replica_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// Every Ready of every test is looked at (peer.told); here they are those of groups whose messages come late, twice or
// never, and whose leaders change.
func TestNoMessageIsAheadOfWhatWasTold(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ps := members(t, 3)
		elect(t, ps...)
		var wire []*raftpb.Message
		most := uint64(0)
		for range 400 {
			p := ps[rng.IntN(len(ps))]
			switch rng.IntN(8) {
			case 0:
				p.Tick()
			case 1, 2:
				_ = p.Propose([]byte("w"), "w") // who does not lead refuses
			case 3:
				if rng.IntN(10) == 0 {
					p.ForgetLeader()
					p.Campaign()
				}
			default:
				wire = deliverOne(rng, ps, wire)
			}
			if p.HasReady() && rng.IntN(3) > 0 {
				rd := p.cycle()
				wire = append(wire, slices.Concat(rd.Early, rd.Late)...)
			}
			most = max(most, p.toldMost)
		}
		if most <= begun {
			t.Fatalf("seed %d: nobody was told of anything", seed)
		}
	}
}

// deliverOne takes one message off the wire; some are lost, and some stay there.
func deliverOne(rng *rand.Rand, ps []*peer, wire []*raftpb.Message) []*raftpb.Message {
	if len(wire) == 0 {
		return nil
	}
	i := rng.IntN(min(len(wire), 4))
	m, fate := wire[i], rng.IntN(20)
	if fate > 0 {
		for _, p := range ps {
			if uint64(p.ID()) == m.GetTo() {
				p.step(m)
			}
		}
	}
	if fate == 1 {
		return wire
	}
	return slices.Delete(wire, i, i+1)
}

// What is committed is told with the first Ready that commits it, though the state machine is not there yet.
func TestToldIsAheadOfWhatIsApplied(t *testing.T) {
	ps := members(t, 3)
	elect(t, ps...)
	propose(t, ps[0], "w")
	for _, m := range ps[0].cycle().Early {
		if m.GetTo() == uint64(peerID(1)) {
			ps[1].step(m)
		}
	}
	for _, m := range ps[1].cycle().Late {
		ps[0].step(m)
	}
	before := ps[0].Told()
	if ps[0].Ready(); ps[0].Told() != before+1 || ps[0].AppliedIndex() != before {
		t.Errorf("told %d, applied %d; want %d and %d", ps[0].Told(), ps[0].AppliedIndex(), before+1, before)
	}
}
