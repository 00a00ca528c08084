package meta_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// life is a cluster's description through all its changes, and what must never happen again.
type life struct {
	s      *meta.State
	uuids  int
	placed map[string]uint32 // replica, by partition and ID → epoch at which it was last placed
}

func encode(t *rapid.T, s *meta.State) []byte {
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// change applies one and checks the laws of all changes.
func (l *life) change(t *rapid.T, what string, fn func(*meta.State) (*meta.State, error)) error {
	before := encode(t, l.s)
	next, err := fn(l.s)
	if !bytes.Equal(before, encode(t, l.s)) {
		t.Fatalf("%s changed the State that it was given", what)
	}
	if err != nil {
		return err
	}
	old := l.s
	l.s = next
	if next.Epoch <= old.Epoch {
		t.Fatalf("%s: epoch %d after %d", what, next.Epoch, old.Epoch)
	}
	l.checkNodes(t, old)
	l.checkPlacement(t, old)
	l.checkMeta(t)
	decoded, err := meta.Decode(encode(t, next))
	if err != nil || !bytes.Equal(encode(t, decoded), encode(t, next)) {
		t.Fatalf("round trip: %v", err)
	}
	return nil
}

// checkNodes: numbers are never reused, nobody vanishes, who left stays so, and a name belongs to one present member.
func (l *life) checkNodes(t *rapid.T, old *meta.State) {
	names := make(map[string]bool)
	for i, n := range l.s.Nodes {
		if i > 0 && n.ID <= l.s.Nodes[i-1].ID || n.ID > l.s.LastNode {
			t.Fatalf("node %d after %d, last %d", n.ID, l.s.Nodes[max(i-1, 0)].ID, l.s.LastNode)
		}
		if i >= len(old.Nodes) && n.ID <= old.LastNode {
			t.Fatalf("node number %d was given before", n.ID)
		}
		if i < len(old.Nodes) && (old.Nodes[i].ID != n.ID || old.Nodes[i].UUID != n.UUID || old.Nodes[i].Meta != n.Meta) {
			t.Fatalf("node %v became %v", old.Nodes[i], n)
		}
		if i < len(old.Nodes) && n.Incarnation < old.Nodes[i].Incarnation {
			t.Fatalf("node %d: incarnation %d after %d", n.ID, n.Incarnation, old.Nodes[i].Incarnation)
		}
		if i < len(old.Nodes) && old.Nodes[i].State == meta.Left && n.State != meta.Left {
			t.Fatalf("node %d came back", n.ID)
		}
		if n.State == meta.Left {
			continue
		}
		if names[n.Name] {
			t.Fatalf("two members are named %s", n.Name)
		}
		names[n.Name] = true
	}
}

// checkPlacement: every partition has its replicas on different members; a replica that stays keeps its ID, and one
// that comes has an ID that nobody ever had.
func (l *life) checkPlacement(t *rapid.T, old *meta.State) {
	present := make(map[ring.NodeID]bool)
	for _, n := range l.s.Present() {
		present[n.ID] = true
	}
	for p, ids := range l.s.Placement {
		nodes := make(map[ring.NodeID]bool)
		for _, id := range ids {
			if !present[id.Node()] || nodes[id.Node()] {
				t.Fatalf("partition %d: replicas %v, members %v", p, ids, slices.Sorted(maps.Keys(present)))
			}
			nodes[id.Node()] = true
			key := fmt.Sprint(p, "/", id)
			kept := slices.Contains(old.Placement[p], id)
			if _, before := l.placed[key]; before != kept {
				t.Fatalf("partition %d: replica %v: placed before %t, kept %t", p, id, before, kept)
			}
			l.placed[key] = l.s.Epoch
		}
		if want := min(l.s.Replicas, len(present)); len(ids) > want || len(ids) == 0 {
			t.Fatalf("partition %d has %d replicas, %d members, N %d", p, len(ids), len(present), l.s.Replicas)
		}
	}
}

// checkMeta: the metadata group has a replica on every present member, and as many voters as there can be.
func (l *life) checkMeta(t *rapid.T) {
	target := l.s.MetaTarget()
	have := slices.Sorted(slices.Values(append(slices.Clone(target.Voters), target.Learners...)))
	var want []replica.ID
	for _, n := range l.s.Present() {
		want = append(want, n.Meta)
	}
	if slices.Sort(want); !slices.Equal(have, want) {
		t.Fatalf("metadata replicas %v, members have %v", have, want)
	}
	if len(target.Voters) != min(l.s.Replicas, len(want)) {
		t.Fatalf("%d metadata voters of %d members, N %d", len(target.Voters), len(want), l.s.Replicas)
	}
}

func TestLawsOfChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := meta.Form("c", 1<<rapid.IntRange(0, 4).Draw(t, "log2(Q)"), rapid.IntRange(1, 4).Draw(t, "N"),
			meta.Node{UUID: "u0", Name: "n0", Weight: 1})
		if err != nil {
			t.Fatal(err)
		}
		l := &life{s: s, uuids: 1, placed: make(map[string]uint32)}
		for p, ids := range s.Placement {
			l.placed[fmt.Sprint(p, "/", ids[0])] = s.Epoch
		}
		t.Repeat(map[string]func(*rapid.T){
			"join":     l.join,
			"move":     l.move,
			"begin":    l.begin,
			"sweep":    l.sweep,
			"activate": l.activate,
			"down":     l.down,
			"replace":  l.replace,
		})
	})
}

func never(ring.NodeID) bool  { return false }
func always(ring.NodeID) bool { return true }

func (l *life) admission(name string) meta.Admission {
	l.uuids++
	return meta.Admission{UUID: fmt.Sprintf("u%d", l.uuids), Name: name, Weight: 1}
}

func (l *life) join(t *rapid.T) {
	if len(l.s.Present()) > 6 {
		t.Skip("full")
	}
	a := l.admission(fmt.Sprintf("n%d", l.uuids+1))
	a.Weight = rapid.Uint32Range(1, 4).Draw(t, "weight")
	a.Zone = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "zone")
	l.must(t, "join", func(s *meta.State) (*meta.State, error) {
		next, n, err := s.Admit(a, always)
		if err == nil && (n.State != meta.Joining || n.UUID != a.UUID) {
			t.Fatalf("admitted as %v", n)
		}
		return next, err
	})
}

// move starts a member again with other addresses and weight; asking twice changes nothing more.
func (l *life) move(t *rapid.T) {
	n := rapid.SampledFrom(l.s.Nodes).Draw(t, "node")
	a := meta.Admission{
		UUID: n.UUID, Name: n.Name, HTTP: rapid.SampledFrom([]string{"a:1", "b:2"}).Draw(t, "http"), Weight: rapid.Uint32Range(1, 3).Draw(t, "weight"),
	}
	admit := func(s *meta.State) (*meta.State, error) {
		next, _, err := s.Admit(a, always)
		return next, err
	}
	err := l.change(t, "move", admit)
	if n.State == meta.Left {
		if !errors.Is(err, meta.ErrLeft) {
			t.Fatalf("a node that left: %v", err)
		}
		return
	}
	if err != nil && !errors.Is(err, meta.ErrNoChange) {
		t.Fatal(err)
	}
	if err := l.change(t, "move", admit); !errors.Is(err, meta.ErrNoChange) {
		t.Fatalf("asked twice: %v", err)
	}
}

// begin starts a member's next life; its number is the old one and one more.
func (l *life) begin(t *rapid.T) {
	n := rapid.SampledFrom(l.s.Nodes).Draw(t, "node")
	var given uint64
	err := l.change(t, "begin", func(s *meta.State) (next *meta.State, err error) {
		next, given, err = s.Begin(n.ID, "r")
		return next, err
	})
	if n.State == meta.Left {
		if !errors.Is(err, meta.ErrLeft) {
			t.Fatalf("a node that left: %v", err)
		}
		return
	}
	if now, _ := l.s.Node(n.ID); err != nil || given != n.Incarnation+1 || now.Incarnation != given {
		t.Fatalf("incarnation %d after %d, in the State %d, %v", given, n.Incarnation, now.Incarnation, err)
	}
}

// sweep forgets incarnations: never the one that a member runs as, and never fewer than before.
func (l *life) sweep(t *rapid.T) {
	n := rapid.SampledFrom(l.s.Nodes).Draw(t, "node")
	first := rapid.Uint64Range(0, n.Incarnation+2).Draw(t, "first")
	err := l.change(t, "sweep", func(s *meta.State) (*meta.State, error) { return s.SetSwept(n.ID, first) })
	dead := n.Incarnation
	if n.State == meta.Left {
		dead++
	}
	now, _ := l.s.Node(n.ID)
	switch {
	case first > dead && !errors.Is(err, meta.ErrAlive):
		t.Fatalf("incarnation %d of %d: %v", first, n.Incarnation, err)
	case first <= dead && first <= n.Swept && !errors.Is(err, meta.ErrNoChange):
		t.Fatalf("nothing to change: %v", err)
	case first <= dead && first > n.Swept && (err != nil || now.Swept != first):
		t.Fatalf("swept below %d, want %d: %v", now.Swept, first, err)
	}
}

func (l *life) activate(t *rapid.T) {
	n := rapid.SampledFrom(l.s.Nodes).Draw(t, "node")
	err := l.change(t, "activate", func(s *meta.State) (*meta.State, error) { return s.Activate(n.ID) })
	if (err == nil) != (n.State == meta.Joining) {
		t.Fatalf("activate a node that is %s: %v", n.State, err)
	}
}

func (l *life) down(t *rapid.T) {
	n := rapid.SampledFrom(l.s.Nodes).Draw(t, "node")
	down := rapid.Bool().Draw(t, "down")
	err := l.change(t, "down", func(s *meta.State) (*meta.State, error) { return s.SetDown(n.ID, down) })
	switch {
	case n.State == meta.Left && !errors.Is(err, meta.ErrLeft):
		t.Fatalf("a node that left: %v", err)
	case n.State != meta.Left && n.Down == down && !errors.Is(err, meta.ErrNoChange):
		t.Fatalf("nothing to change: %v", err)
	case n.State != meta.Left && n.Down != down && err != nil:
		t.Fatal(err)
	}
}

// replace brings a new machine with the name of a member: refused while that one is alive, in its place afterwards.
func (l *life) replace(t *rapid.T) {
	old := rapid.SampledFrom(l.s.Present()).Draw(t, "node")
	a := l.admission(old.Name)
	admit := func(alive func(ring.NodeID) bool) func(*meta.State) (*meta.State, error) {
		return func(s *meta.State) (*meta.State, error) {
			next, _, err := s.Admit(a, alive)
			return next, err
		}
	}
	if err := l.change(t, "replace", admit(always)); !errors.Is(err, meta.ErrNameTaken) {
		t.Fatalf("the name of a live member: %v", err)
	}
	l.must(t, "replace", admit(never))
	if n, _ := l.s.Node(old.ID); n.State != meta.Left {
		t.Fatalf("the old member is %s", n.State)
	}
}

func (l *life) must(t *rapid.T, what string, fn func(*meta.State) (*meta.State, error)) {
	if err := l.change(t, what, fn); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestAdmitRefusesAnotherCluster(t *testing.T) {
	s, err := meta.Form("c", 2, 3, meta.Node{UUID: "u", Name: "a", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Admit(meta.Admission{ClusterID: "d", UUID: "v", Name: "b", Weight: 1}, always)
	if !errors.Is(err, meta.ErrWrongCluster) {
		t.Fatalf("got %v", err)
	}
}

func TestUnknownNode(t *testing.T) {
	s, err := meta.Form("c", 2, 3, meta.Node{UUID: "u", Name: "a", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Activate(9); !errors.Is(err, meta.ErrUnknownNode) {
		t.Errorf("activate: %v", err)
	}
	if _, err := s.SetDown(9, true); !errors.Is(err, meta.ErrUnknownNode) {
		t.Errorf("set down: %v", err)
	}
}

// TestOnlyOneOfTwoChangesWins: a change computed from a State that another change has replaced is refused.
func TestOnlyOneOfTwoChangesWins(t *testing.T) {
	s, err := meta.Form("c", 2, 3, meta.Node{UUID: "u", Name: "a", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	e := memdb.New()
	v := e.View()
	defer v.Close()
	part, err := storage.OpenPartition(v, storage.MetaPartition)
	if err != nil {
		t.Fatal(err)
	}
	b := e.Batch()
	defer b.Discard()
	index := uint64(0)
	put := func(s *meta.State, cond storage.Condition) storage.Result {
		t.Helper()
		value, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		index++
		cmd := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: []byte(meta.Key), Value: value, Cond: cond})
		res, err := part.Apply(b, index, 1, cmd)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	version := put(s, storage.Condition{}).Version
	seen := storage.Condition{IfMatch: []storage.Version{version}}
	one, _, err1 := s.Admit(meta.Admission{UUID: "v", Name: "b", Weight: 1}, always)
	two, _, err2 := s.Admit(meta.Admission{UUID: "w", Name: "b", Weight: 1}, always)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if res := put(one, seen); res.Status != storage.StatusReplaced {
		t.Fatalf("the first: %v", res.Status)
	}
	if res := put(two, seen); res.Status != storage.StatusConditionFailed {
		t.Fatalf("the second: %v", res.Status)
	}
}
