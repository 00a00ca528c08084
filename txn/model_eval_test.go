package txn_test

import (
	"maps"

	"github.com/ringkv/ringkv/storage"
)

// locksOf tells for each key whether the lock is exclusive.
func locksOf(p *storage.Prepare) map[string]bool {
	locks := map[string]bool{}
	for i := range p.If {
		locks[string(p.If[i].Key)] = false
	}
	for _, ops := range [][]storage.TxnOp{p.Then, p.Else} {
		for i := range ops {
			key := string(ops[i].Key)
			locks[key] = locks[key] || ops[i].Kind != storage.OpGet
		}
	}
	return locks
}

func writes(p *storage.Prepare) bool {
	for _, x := range locksOf(p) {
		if x {
			return true
		}
	}
	return false
}

// decide is the outcome function once more, written on its own.
func decide(votes []*storage.Vote) storage.Decision {
	hold, thenFails, elseFails, hasElse := true, false, false, false
	for _, v := range votes {
		for _, s := range v.If {
			hold = hold && s.Holds
		}
		thenFails = thenFails || v.Then.Failed != nil
		elseFails = elseFails || v.Else.Failed != nil
		hasElse = hasElse || v.HasElse
	}
	switch {
	case hold && !thenFails:
		return storage.DecideThen
	case !hold && hasElse && !elseFails:
		return storage.DecideElse
	}
	return storage.DecideNothing
}

// evaluate makes the vote. The tests use version conditions, get and put only.
func (g *modelGroup) evaluate(p *storage.Prepare) *storage.Vote {
	v := &storage.Vote{HasElse: p.HasElse, Token: p.Token != nil}
	for _, c := range p.If {
		version := g.items[string(c.Key)].version
		v.If = append(v.If, storage.Seen{Index: c.Index, Holds: version == c.Want, Version: version})
	}
	v.Then.Results = g.results(p.Then)
	if p.HasElse {
		v.Else.Results = g.results(p.Else)
	}
	return v
}

func (g *modelGroup) results(ops []storage.TxnOp) []storage.OpResult {
	var results []storage.OpResult
	overlay := maps.Clone(g.items)
	for _, op := range ops {
		r := storage.OpResult{Index: op.Index, Kind: op.Kind}
		switch op.Kind {
		case storage.OpPut:
			overlay[string(op.Key)] = modelItem{value: string(op.Value)}
			r.Exists = true
		case storage.OpGet:
			it, exists := overlay[string(op.Key)]
			r.Exists, r.Value, r.Version = exists, []byte(it.value), it.version
		}
		results = append(results, r)
	}
	return results
}

// setVersions gives the writes in a vote their version.
func setVersions(v *storage.Vote, version storage.Version) {
	for _, b := range []*storage.BranchVote{&v.Then, &v.Else} {
		for i := range b.Results {
			if b.Results[i].Kind == storage.OpPut {
				b.Results[i].Version = version
			}
		}
	}
}

func (g *modelGroup) staged(p *storage.Prepare, d storage.Decision) map[string]string {
	ops := map[storage.Decision][]storage.TxnOp{storage.DecideThen: p.Then, storage.DecideElse: p.Else}[d]
	staged := map[string]string{}
	for _, op := range ops {
		if op.Kind == storage.OpPut {
			staged[string(op.Key)] = string(op.Value)
		}
	}
	return staged
}

// put is a plain PUT under If-Match. It returns false, and does nothing, where a transaction's lock is in the way.
func (g *modelGroup) put(key, value string, want storage.Version) (held bool, version storage.Version) {
	if g.holder(key, !g.faults.has(putIgnoresS), storage.TxnID{}) {
		return true, 0
	}
	if g.items[key].version != want {
		return false, 0
	}
	g.revision++
	g.items[key] = modelItem{value, g.revision}
	if g.past[key] == nil {
		g.past[key] = map[storage.Version]string{}
	}
	g.past[key][g.revision] = value
	return false, g.revision
}

// get is what a linearizable GET finds; false while it has to wait.
func (g *modelGroup) get(key string) (modelItem, bool) {
	if g.holder(key, false, storage.TxnID{}) && !g.faults.has(getIgnoresX) {
		return modelItem{}, false
	}
	return g.items[key], true
}
