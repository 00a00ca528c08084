package serial

import (
	"cmp"
	"maps"
	"slices"
)

// Check judges a history, whose transactions may stand in any order. Its error is ErrMalformed or nil.
func Check(history []Txn) (Report, error) {
	if err := validate(history); err != nil {
		return Report{}, err
	}
	c := &checker{txns: slices.Clone(history), byName: map[Key]*keyHistory{}}
	slices.SortFunc(c.txns, func(a, b Txn) int {
		return cmp.Or(cmp.Compare(a.Invoked, b.Invoked), cmp.Compare(a.ID, b.ID))
	})
	if err := c.collectAppends(); err != nil {
		return Report{}, err
	}
	c.run()
	return c.found.report(), nil
}

// CheckFinal is Check with one more transaction at the end, FinalState: all lists that are not empty, as of one moment
// when everything had returned and nothing could take effect any more. Without such a moment, read the keys in ordinary
// transactions and use Check.
func CheckFinal(history []Txn, final map[Key][]Value) (Report, error) {
	return Check(append(slices.Clone(history), finalState(history, final)))
}

// finalState reads every key of the history and of final, after everything else.
func finalState(history []Txn, final map[Key][]Value) Txn {
	keys := map[Key]bool{}
	for key := range final {
		keys[key] = true
	}
	t := Txn{ID: FinalState, Outcome: Committed}
	for i := range history {
		t.Invoked = max(t.Invoked, history[i].Invoked+1)
		if end := history[i].end(); end != Never {
			t.Invoked = max(t.Invoked, end+1)
		}
		for _, op := range history[i].Ops {
			keys[op.Key] = true
		}
	}
	t.Returned = t.Invoked
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		t.Ops = append(t.Ops, Read(key, final[key]...))
	}
	return t
}

// checker is the work on one history. A transaction is named by its place in txns: an int32, to keep edges small.
type checker struct {
	txns    []Txn // by time of invocation, then id
	keys    []*keyHistory
	byName  map[Key]*keyHistory
	visible []bool // by transaction: it took effect; committed, or unknown and read by somebody
	edges   []edge
	hubs    int // nodes of the graph that are not transactions; they follow these
	found   findings
}

// run finds what there is to find, in the order in which one step needs another.
func (c *checker) run() {
	c.collectViews()
	for _, k := range c.keys {
		c.settle(k)
	}
	for _, k := range c.keys {
		c.judge(k)
	}
	for _, k := range c.keys {
		c.connect(k)
	}
	c.findCycle()
}

// sublist is those of txns that are named.
func (c *checker) sublist(ts ...int32) []Txn {
	out := make([]Txn, len(ts))
	for i, t := range ts {
		out[i] = c.txns[t]
	}
	return out
}
