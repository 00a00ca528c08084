package readindex_test

import (
	"slices"
	"testing"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/ring"
)

// slowly plays a network in which each answer takes some ticks, until no read waits. Dead nodes say nothing.
func (s *scene) slowly(takes, limit int, dead ...ring.NodeID) (ticks int) {
	type due struct {
		at  int
		ask readindex.Ask
	}
	var under []due
	for now := 0; now <= limit; now++ {
		for len(under) > 0 && under[0].at <= now {
			s.hear(under[0].ask)
			under = under[1:]
		}
		for _, a := range s.ask() {
			if !slices.Contains(dead, a.To) {
				under = append(under, due{now + takes, a})
			}
		}
		if s.reads.Waiting() == 0 {
			return now
		}
		s.tick(1)
	}
	return limit + 1
}

func TestSlowAnswersSucceed(t *testing.T) {
	for _, takes := range []int{1, 2, 3, 10, 100} {
		s := lead(t, 1, 1, 2, 3)
		s.read(1, "r")
		if ticks := s.slowly(takes, 1000); ticks > 6*takes+1 {
			t.Errorf("a read takes %d ticks where answers take %d", ticks, takes)
		}
		s.read(1, "next") // by now it is known how long they take
		if ticks := s.slowly(takes, 1000); ticks > takes {
			t.Errorf("the next read takes %d ticks where answers take %d", ticks, takes)
		}
		s.wantServed("after slow answers", "r", "next")
	}
}

// However long a node once took, it is given up in bounded time.
func TestWaitingForOneNodeIsBounded(t *testing.T) {
	s := lead(t, 1, 1, 2)
	s.read(1, "r")
	for range 300 {
		s.ask() // nobody answers
		s.tick(1)
	}
	late := s.ask()
	for len(late) == 0 {
		s.tick(1)
		late = s.ask()
	}
	s.tick(250)
	s.hear(late...)
	s.wantServed("after an answer just in time", "r")
	s.read(1, "next")
	s.wantAsked("the next read", 1)
	s.tick(256)
	s.wantAsked("after 256 ticks", 1)
}

// Where answers have taken long lately, others are asked before the next one is given up.
func TestOthersAreAskedBeforeASlowOneIsGivenUp(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "slow")
	s.slowly(100, 1000)
	s.read(1, "r") // 3 is not silent now, and may take 200 ticks
	s.wantAsked("first", 3)
	s.tick(15)
	s.wantAsked("not yet")
	s.tick(1)
	s.hear(s.wantAsked("then", 1)...)
	s.wantServed("by the other", "slow", "r")
}

// Reads that nobody waits for any more make no questions and count for nothing.
func TestForgottenReadsAreGone(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "gone")
	s.reads.Forget(func(tag readindex.Tag) bool { return tag == "gone" })
	s.wantAsked("nobody waits")
	s.read(1, "gone too")
	s.read(1, "kept")
	s.reads.Forget(func(tag readindex.Tag) bool { return tag == "gone too" })
	if n := s.reads.Waiting(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	s.hear(s.wantAsked("one waits", 3)...)
	s.wantServed("the one", "kept")
}

// A node that once had no answer is as good as any other such: the one that says nothing at all must not be asked for ever
// in its stead.
func TestTheDeadDoNotStandBeforeTheLost(t *testing.T) {
	for _, c := range []struct {
		name   string
		voters []ring.NodeID
		dead   []ring.NodeID
	}{
		{"one of three", []ring.NodeID{1, 2, 3}, []ring.NodeID{3}},
		{"the other of three", []ring.NodeID{1, 2, 3}, []ring.NodeID{1}},
		{"two of five", []ring.NodeID{1, 2, 3, 4, 5}, []ring.NodeID{3, 4}},
		{"another two of five", []ring.NodeID{1, 2, 3, 4, 5}, []ring.NodeID{3, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lead(t, 1, c.voters...)
			s.read(1, "r")
			for asks := s.ask(); len(asks) > 0; asks = s.ask() { // a hiccup of the whole network
				s.lost(asks...)
			}
			s.tick(1)
			if ticks := s.slowly(1, 1000, c.dead...); ticks > 10 {
				t.Errorf("not served after %d ticks", ticks)
			}
			s.wantServed("with a living majority", "r")
		})
	}
}
