package txn_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

func anyRequest(t *rapid.T) *txn.Request {
	key := rapid.Map(rapid.StringN(1, 3, 4), func(s string) []byte { return []byte(s) })
	r := &txn.Request{HasElse: rapid.Bool().Draw(t, "else"), Protocol: storage.Protocol(rapid.IntRange(0, 4).Draw(t, "protocol"))}
	for range rapid.IntRange(0, 5).Draw(t, "ifs") {
		r.If = append(r.If, storage.TxnCondition{Test: storage.TestExists, Key: key.Draw(t, "key"), Index: 99})
	}
	for range rapid.IntRange(0, 5).Draw(t, "thens") {
		r.Then = append(r.Then, storage.TxnOp{Kind: storage.OpPut, Key: key.Draw(t, "key"), Value: []byte("value")})
	}
	if r.HasElse {
		r.Else = append(r.Else, storage.TxnOp{Kind: storage.OpGet, Key: key.Draw(t, "key")})
	}
	if rapid.Bool().Draw(t, "token") {
		r.Token = &storage.Token{}
		copy(r.Token.Key[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "tokenKey"))
	}
	return r
}

// TestPlanLaws: every condition and operation, numbered as the client did, goes to the group of its key, in order, and
// nowhere else; participants ascend; the home is the lowest.
func TestPlanLaws(t *testing.T) {
	rg, err := ring.New(16)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := anyRequest(t)
		plan, err := txn.NewPlan(rg, r)
		if len(r.If)+len(r.Then)+len(r.Else) == 0 && r.Token == nil {
			if !errors.Is(err, txn.ErrEmpty) {
				t.Fatal(err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		conditions, thens, elses, tokens := 0, 0, 0, 0
		for i, part := range plan.Parts {
			p := &plan.Parts[i].Prepare
			if part.Group != plan.Participants()[i] || i > 0 && part.Group <= plan.Parts[i-1].Group {
				t.Fatalf("participants %v", plan.Participants())
			}
			if p.Protocol != plan.Protocol || p.Partitions != 16 || p.HasElse != r.HasElse || !slices.Equal(p.Participants, plan.Participants()) {
				t.Fatalf("part %+v", p)
			}
			last := -1
			for _, c := range p.If {
				want := r.If[c.Index]
				want.Index = c.Index
				if !reflect.DeepEqual(c, want) || rg.Partition(c.Key) != part.Group || int(c.Index) <= last {
					t.Fatalf("condition %+v in %d", c, part.Group)
				}
				last = int(c.Index)
			}
			conditions += len(p.If)
			thens += checkOps(t, rg, part.Group, p.Then, r.Then)
			elses += checkOps(t, rg, part.Group, p.Else, r.Else)
			if p.Token != nil {
				tokens++
				if rg.Partition(p.Token.Key[:]) != part.Group {
					t.Fatalf("token in %d", part.Group)
				}
			}
		}
		if conditions != len(r.If) || thens != len(r.Then) || elses != len(r.Else) || tokens == 0 != (r.Token == nil) {
			t.Fatalf("%+v of %+v", plan, r)
		}
		if plan.Home() != plan.Participants()[0] || (plan.Protocol == storage.OnePhase) != (len(plan.Parts) == 1) {
			t.Fatalf("home %d, protocol %d of %v", plan.Home(), plan.Protocol, plan.Participants())
		}
	})
}

func checkOps(t *rapid.T, rg *ring.Ring, group storage.PartitionID, ops, of []storage.TxnOp) int {
	last := -1
	for _, op := range ops {
		want := of[op.Index]
		want.Index = op.Index
		if !reflect.DeepEqual(op, want) || rg.Partition(op.Key) != group || int(op.Index) <= last {
			t.Fatalf("operation %+v in %d", op, group)
		}
		last = int(op.Index)
	}
	return len(ops)
}

func TestPlanFits(t *testing.T) {
	rg, err := ring.New(1)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := txn.NewPlan(rg, &txn.Request{Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("k"), Value: make([]byte, 1000)}}})
	if err != nil {
		t.Fatal(err)
	}
	encoded := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindSingle, Txn: &storage.TxnCommand{
		ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Prepare: &plan.Parts[0].Prepare,
	}})
	if b := plan.Parts[0].Bytes; b < 1001 || len(encoded) > b+64 {
		t.Errorf("%d bytes, encoded %d", b, len(encoded))
	}
	if err := plan.Fits(1001); err != nil {
		t.Error(err)
	}
	if err := plan.Fits(1000); !errors.Is(err, txn.ErrTooLarge) {
		t.Error(err)
	}
}

// TestOutcomeLaws: the decision and the outcome are functions of the set of votes, not of its order; the decision is the
// one of another, plainer function; results stand in the client's order.
func TestOutcomeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		votes := anyVotes(t)
		d := txn.Decide(votes)
		if want := decide(votes); d != want {
			t.Fatalf("decision %d, not %d", d, want)
		}
		o := txn.AssembleOutcome(txn.Outcome{ID: "T"}, d, votes)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(votes), func(i, j int) { votes[i], votes[j] = votes[j], votes[i] })
		again := txn.AssembleOutcome(txn.Outcome{ID: "T"}, txn.Decide(votes), votes)
		if !reflect.DeepEqual(o, again) {
			t.Fatalf("%+v, in another order %+v", o, again)
		}
		if (d == storage.DecideNothing) != (len(o.Failed) > 0) || d == storage.DecideNothing && o.Results != nil {
			t.Fatalf("decision %d: %+v", d, o)
		}
		for i := range o.Results {
			if int(o.Results[i].Index) != i {
				t.Fatalf("results %+v", o.Results)
			}
		}
	})
}

// anyVotes deals conditions and operations out to some groups.
func anyVotes(t *rapid.T) []*storage.Vote {
	votes := make([]*storage.Vote, rapid.IntRange(1, 4).Draw(t, "groups"))
	hasElse := rapid.Bool().Draw(t, "else")
	for i := range votes {
		votes[i] = &storage.Vote{HasElse: hasElse}
	}
	some := func() *storage.Vote { return votes[rapid.IntRange(0, len(votes)-1).Draw(t, "group")] }
	for i := range uint32(rapid.IntRange(0, 4).Draw(t, "conditions")) {
		v := some()
		v.If = append(v.If, storage.Seen{Index: i, Holds: rapid.IntRange(0, 3).Draw(t, "holds") > 0, Version: storage.Version(i)})
	}
	dealBranch(t, some, func(v *storage.Vote) *storage.BranchVote { return &v.Then })
	if hasElse {
		dealBranch(t, some, func(v *storage.Vote) *storage.BranchVote { return &v.Else })
	}
	return votes
}

func dealBranch(t *rapid.T, some func() *storage.Vote, of func(*storage.Vote) *storage.BranchVote) {
	for i := range uint32(rapid.IntRange(0, 5).Draw(t, "operations")) {
		b := of(some())
		if b.Failed == nil && rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
			b.Failed = &storage.FailedOp{Index: i, Failure: storage.OpBound}
		}
		b.Results = append(b.Results, storage.OpResult{Index: i, Kind: storage.OpPut, Version: storage.Version(i)})
	}
}

// TestNames: keys come from the request, also for an outcome that a token kept.
func TestNames(t *testing.T) {
	r := &txn.Request{
		If:   []storage.TxnCondition{{Test: storage.TestExists, Key: []byte("a")}, {Test: storage.TestToken, Key: []byte("ledger")}},
		Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("b")}},
		Else: []storage.TxnOp{{Kind: storage.OpGet, Key: []byte("c")}},
	}
	o := &txn.Outcome{Decision: storage.DecideElse, Results: []storage.OpResult{{Index: 0}, {Index: 7}}}
	o.Failed = []txn.Failure{{In: txn.InIf, Index: 1}, {In: txn.InIf}, {In: txn.InThen}, {In: txn.InElse}, {In: txn.InIf, Index: 9}}
	o.Name(r)
	if string(o.Results[0].Key) != "c" || o.Results[0].Kind != storage.OpGet || o.Results[1].Key != nil {
		t.Errorf("results %+v", o.Results)
	}
	for i, want := range []string{"ledger", "a", "b", "c", ""} {
		if f := o.Failed[i]; string(f.Key) != want || f.Lock != (want == "ledger") {
			t.Errorf("failure %d: %+v", i, f)
		}
	}
}

func TestReadOnly(t *testing.T) {
	get := []storage.TxnOp{{Kind: storage.OpGet}}
	put := []storage.TxnOp{{Kind: storage.OpGet}, {Kind: storage.OpPut}}
	for name, c := range map[string]struct {
		request txn.Request
		want    bool
	}{
		"nothing":      {txn.Request{}, true},
		"gets":         {txn.Request{Then: get, Else: get}, true},
		"a put":        {txn.Request{Then: put}, false},
		"a put else":   {txn.Request{Then: get, Else: put}, false},
		"with a token": {txn.Request{Then: get, Token: &storage.Token{}}, false},
	} {
		if got := c.request.ReadOnly(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
