package readindex_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

const (
	self = ring.NodeID(2) // between others, so that an order that begins behind it differs from the natural one
	term = uint64(5)
	base = uint64(10) // index that is committed and applied everywhere from the start
)

// scene is one node's reads and the witnesses of all the others.
type scene struct {
	t         *testing.T
	reads     *readindex.Reads
	witnesses map[ring.NodeID]*readindex.Witness
	ended     []readindex.Ended // nobody has looked at them yet
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, reads: readindex.New(), witnesses: make(map[ring.NodeID]*readindex.Witness)}
}

func idOf(n ring.NodeID) replica.ID { return replica.MakeID(n, 1) }

func voters(nodes ...ring.NodeID) []uint64 {
	var ids []uint64
	for _, n := range nodes {
		ids = append(ids, uint64(idOf(n)))
	}
	return ids
}

// leading is the standing of a group that has been led by self for long.
func leading(p ring.PartitionID, nodes ...ring.NodeID) readindex.Standing {
	return readindex.Standing{
		Group: p, Replica: idOf(self), Term: term, Leading: true, Serving: true, Commit: base, Applied: base, Voters: voters(nodes...),
	}
}

// lead has self lead groups 1 to n, with voters on these nodes which all know of it.
func lead(t *testing.T, n ring.PartitionID, nodes ...ring.NodeID) *scene {
	s := newScene(t)
	for p := ring.PartitionID(1); p <= n; p++ {
		s.stand(leading(p, nodes...))
		s.follow(p, term, nodes...)
	}
	return s
}

func (s *scene) stand(st readindex.Standing) {
	s.reads.Stand(&st)
	s.collect()
}

// follow has the replicas of a group on these nodes move to a term.
func (s *scene) follow(p ring.PartitionID, term uint64, nodes ...ring.NodeID) {
	for _, n := range nodes {
		s.witness(n).Stand(p, idOf(n), term)
	}
}

func (s *scene) witness(n ring.NodeID) *readindex.Witness {
	if s.witnesses[n] == nil {
		s.witnesses[n] = readindex.NewWitness(uint64(n))
	}
	return s.witnesses[n]
}

func (s *scene) read(p ring.PartitionID, tag string) {
	s.t.Helper()
	if !s.reads.Read(p, tag) {
		s.t.Fatalf("read %s of group %d is refused", tag, p)
	}
	s.collect()
}

// collect keeps the reads that have ended.
func (s *scene) collect() []readindex.Ask {
	e := s.reads.Take()
	s.ended = append(s.ended, e.Ended...)
	return e.Asks
}

func (s *scene) ask() []readindex.Ask {
	s.reads.Ask()
	return s.collect()
}

// wantAsked has the questions put that are due, and wants them to go to these nodes.
func (s *scene) wantAsked(when string, nodes ...ring.NodeID) []readindex.Ask {
	s.t.Helper()
	asks := s.ask()
	var got []ring.NodeID
	for i := range asks {
		got = append(got, asks[i].To)
	}
	slices.Sort(got)
	slices.Sort(nodes)
	if !slices.Equal(got, nodes) {
		s.t.Fatalf("%s: asks %v, want %v", when, got, nodes)
	}
	return asks
}

// answer is what the node that is asked says now.
func (s *scene) answer(a readindex.Ask) readindex.Answer {
	return s.witness(a.To).Answer(&a.Question)
}

func (s *scene) deliver(from ring.NodeID, a readindex.Answer) {
	s.reads.Answer(from, &a)
	s.collect()
}

// hear has questions answered at once.
func (s *scene) hear(asks ...readindex.Ask) {
	for _, a := range asks {
		s.deliver(a.To, s.answer(a))
	}
}

func (s *scene) lost(asks ...readindex.Ask) {
	for _, a := range asks {
		s.reads.Lost(a.To, a.Number)
	}
	s.collect()
}

func (s *scene) tick(n int) {
	for range n {
		s.reads.Tick()
	}
	s.collect()
}

// wantServed wants exactly these reads to have ended since the last look, all by right.
func (s *scene) wantServed(when string, tags ...string) {
	s.t.Helper()
	s.wantEnded(when, nil, tags...)
}

func (s *scene) wantDropped(when string, tags ...string) {
	s.t.Helper()
	s.wantEnded(when, replica.ErrDropped, tags...)
}

func (s *scene) wantEnded(when string, err error, tags ...string) {
	s.t.Helper()
	var got []string
	for _, e := range s.ended {
		if e.Err != err {
			s.t.Errorf("%s: %v ends with %v, want %v", when, e.Tag, e.Err, err)
		}
		if e.Err == nil && e.Term == 0 {
			s.t.Errorf("%s: %v is granted by no leadership", when, e.Tag)
		}
		got = append(got, fmt.Sprint(e.Tag))
	}
	s.ended = nil
	slices.Sort(got)
	slices.Sort(tags)
	if !slices.Equal(got, tags) {
		s.t.Fatalf("%s: ended %v, want %v", when, got, tags)
	}
}

// settle has everybody answer until no question is due, and reports how many were asked.
func (s *scene) settle() int {
	for n := range 100 {
		asks := s.ask()
		if len(asks) == 0 {
			return n
		}
		s.hear(asks...)
	}
	s.t.Fatalf("asks for ever; witnesses on %v", slices.Sorted(maps.Keys(s.witnesses)))
	return 0
}
