package readindex_test

import (
	"reflect"
	"testing"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

func TestAnAnswerIsForTheReadsBeforeItsQuestion(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "before")
	first := s.wantAsked("a read", 3)
	s.read(1, "after")
	s.hear(first...)
	s.wantServed("the first answer", "before")
	s.hear(s.wantAsked("for the other", 3)...)
	s.wantServed("the second", "after")
}

func TestOneAnswerIsForAllReadsBeforeIt(t *testing.T) {
	s := lead(t, 3, 1, 2, 3)
	s.read(1, "lost")
	s.lost(s.wantAsked("a read", 3)...)
	s.read(1, "a")
	s.read(2, "b")
	s.read(3, "c")
	s.hear(s.wantAsked("all groups", 1)...)
	s.wantServed("one answer", "lost", "a", "b", "c")
}

// What a node has said of one group, its answers about another one renew.
func TestAnAnswerAboutOneGroupIsForAll(t *testing.T) {
	s := lead(t, 2, 1, 2, 3)
	s.read(1, "a")
	s.read(2, "b")
	s.hear(s.wantAsked("both", 3)...)
	s.wantServed("claims of both", "a", "b")
	s.read(1, "c")
	s.read(2, "d")
	asks := s.wantAsked("both again", 3)
	if n := len(asks[0].Claims); n != 0 {
		t.Errorf("%d claims, want none at the same moment", n)
	}
	s.hear(asks...)
	s.wantServed("no claims", "c", "d")
}

// Groups need not have the same voters: an answer is for those that the node votes in.
func TestAnAnswerIsForTheGroupsThatItsNodeVotesIn(t *testing.T) {
	s := lead(t, 1, 2, 3)
	s.stand(leading(2, 1, 2))
	s.follow(2, term, 1)
	s.read(1, "a")
	s.read(2, "b")
	asks := s.wantAsked("two groups", 1, 3)
	s.hear(asks[0])
	s.wantServed("one node", "a")
	s.hear(asks[1])
	s.wantServed("the other", "b")
}

// Who has voted in a later term may have made another one leader, of whose writes this one knows nothing.
func TestNoGrantFromALaterTerm(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.follow(1, term+1, 1, 3)
	s.read(1, "r")
	for range 5 {
		s.settle()
		s.tick(1)
	}
	s.wantServed("all have moved on")
}

// A question that was witnessed before a vote says so, even if it was put first and its answer comes last.
func TestNoGrantFromAnotherMoment(t *testing.T) {
	for name, move := range map[string]func(*scene){
		"a later term":         func(s *scene) { s.follow(1, term+1, 3) },
		"a restart":            func(s *scene) { delete(s.witnesses, 3) },
		"the replica has left": func(s *scene) { s.witness(3).Leave(1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := lead(t, 1, 1, 2, 3)
			s.read(1, "first")
			s.hear(s.wantAsked("a read", 3)...)
			s.wantServed("it has answered", "first")
			move(s)
			s.read(1, "second")
			asks := s.wantAsked("another read", 3)
			if n := len(asks[0].Claims); n != 0 {
				t.Errorf("%d claims, as if it were known", n)
			}
			s.hear(asks...)
			s.wantServed("another moment")
			asks = s.wantAsked("it is asked anew", 3)
			if len(asks[0].Claims) != 1 {
				t.Errorf("claims %v, want the group's", asks[0].Claims)
			}
			s.hear(asks...)
			s.wantServed("the claim is denied")
			s.wantAsked("the other voter", 1)
		})
	}
}

// Most moments pass without any change to the groups that are asked about.
func TestAClaimIsAskedAnewWhenAnotherGroupMoves(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	for _, tag := range []string{"first", "second"} {
		s.follow(9, 70+uint64(len(tag)), 3) // a group that self has nothing to do with
		s.read(1, tag)
		s.settle()
		s.wantServed("it is still at the term", tag)
	}
}

func TestARestartedWitnessIsAskedAnew(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "first")
	s.hear(s.wantAsked("a read", 3)...)
	s.wantServed("it has answered", "first")
	s.witnesses[3] = readindex.NewWitness(333) // which comes to the same number of moves
	s.follow(1, term, 3)
	s.read(1, "second")
	s.hear(s.wantAsked("another read", 3)...)
	s.wantServed("another run")
	s.hear(s.wantAsked("with the claim", 3)...)
	s.wantServed("the claim holds", "second")
}

// An answer to a former leadership says nothing of this one, also where it comes with the moment that still is.
func TestAnswersToAnotherLeadershipCountForNothing(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.follow(1, term, 1, 3)
	s.read(1, "former")
	former := s.wantAsked("the former leadership", 3)
	again := leading(1, 1, 2, 3)
	again.Term = term + 2
	s.stand(again)
	s.wantDropped("the former leadership is over", "former")
	s.read(1, "r")
	s.hear(former...)
	s.wantServed("an answer to the former")
	asks := s.wantAsked("for this one", 3)
	s.hear(asks...)
	s.wantServed("it has not heard of this term")
	s.follow(1, term+2, 3)
	s.tick(1)
	s.settle()
	s.wantServed("it has now", "r")
}

// What a voter has said of one leadership is not said of the next, even though nothing has moved on its node.
func TestANewLeadershipIsConfirmedAnew(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "first")
	s.hear(s.wantAsked("a read", 3)...)
	s.wantServed("the former leadership", "first")
	again := leading(1, 1, 2, 3)
	again.Term = term + 2
	s.stand(again)
	s.read(1, "second")
	asks := s.wantAsked("another leadership", 3)
	if len(asks[0].Claims) != 1 {
		t.Errorf("claims %v, want the group's", asks[0].Claims)
	}
	s.hear(asks...)
	s.wantServed("it has not heard of this term")
}

// In a joint configuration either half may have elected a leader of its own.
func TestBothHalvesOfAJointConfigurationConfirm(t *testing.T) {
	for _, c := range []struct {
		name             string
		voters, outgoing []ring.NodeID
		first, second    []ring.NodeID
	}{
		{"two of three each", []ring.NodeID{1, 2, 3}, []ring.NodeID{2, 4, 5}, []ring.NodeID{3}, []ring.NodeID{4}},
		{"the other first", []ring.NodeID{1, 2, 3}, []ring.NodeID{2, 4, 5}, []ring.NodeID{4}, []ring.NodeID{3}},
		{"the leader goes", []ring.NodeID{1, 3}, []ring.NodeID{2, 4}, []ring.NodeID{4}, []ring.NodeID{1, 3}},
		{"the leader comes", []ring.NodeID{2, 4}, []ring.NodeID{1, 3}, []ring.NodeID{4}, []ring.NodeID{1, 3}},
		{"one voter for both, not enough", []ring.NodeID{2, 3}, []ring.NodeID{2, 3, 4, 5}, []ring.NodeID{3}, []ring.NodeID{4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			st := leading(1, c.voters...)
			st.Outgoing = voters(c.outgoing...)
			s.stand(st)
			s.follow(1, term, 1, 3, 4, 5)
			s.read(1, "r")
			asks := make(map[ring.NodeID]readindex.Ask)
			for _, a := range s.wantAsked("a read", append(c.first, c.second...)...) {
				asks[a.To] = a
			}
			for _, n := range c.first {
				s.hear(asks[n], asks[n])
				s.wantServed("one half only")
			}
			for i, n := range c.second {
				s.hear(asks[n])
				if i+1 < len(c.second) {
					s.wantServed("not all of the other half")
				}
			}
			s.wantServed("both halves", "r")
		})
	}
}

func TestOneVoterStandsForBothHalves(t *testing.T) {
	s := newScene(t)
	st := leading(1, 1, 2, 3)
	st.Outgoing = voters(2, 3, 4)
	s.stand(st)
	s.follow(1, term, 3)
	s.read(1, "r")
	s.hear(s.wantAsked("a read", 3)...)
	s.wantServed("it votes in both", "r")
}

func TestDuplicatesAndReorderedAnswers(t *testing.T) {
	s := lead(t, 1, 1, 2, 3, 4, 5)
	s.read(1, "a")
	first := s.wantAsked("a read", 3, 4)
	old := s.answer(first[0])
	s.hear(first[0], first[0], first[0])
	s.wantServed("one of two, three times")
	s.lost(first[1])
	s.read(1, "b")
	second := s.wantAsked("another read", 3, 5)
	s.hear(second[1])
	s.wantServed("two of them for the first read", "a")
	s.deliver(3, old)
	s.wantServed("an old answer again")
	s.hear(second[0])
	s.wantServed("two of them for the second", "b")
	s.deliver(3, old)
	s.hear(second...)
	s.wantServed("all is over")
}

// A later question may be witnessed before an earlier one. Then the moments of the answers go backwards.
func TestALateWitnessOfAnEarlierQuestion(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "a")
	early := s.wantAsked("a read", 3)[0]
	s.tick(2)
	other := s.wantAsked("it is silent", 1)
	s.lost(other...)
	late := s.wantAsked("it is asked again", 3)[0]
	before := s.answer(late)
	s.follow(1, term+1, 3)
	after := s.answer(early)
	s.deliver(3, after)
	s.wantServed("the later moment")
	s.deliver(3, before)
	s.wantServed("the earlier one, which was behind the read", "a")
	s.read(1, "b")
	s.hear(s.wantAsked("another read", 3)...)
	s.wantServed("it has moved on")
	s.hear(s.wantAsked("with the claim", 3)...)
	s.wantServed("it denies")
}

// The places of denied claims are those of their own question.
func TestALateAnswerSaysNothingOfLaterClaims(t *testing.T) {
	s := lead(t, 2, 1, 2, 3)
	s.follow(2, term+1, 3)
	s.read(1, "a")
	late := s.wantAsked("a read", 3)
	s.tick(2)
	s.hear(s.wantAsked("it is silent", 1)...)
	s.wantServed("the other has answered", "a")
	s.read(2, "b")
	s.lost(s.wantAsked("of the other group", 1)...)
	asks := s.wantAsked("the other is lost", 3)
	s.hear(late...)
	s.hear(asks...)
	s.wantServed("it has denied the later claim")
}

// No two processes should have the same run; if two nodes have, they are still not each other.
func TestAnAnswerIsOfItsNodeOnly(t *testing.T) {
	s := newScene(t)
	s.witnesses[3], s.witnesses[4] = readindex.NewWitness(7), readindex.NewWitness(7)
	s.stand(leading(1, 1, 2, 3, 4, 5))
	s.follow(1, term, 3, 4)
	s.read(1, "first")
	s.hear(s.wantAsked("a read", 3, 4)...)
	s.wantServed("both", "first")
	s.read(1, "second")
	s.hear(s.wantAsked("another read", 3, 4)[0])
	s.wantServed("one of two")
}

func TestBogusAnswersCountForNothing(t *testing.T) {
	s := lead(t, 1, 1, 2, 3)
	s.read(1, "known")
	s.hear(s.wantAsked("a read", 3)...)
	s.wantServed("it has answered", "known")
	s.read(1, "r")
	asks := s.wantAsked("another read", 3)
	a := s.answer(asks[0])
	for name, bogus := range map[string]readindex.Answer{
		"a number that was not yet":     {Number: a.Number + 1, Moment: a.Moment},
		"the largest number":            {Number: ^uint64(0), Moment: a.Moment},
		"number 0":                      {Moment: a.Moment},
		"an old number":                 {Number: a.Number - 1, Moment: a.Moment},
		"denies what it was not asked":  {Number: 0, Moment: a.Moment, Denied: []int{7}},
		"another moment without claims": {Number: a.Number, Moment: readindex.Moment{Run: 3, Moves: 77}, Denied: []int{9}},
	} {
		s.deliver(3, bogus)
		s.deliver(9, bogus) // of which nobody has heard
		s.wantServed(name)
	}
	s.hear(s.wantAsked("it has lied", 3)...)
	s.wantServed("a true answer", "r")
}

func TestWitness(t *testing.T) {
	w := readindex.NewWitness(7)
	claim := func(p ring.PartitionID, n ring.NodeID, term uint64) readindex.Claim {
		return readindex.Claim{Group: p, Replica: idOf(n), Term: term}
	}
	q := &readindex.Question{Number: 4, Claims: []readindex.Claim{
		claim(1, 3, 5), claim(1, 3, 6), claim(2, 3, 5), {Group: 1, Replica: replica.MakeID(3, 2), Term: 5},
	}}
	want := func(when string, moves uint64, denied ...int) {
		t.Helper()
		a := readindex.Answer{Number: 4, Moment: readindex.Moment{Run: 7, Moves: moves}, Denied: denied}
		if got := w.Answer(q); !reflect.DeepEqual(got, a) {
			t.Errorf("%s: %+v, want %+v", when, got, a)
		}
	}
	want("without replicas", 0, 0, 1, 2, 3)
	w.Stand(1, idOf(3), 5)
	want("with one", 1, 1, 2, 3)
	w.Stand(1, idOf(3), 5)
	want("the same again", 1, 1, 2, 3)
	w.Stand(1, idOf(3), 6)
	want("a later term", 2, 0, 2, 3)
	w.Stand(1, replica.MakeID(3, 2), 5)
	want("another replica", 3, 0, 1, 2)
	w.Stand(2, idOf(3), 5)
	want("another group", 4, 0, 1)
	w.Leave(2)
	want("which leaves", 5, 0, 1, 2)
}
