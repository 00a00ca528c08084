package readindex_test

import (
	"testing"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// As few are asked as make a majority with the leader, and the same ones for all groups: those behind it.
func TestAsFewAreAskedAsMakeAMajority(t *testing.T) {
	for _, c := range []struct {
		name         string
		voters, want []ring.NodeID
	}{
		{"two", []ring.NodeID{1, 2}, []ring.NodeID{1}},
		{"three", []ring.NodeID{1, 2, 3}, []ring.NodeID{3}},
		{"four", []ring.NodeID{1, 2, 3, 4}, []ring.NodeID{3, 4}},
		{"five", []ring.NodeID{1, 2, 3, 4, 5}, []ring.NodeID{3, 4}},
		{"none behind it", []ring.NodeID{0, 1, 2}, []ring.NodeID{0}},
		{"the leader is none", []ring.NodeID{1, 3, 4}, []ring.NodeID{3, 4}},
		{"the leader only", []ring.NodeID{2}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lead(t, 3, c.voters...)
			for p, tag := range map[ring.PartitionID]string{1: "a", 2: "b", 3: "c"} {
				s.read(p, tag)
			}
			s.hear(s.wantAsked("three reads", c.want...)...)
			s.wantServed("after the answers", "a", "b", "c")
			s.wantAsked("nothing waits")
		})
	}
}

// Learners are no voters, and so are not asked; nor has what they say any weight.
func TestOnlyVotersAreAsked(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "r")
	asks := s.wantAsked("a read", 3)
	s.lost(asks...)
	other := s.wantAsked("the first is lost", 1)
	s.lost(other...)
	s.wantAsked("both are lost")
	s.follow(1, term, 4)
	s.deliver(4, s.witness(4).Answer(&asks[0].Question))
	s.wantServed("somebody else has answered")
}

func TestOneQuestionAtATime(t *testing.T) {
	s := lead(t, 2, 1, 2, 3)
	s.read(1, "first")
	asks := s.wantAsked("a read", 3)
	s.read(1, "second")
	s.read(2, "third")
	s.wantAsked("while the first is under way")
	s.hear(asks...)
	s.wantServed("the first answer", "first")
	s.hear(s.wantAsked("after the first answer", 3)...)
	s.wantServed("the second answer", "second", "third")
}

func TestAnotherIsAskedWhenOneIsLost(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "r")
	s.lost(s.wantAsked("a read", 3)...)
	s.hear(s.wantAsked("after the loss", 1)...)
	s.wantServed("after the other's answer", "r")
	s.read(1, "next")
	s.wantAsked("the next read prefers who answers", 1)
}

func TestAnotherIsAskedWhenOneDenies(t *testing.T) {
	s := lead(t, 2, 1, 2, 3)
	s.follow(1, term-1, 3)
	s.read(1, "r")
	s.hear(s.wantAsked("a read", 3)...)
	s.wantServed("it denies")
	s.hear(s.wantAsked("after it has denied", 1)...)
	s.wantServed("after the other's answer", "r")
	s.read(2, "of the other group")
	s.hear(s.wantAsked("what it denied is of that group only", 3)...)
	s.wantServed("after its answer", "of the other group")
}

func TestAnotherIsAskedWhenOneIsSilent(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "r")
	late := s.wantAsked("a read", 3)
	s.tick(1)
	s.wantAsked("it may answer yet")
	s.tick(1)
	s.hear(s.wantAsked("it is silent", 1)...)
	s.wantServed("after the other's answer", "r")
	s.hear(late...)
	s.read(1, "next")
	s.wantAsked("it has answered after all", 3)
}

// A claim that was denied is not repeated before the next tick: the replica may hear of the term by then.
func TestWhatAllDenyIsAskedAgainAtTheNextTick(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.follow(1, term-1, 1, 3)
	s.read(1, "r")
	if n := s.settle(); n != 2 {
		t.Errorf("asked in %d rounds, want one for each of two", n)
	}
	s.follow(1, term, 3)
	s.wantAsked("before the tick")
	s.tick(1)
	s.hear(s.wantAsked("after the tick", 3)...)
	s.wantServed("it has heard of the term", "r")
}

// Whom nobody can reach is not asked in a hot loop.
func TestUnreachableNodesAreAskedOncePerTick(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "r")
	for range 5 {
		asked := make(map[ring.NodeID]int)
		for asks := s.ask(); len(asks) > 0; asks = s.ask() {
			for _, a := range asks {
				asked[a.To]++
			}
			s.lost(asks...)
		}
		if asked[1] != 1 || asked[3] != 1 || len(asked) != 2 {
			t.Fatalf("asked within one tick: %v, want each once", asked)
		}
		s.tick(1)
	}
	s.hear(s.wantAsked("they are back", 1, 3)...)
	s.wantServed("after an answer", "r")
}

// A loss that was reported before a node was asked anew, or after it has been, is not one of the new question.
func TestLossOfAnOlderQuestionIsNoNews(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "r")
	first := s.wantAsked("a read", 3)
	s.hear(first...)
	s.wantServed("after the answer", "r")
	s.read(1, "next")
	s.wantAsked("the next read", 3)
	s.lost(first...)
	s.reads.Lost(9, first[0].Number)
	s.wantAsked("the question is still under way")
}

// Two lives of a node's replica may both be voters for a while. The former one is gone.
func TestAFormerReplicaOfTheSameNodeDenies(t *testing.T) {
	s := newScene(t)
	st := leading(1, 1, 2)
	st.Voters = append(st.Voters, uint64(replica.MakeID(3, 1)))
	st.Outgoing = append(voters(1, 2), uint64(replica.MakeID(3, 2)))
	s.stand(st)
	s.follow(1, term, 1)
	s.witness(3).Stand(1, replica.MakeID(3, 2), term)
	s.read(1, "r")
	s.hear(s.wantAsked("a read", 3)...)
	s.wantServed("one half has a majority without the former")
	s.hear(s.wantAsked("the half of the former", 1)...)
	s.wantServed("both halves", "r")
}
