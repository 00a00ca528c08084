package txn

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

// Decide is the outcome function of the protocol: what becomes of an attempt for which every participant voted YES. It
// depends on the votes only, not on their order, so whoever has all of them computes the same. votes has no nil.
func Decide(votes []*storage.Vote) storage.Decision {
	branch := storage.DecideThen
	if !allHold(votes) {
		branch = storage.DecideElse
		if !votes[0].HasElse {
			return storage.DecideNothing
		}
	}
	for _, v := range votes {
		if branchOf(v, branch).Failed != nil {
			return storage.DecideNothing
		}
	}
	return branch
}

func allHold(votes []*storage.Vote) bool {
	for _, v := range votes {
		for i := range v.If {
			if !v.If[i].Holds {
				return false
			}
		}
	}
	return true
}

func branchOf(v *storage.Vote, d storage.Decision) *storage.BranchVote {
	if d == storage.DecideElse {
		return &v.Else
	}
	return &v.Then
}

// AssembleOutcome puts the outcome of decision d together from all votes, or from what the groups' COMMITTED records
// keep of them: head with Decision, and Results or Failed. Keys are left to Outcome.Name. d commits.
func AssembleOutcome(head Outcome, d storage.Decision, votes []*storage.Vote) *Outcome {
	o := head
	o.Decision, o.Results, o.Failed = d, nil, nil
	if d == storage.DecideNothing {
		o.Failed = failures(votes)
		return &o
	}
	o.Results = make([]storage.OpResult, 0, len(votes))
	for _, v := range votes {
		o.Results = append(o.Results, branchOf(v, d).Results...)
	}
	slices.SortFunc(o.Results, func(a, b storage.OpResult) int { return cmp.Compare(a.Index, b.Index) })
	return &o
}

// failures says why no branch could be executed: every false condition (R6: all of one moment), or, where a branch was
// chosen, the first operation of it that could not be executed. Later ones saw a state that never was.
func failures(votes []*storage.Vote) []Failure {
	hold := allHold(votes)
	if !hold && !votes[0].HasElse {
		return falseConditions(votes)
	}
	section, branch := InThen, storage.DecideThen
	if !hold {
		section, branch = InElse, storage.DecideElse
	}
	var first *storage.FailedOp
	for _, v := range votes {
		if f := branchOf(v, branch).Failed; f != nil && (first == nil || f.Index < first.Index) {
			first = f
		}
	}
	if first == nil {
		return nil
	}
	return []Failure{{In: section, Index: first.Index, Version: first.Version, Op: first.Failure}}
}

func falseConditions(votes []*storage.Vote) []Failure {
	var failed []Failure
	for _, v := range votes {
		for _, s := range v.If {
			if !s.Holds {
				failed = append(failed, Failure{In: InIf, Index: s.Index, Version: s.Version})
			}
		}
	}
	slices.SortFunc(failed, func(a, b Failure) int { return cmp.Compare(a.Index, b.Index) })
	return failed
}

// Name sets the keys of results and failures from the request that the outcome is of: votes and stored outcomes need
// not carry them. An index beyond the request is left alone.
func (o *Outcome) Name(r *Request) {
	ops := r.Then
	if o.Decision == storage.DecideElse {
		ops = r.Else
	}
	for i := range o.Results {
		if at := o.Results[i].Index; int(at) < len(ops) {
			o.Results[i].Key, o.Results[i].Kind = ops[at].Key, ops[at].Kind
		}
	}
	for i := range o.Failed {
		o.Failed[i].name(r)
	}
}

func (f *Failure) name(r *Request) {
	ops := r.Then
	switch f.In {
	case InIf:
		if int(f.Index) < len(r.If) {
			c := &r.If[f.Index]
			f.Key, f.Lock = c.Key, c.Test == storage.TestToken
		}
		return
	case InElse:
		ops = r.Else
	}
	if int(f.Index) < len(ops) {
		f.Key = ops[f.Index].Key
	}
}
