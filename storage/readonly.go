package storage

import (
	"bytes"
	"errors"
	"slices"
)

// ErrNotRead is returned by EvaluateReads for a part that writes, and for a ReadSet that is not of its Keys.
var ErrNotRead = errors.New("storage: evaluation needs what was not read")

// Keys returns what a part that only reads needs: the keys of its conditions and gets, each once and ascending, and the
// names of locks in its conditions, likewise. Both alias p.
func (p *Prepare) Keys() (keys, locks [][]byte) {
	for i := range p.If {
		if p.If[i].Test == TestToken {
			locks = append(locks, p.If[i].Key)
		} else {
			keys = append(keys, p.If[i].Key)
		}
	}
	for _, ops := range [...][]TxnOp{p.Then, p.Else} {
		for i := range ops {
			keys = append(keys, ops[i].Key)
		}
	}
	return sortedOnce(keys), sortedOnce(locks)
}

func sortedOnce(names [][]byte) [][]byte {
	slices.SortFunc(names, bytes.Compare)
	return slices.CompactFunc(names, bytes.Equal)
}

// EvaluateReads judges the conditions and computes the gets of a read-only part over what ReadKeys returned for its Keys:
// the vote that the group would have given at that moment. It aliases p and s. ErrNotRead where p writes or s is not of its
// keys; ErrTooLarge where the gets of both branches answer more than MaxApplyBytes.
func EvaluateReads(p *Prepare, s *ReadSet) (Vote, error) {
	keys, locks := p.Keys()
	if p.writes() || p.Token != nil || len(keys) != len(s.Items) || len(locks) != len(s.Tokens) {
		return Vote{}, ErrNotRead
	}
	ev := evaluation{read: readSource{keys, locks, s}, part: p}
	if err := ev.both(); err != nil {
		return Vote{}, err
	}
	if ev.tooLarge {
		return Vote{}, ErrTooLarge
	}
	return ev.vote, nil
}

// readSource reads from a ReadSet.
type readSource struct {
	keys, locks [][]byte // ascending
	set         *ReadSet
}

func (s readSource) item(key []byte) (record, error) {
	i, ok := slices.BinarySearchFunc(s.keys, key, bytes.Compare)
	if !ok {
		return record{}, ErrNotRead
	}
	it := &s.set.Items[i]
	return record{version: it.Version, length: uint64(len(it.Value)), inline: it.Value}, nil
}

func (s readSource) value(_ []byte, r *record) ([]byte, error) { return r.inline, nil }

func (s readSource) heldToken(name []byte) (Version, error) {
	i, ok := slices.BinarySearchFunc(s.locks, name, bytes.Compare)
	if !ok {
		return 0, ErrNotRead
	}
	return s.set.Tokens[i], nil
}
