package storage

import (
	"slices"
	"strconv"
)

// source is what an evaluation reads from: a partition, or what was read from one.
type source interface {
	// item returns what is stored under key, the zero record where it is absent.
	item(key []byte) (record, error)
	// value returns the value of key's record; the caller may keep it.
	value(key []byte, r *record) ([]byte, error)
	// heldToken returns the fencing token under which a lock is held, 0 where it is free.
	heldToken(name []byte) (Version, error)
}

// partitionSource reads from a partition while it applies.
type partitionSource struct {
	r Reader
	p *Partition
}

func (s *partitionSource) item(key []byte) (record, error) { return s.p.present(s.r, key) }

func (s *partitionSource) value(key []byte, r *record) ([]byte, error) {
	return r.value(s.r, s.p.id, key)
}

func (s *partitionSource) heldToken(name []byte) (Version, error) {
	return heldToken(s.r, s.p.id, name)
}

// reading returns what an evaluation reads from while an entry is applied.
func (p *Partition) reading(r Reader) source {
	p.source = partitionSource{r, p}
	return &p.source
}

// evaluation judges the conditions of a part and computes its branches, without changing anything. The same part over
// the same items gives the same: that is why a YES record keeps the part and not the results.
type evaluation struct {
	read      source
	part      *Prepare
	version   Version // of what it writes
	vote      Vote
	then      overlay // what each branch would leave behind
	otherwise overlay
	seen      []Seen // memory of vote.If
	numbers   []byte // what additions made, one behind the other
	size      uint64 // of keys and values in the vote
	marks     int    // bound of what ending the hold of its keys adds to a batch
	tooLarge  bool   // the vote would not fit; it is not complete then
}

// conditions judges all conditions: what each one saw, false or not (R6).
func (e *evaluation) conditions() error {
	e.vote.HasElse, e.vote.Token = e.part.HasElse, e.part.Token != nil
	if len(e.part.If) == 0 {
		return nil
	}
	e.seen = sized(e.seen, len(e.part.If))
	e.vote.If = e.seen
	for i := range e.part.If {
		var err error
		if e.vote.If[i], err = e.condition(&e.part.If[i]); err != nil {
			return err
		}
	}
	return nil
}

// hold tells whether all conditions of the part were true.
func (e *evaluation) hold() bool {
	for i := range e.vote.If {
		if !e.vote.If[i].Holds {
			return false
		}
	}
	return true
}

// both evaluates whatever may be executed: of a prepare, as only all groups together decide.
func (e *evaluation) both() error {
	if err := e.conditions(); err != nil {
		return err
	}
	if err := e.branch(&e.then, e.part.Then, &e.vote.Then); err != nil || !e.part.HasElse {
		return err
	}
	return e.branch(&e.otherwise, e.part.Else, &e.vote.Else)
}

// alone evaluates a transaction that has no other group, and decides it.
func (e *evaluation) alone() (Decision, error) {
	if err := e.conditions(); err != nil {
		return Undecided, err
	}
	switch {
	case e.hold():
		return e.executable(DecideThen, e.branch(&e.then, e.part.Then, &e.vote.Then))
	case e.part.HasElse:
		return e.executable(DecideElse, e.branch(&e.otherwise, e.part.Else, &e.vote.Else))
	}
	return DecideNothing, nil
}

func (e *evaluation) executable(d Decision, err error) (Decision, error) {
	if e.failed(d) {
		return DecideNothing, err
	}
	return d, err
}

// possible tells whether all groups together can have decided d, as far as this one knows.
func (e *evaluation) possible(d Decision) bool {
	switch d {
	case DecideThen:
		return e.hold() && !e.failed(d)
	case DecideElse:
		return e.part.HasElse && !e.failed(d)
	}
	return d == DecideNothing
}

func (e *evaluation) failed(d Decision) bool {
	return d == DecideThen && e.vote.Then.Failed != nil || d == DecideElse && e.vote.Else.Failed != nil
}

// voteFor returns what is kept of the vote after decision d: the results of the branch, or, of nothing, why a branch was
// impossible.
func (e *evaluation) voteFor(d Decision) Vote {
	v := e.vote
	switch d {
	case DecideThen:
		v.Else = BranchVote{}
	case DecideElse:
		v.Then = BranchVote{}
	default:
		v.Then.Results, v.Else.Results = nil, nil
	}
	return v
}

// edits returns what decision d writes.
func (e *evaluation) edits(d Decision) []edit {
	switch d {
	case DecideThen:
		return e.then.edits
	case DecideElse:
		return e.otherwise.edits
	}
	return nil
}

// wrote tells whether decision d writes a key, be it what was there.
func (e *evaluation) wrote(d Decision) bool {
	edits := e.edits(d)
	for i := range edits {
		if edits[i].written {
			return true
		}
	}
	return false
}

// weight is about what e takes in memory, its part being so long.
func (e *evaluation) weight(part uint64) int { return int(part + e.size) }

// detach lets e outlive the batch that it read from.
func (e *evaluation) detach() {
	e.read = nil
	for _, o := range [...]*overlay{&e.then, &e.otherwise} {
		o.index = nil
		for i := range o.edits {
			ed := &o.edits[i]
			ed.contentType, ed.old.contentType, ed.old.inline = slices.Clone(ed.contentType), nil, nil
		}
	}
}

// branch executes ops over an overlay, so that each sees those before it, up to the first that cannot be executed.
func (e *evaluation) branch(o *overlay, ops []TxnOp, vote *BranchVote) error {
	if len(ops) == 0 {
		return nil
	}
	o.results = sized(o.results, len(ops))
	vote.Results = o.results
	for i := range ops {
		ed, err := o.at(e.read, ops[i].Key)
		if err != nil {
			return err
		}
		e.marks += ed.old.heldCost(ed.key)
		res := &vote.Results[i]
		failure, err := e.execute(ed, &ops[i], res)
		if err != nil {
			return err
		}
		if failure != 0 {
			vote.Failed = &FailedOp{Index: ops[i].Index, Key: ops[i].Key, Failure: failure, Version: ed.old.version}
			vote.Results = nil
			for _, rest := range ops[i+1:] {
				e.marks += writeCost(len(rest.Key)) // locked, and not looked at
			}
			return nil
		}
		if e.size += uint64(len(res.Key) + len(res.Value) + resultOverhead); e.size > MaxApplyBytes {
			e.tooLarge = true
		}
		if e.tooLarge {
			return nil
		}
	}
	return nil
}

// resultOverhead bounds the encoding of an OpResult, key and value apart.
const resultOverhead = 32

// execute does one operation to one key.
func (e *evaluation) execute(ed *edit, op *TxnOp, res *OpResult) (OpFailure, error) {
	*res = OpResult{Index: op.Index, Kind: op.Kind, Key: op.Key}
	switch op.Kind {
	case OpGet:
		return 0, e.get(ed, res)
	case OpPut:
		ed.put(op)
	case OpDelete:
		ed.delete()
		return 0, nil
	case OpAdd:
		if failure := e.add(ed, op, res); failure != 0 {
			return failure, nil
		}
	}
	res.Exists, res.Version = true, e.version
	return 0, nil
}

func (e *evaluation) get(ed *edit, res *OpResult) error {
	if !ed.exists {
		return nil
	}
	if e.size+ed.length() > MaxApplyBytes {
		e.tooLarge = true
		return nil
	}
	res.Exists, res.Version = true, e.version
	if ed.written {
		res.Value = append(make([]byte, 0, len(ed.value)), ed.value...) // of its own, as any that is read: see Result.Clone
		return nil
	}
	var err error
	res.Value, err = e.read.value(ed.key, &ed.old)
	res.Version = ed.old.version
	return err
}

func (e *evaluation) add(ed *edit, op *TxnOp, res *OpResult) OpFailure {
	n, failure := ed.number()
	if failure != 0 {
		return failure
	}
	sum := n + op.By
	switch {
	case (sum > n) != (op.By > 0) && op.By != 0:
		return OpOverflow
	case op.Min != nil && sum < *op.Min, op.Max != nil && sum > *op.Max:
		return OpBound
	}
	at := len(e.numbers)
	e.numbers = strconv.AppendInt(e.numbers, sum, 10)
	res.Value = e.numbers[at:len(e.numbers):len(e.numbers)]
	ed.set(res.Value)
	return 0
}

// condition is what a condition sees, and whether it holds.
func (e *evaluation) condition(c *TxnCondition) (Seen, error) {
	read, seen := e.read, Seen{Index: c.Index}
	if c.Test == TestToken {
		held, err := read.heldToken(c.Key)
		seen.Version, seen.Holds = held, held != 0 && held == c.Want
		return seen, err
	}
	rec, err := read.item(c.Key)
	if err != nil {
		return seen, err
	}
	e.marks += rec.heldCost(c.Key)
	seen.Version = rec.version
	switch c.Test {
	case TestVersion:
		seen.Holds = rec.version == c.Want
	case TestExists:
		seen.Holds = rec.exists()
	case TestAbsent:
		seen.Holds = !rec.exists()
	case TestValue:
		seen.Holds, err = hasValue(read, c, &rec)
	}
	return seen, err
}

func hasValue(read source, c *TxnCondition, rec *record) (bool, error) {
	if !rec.exists() || rec.length != uint64(len(c.Value)) {
		return false, nil
	}
	if !rec.split {
		return string(rec.inline) == string(c.Value), nil
	}
	v, err := read.value(c.Key, rec)
	return err == nil && string(v) == string(c.Value), err
}
