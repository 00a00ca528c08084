package readindex_test

import (
	"testing"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
)

func TestOnlyTheLeaderReads(t *testing.T) {
	s := newScene(t)
	if s.reads.Read(1, "r") {
		t.Error("reads a group that it has never heard of")
	}
	st := leading(1, 1, 2, 3)
	st.Leading = false
	s.stand(st)
	if s.reads.Read(1, "r") {
		t.Error("reads a group that it follows")
	}
	s.stand(leading(1, 1, 2, 3))
	if s.reads.Read(2, "r") || !s.reads.Read(1, "r") {
		t.Error("want it to read what it leads, and that only")
	}
	if n := s.reads.Waiting(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
}

func TestASoleVoterReadsAtOnce(t *testing.T) {
	s := lead(t, 1, self)
	s.read(1, "alone")
	s.wantServed("it is a majority", "alone")
	s.stand(leading(1, self, 3))
	s.follow(1, term, 3)
	s.read(1, "of two")
	s.wantServed("it is none any more")
	s.hear(s.wantAsked("the other", 3)...)
	s.wantServed("both", "of two")
	s.read(1, "waits")
	s.stand(leading(1, self))
	s.wantServed("it is alone again", "waits")
	s.wantAsked("alone")
}

// The engine must show what an earlier leader may have acknowledged, and what any member may have applied when the read began.
func TestAReadWaitsForTheEngine(t *testing.T) {
	for _, c := range []struct {
		name  string
		begun readindex.Standing
		then  []readindex.Standing // the last of which serves it
	}{
		{
			"all at once", readindex.Standing{Commit: 7, Applied: 7},
			[]readindex.Standing{{Commit: 7, Applied: 7}, {Commit: 8, Applied: 8, Serving: true}},
		},
		{
			"serving, behind", readindex.Standing{Serving: true, Commit: 9, Applied: 6},
			[]readindex.Standing{
				{Serving: true, Commit: 9, Applied: 8}, {Serving: true, Commit: 12, Applied: 8}, {Serving: true, Commit: 12, Applied: 9},
			},
		},
		{
			"applied, not serving", readindex.Standing{Commit: 9, Applied: 9},
			[]readindex.Standing{{Commit: 9, Applied: 9}, {Commit: 11, Applied: 10}, {Commit: 11, Applied: 11, Serving: true}},
		},
	} {
		for _, late := range []bool{false, true} { // whether the answer comes last
			s := newScene(t)
			stand := func(st readindex.Standing) {
				full := leading(1, 1, 2, 3)
				full.Serving, full.Commit, full.Applied = st.Serving, st.Commit, st.Applied
				s.stand(full)
			}
			stand(c.begun)
			s.follow(1, term, 3)
			s.read(1, "r")
			asks := s.wantAsked(c.name, 3)
			if !late {
				s.hear(asks...)
			}
			for _, st := range c.then {
				s.wantServed(c.name + ": too early")
				stand(st)
			}
			if late {
				s.wantServed(c.name + ": without an answer")
				s.hear(asks...)
			}
			s.wantServed(c.name, "r")
		}
	}
}

// Reads that began later may have to see more.
func TestReadsEndAsTheEngineGoesOn(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	st := leading(1, 1, 2, 3)
	for _, tag := range []string{"a", "b", "c"} {
		st.Commit++
		s.stand(st)
		s.read(1, tag)
	}
	s.hear(s.wantAsked("three", 3)...)
	s.wantServed("nothing applied")
	st.Applied = base + 2
	s.stand(st)
	s.wantServed("two entries", "a", "b")
	st.Applied++
	s.stand(st)
	s.wantServed("the third", "c")
}

func TestReadsEndWithTheLeadership(t *testing.T) {
	for name, over := range map[string]func(*scene){
		"follows": func(s *scene) {
			st := leading(1, 1, 2, 3)
			st.Leading = false
			s.stand(st)
		},
		"follows in a later term": func(s *scene) { s.stand(readindex.Standing{Group: 1, Replica: idOf(self), Term: term + 1}) },
		"leads in a later term": func(s *scene) {
			st := leading(1, 1, 2, 3)
			st.Term++
			s.stand(st)
		},
		"is another replica": func(s *scene) {
			st := leading(1, 1, 2, 3)
			st.Replica = replica.MakeID(self, 2)
			s.stand(st)
		},
		"leaves": func(s *scene) {
			s.reads.Leave(1)
			s.collect()
		},
		"closes": func(s *scene) {
			s.reads.Close()
			s.collect()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := lead(t, 2, 1, 2, 3)
			behind := leading(1, 1, 2, 3)
			behind.Commit++
			s.stand(behind)
			s.read(1, "confirmed")
			s.hear(s.wantAsked("a read", 3)...)
			s.read(1, "asked")
			asks := s.wantAsked("another", 3)
			s.read(1, "new")
			s.wantServed("none can be served")
			over(s)
			s.wantDropped("the leadership is over", "confirmed", "asked", "new")
			s.hear(asks...)
			s.settle()
			s.wantServed("answers that come too late")
			if name == "closes" {
				if s.reads.Read(2, "r") {
					t.Error("reads after Close")
				}
				return
			}
			s.read(2, "of another group")
			s.settle()
			s.wantServed("another group goes on", "of another group")
		})
	}
}

func TestCloseGivesUpTheReadsOfAllGroups(t *testing.T) {
	s := lead(t, 2, 1, 2, 3)
	s.read(1, "a")
	s.read(2, "b")
	s.reads.Close()
	s.collect()
	s.wantDropped("closed", "a", "b")
	if n := s.reads.Waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
	s.reads.Leave(9) // that it has never led
	s.wantAsked("closed")
}

func TestWaitingCountsWhatHasNotEnded(t *testing.T) {
	s := lead(t, 2, 1, 2, 3)
	want := func(when string, n int) {
		t.Helper()
		if got := s.reads.Waiting(); got != n {
			t.Errorf("%s: %d wait, want %d", when, got, n)
		}
	}
	want("none has come", 0)
	st := leading(1, 1, 2, 3)
	st.Commit++
	s.stand(st)
	s.read(1, "a")
	s.read(1, "b")
	s.read(2, "c")
	want("three have come", 3)
	s.settle()
	want("one is served, two are confirmed", 2)
	s.read(1, "d")
	want("another one", 3)
	st.Applied++
	s.stand(st)
	want("the confirmed are served", 1)
	s.reads.Leave(1)
	want("the last is dropped", 0)
}

// What was confirmed in one configuration is; what was not is a matter of the next.
func TestConfigurationChangesWhileReadsWait(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "r")
	s.wantAsked("in the first configuration", 3) // and is lost on the way
	s.stand(leading(1, 2, 4, 5))
	s.follow(1, term, 4, 5)
	asks := s.wantAsked("in the second", 4)
	s.follow(1, term, 3)
	s.read(1, "of the second")
	s.stand(leading(1, 2, 4, 5, 6))
	more := s.wantAsked("in the third", 5)
	s.hear(asks...)
	s.wantServed("two of four")
	s.hear(more...)
	s.wantServed("three of four", "r")
	s.settle()
	s.wantServed("all asked again", "of the second")
}

// Who votes no more has no weight, whatever it has answered.
func TestWhoVotesNoMoreDoesNotConfirm(t *testing.T) {
	s := lead(t, 1, 1, 2, 3, 4, 5)
	s.read(1, "r")
	asks := s.wantAsked("in the first configuration", 3, 4)
	s.hear(asks[0])
	s.stand(leading(1, 2, 4, 5))
	s.wantServed("one that votes no more has answered")
	s.hear(asks[1])
	s.wantServed("one that votes", "r")
}

// A voter that joins knows nothing at first: it is no member of what has made the leader one.
func TestANewVoterIsAskedOnceItKnows(t *testing.T) {
	s := lead(t, 1, self)
	s.stand(leading(1, self, 3, 4))
	s.witnesses[3], s.witnesses[4] = nil, nil
	s.read(1, "r")
	s.settle()
	s.wantServed("no replica yet")
	s.follow(1, term, 4)
	s.tick(1)
	s.settle()
	s.wantServed("it has come", "r")
}

// Until its last change is committed, a leader leads on without a vote.
func TestALeaderWithoutAVoteNeedsAllOfAMajority(t *testing.T) {
	s := lead(t, 1, 1, 3, 4)
	s.read(1, "r")
	asks := s.wantAsked("a read", 3, 4)
	s.hear(asks[0])
	s.wantServed("one of three")
	s.hear(asks[1])
	s.wantServed("two of three", "r")
}
