package storage_test

import (
	"strconv"

	"github.com/ringkv/ringkv/storage"
)

// modelBranch is what a branch leaves of the keys that it touched.
type modelBranch struct {
	ops   []storage.TxnOp
	items map[string]*storage.Item // nil: absent
}

func (m *participant) adopt(b *modelBranch) {
	for key, it := range b.items {
		_, was := m.items[key]
		switch {
		case it != nil:
			m.set(*it)
		case was:
			m.remove(key)
		}
	}
}

func (m *participant) evaluate(p *storage.Prepare, version storage.Version) (v *storage.Vote, then, otherwise *modelBranch) {
	v = &storage.Vote{HasElse: p.HasElse, Token: p.Token != nil}
	for _, c := range p.If {
		it, exists := m.items[string(c.Key)]
		holds := map[storage.Test]bool{
			storage.TestVersion: it.Version == c.Want, storage.TestExists: exists, storage.TestAbsent: !exists,
			storage.TestValue: exists && string(it.Value) == string(c.Value),
		}[c.Test]
		v.If = append(v.If, storage.Seen{Index: c.Index, Holds: holds, Version: it.Version})
	}
	then, v.Then = m.execOps(p.Then, version)
	otherwise, v.Else = m.execOps(p.Else, version)
	return v, then, otherwise
}

func (m *participant) execOps(ops []storage.TxnOp, version storage.Version) (*modelBranch, storage.BranchVote) {
	b := &modelBranch{ops: ops, items: map[string]*storage.Item{}}
	var vote storage.BranchVote
	for _, op := range ops {
		key := string(op.Key)
		var now *storage.Item
		stored, exists := m.items[key]
		if exists {
			now = &stored
		}
		if it, touched := b.items[key]; touched {
			now = it
		}
		res := storage.OpResult{Index: op.Index, Kind: op.Kind, Key: op.Key}
		next, failure := execOp(op, now, version, m.clock)
		if failure != 0 {
			return b, storage.BranchVote{Failed: &storage.FailedOp{Index: op.Index, Key: op.Key, Failure: failure, Version: stored.Version}}
		}
		if op.Kind != storage.OpGet {
			b.items[key] = next
		}
		if next != nil {
			res.Exists, res.Version = true, next.Version
			if op.Kind != storage.OpPut {
				res.Value = next.Value
			}
		}
		vote.Results = append(vote.Results, res)
	}
	return b, vote
}

// execOp returns what an operation makes of an item, nil being an absent one.
func execOp(op storage.TxnOp, now *storage.Item, version storage.Version, clock storage.Millis) (*storage.Item, storage.OpFailure) {
	next := &storage.Item{Key: op.Key, Version: version}
	switch op.Kind {
	case storage.OpGet:
		return now, 0
	case storage.OpDelete:
		return nil, 0
	case storage.OpPut:
		next.Value = op.Value
		if op.TTL > 0 {
			next.Deadline = clock + op.TTL
		}
		if op.KeepTTL && now != nil {
			next.Deadline = now.Deadline
		}
		return next, 0
	}
	n := int64(0)
	if now != nil {
		var err error
		if n, err = strconv.ParseInt(string(now.Value), 10, 64); err != nil || strconv.FormatInt(n, 10) != string(now.Value) {
			return nil, storage.OpNoNumber
		}
		next.Deadline, next.ContentType = now.Deadline, now.ContentType
	}
	n += op.By
	if op.Min != nil && n < *op.Min || op.Max != nil && n > *op.Max {
		return nil, storage.OpBound
	}
	next.Value = strconv.AppendInt(nil, n, 10)
	return next, 0
}
