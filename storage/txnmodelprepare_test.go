package storage_test

import (
	"slices"

	"github.com/ringkv/ringkv/storage"
)

func (m *participant) prepare(k storage.Kind, t *storage.TxnCommand, x *modelTxn, closed bool) *storage.TxnReply {
	a, part := t.Attempt, t.Prepare
	switch {
	case x.attempt >= a:
		r := m.about(x, a)
		if tok := m.tokens[tokenOf(part)]; r.Reason == storage.TokenAnswered && tok != nil && tok.body == part.Token.Body {
			r.Answer = []byte(tok.answer)
		}
		return r
	case x.state == storage.TxnCommitted:
		return m.about(x, a)
	case closed:
		m.toNo(t, x, storage.Sealed, storage.Closed)
		return m.about(m.txns[t.ID], a)
	}
	m.fresh = true
	if why, answer := m.objection(t); why != 0 {
		m.toNo(t, x, a, why)
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: a, Reason: why, Answer: answer}
	}
	m.ordered++
	y := &modelTxn{
		attempt: a, state: storage.TxnYes, protocol: part.Protocol, home: t.Home, part: part, version: m.revision + 1, order: m.ordered,
	}
	m.txns[t.ID] = y
	vote, then, otherwise := m.evaluate(part, y.version)
	if k == storage.KindPrepare {
		if slices.ContainsFunc(slices.Concat(part.Then, part.Else), func(op storage.TxnOp) bool { return op.Kind != storage.OpGet }) {
			m.revision++
		}
		return &storage.TxnReply{Kind: storage.ReplyYes, Attempt: a, Vote: vote}
	}
	d := decideAlone(vote)
	written := then
	if d == storage.DecideElse {
		written = otherwise
	}
	if d != storage.DecideNothing && slices.ContainsFunc(written.ops, func(op storage.TxnOp) bool { return op.Kind != storage.OpGet }) {
		m.revision++
	}
	return m.execute(&storage.TxnCommand{ID: t.ID, Attempt: a, Decision: d}, y)
}

func tokenOf(p *storage.Prepare) (key [16]byte) {
	if p.Token != nil {
		key = p.Token.Key
	}
	return key
}

func decideAlone(v *storage.Vote) storage.Decision {
	hold := !slices.ContainsFunc(v.If, func(s storage.Seen) bool { return !s.Holds })
	switch {
	case hold && v.Then.Failed == nil:
		return storage.DecideThen
	case !hold && v.HasElse && v.Else.Failed == nil:
		return storage.DecideElse
	}
	return storage.DecideNothing
}

func (m *participant) objection(t *storage.TxnCommand) (storage.Reason, []byte) {
	part := t.Prepare
	if part.Deny != 0 {
		return part.Deny, nil
	}
	if part.Token != nil {
		tok := m.tokens[part.Token.Key]
		switch {
		case len(m.holders(storage.TokenSpace, string(part.Token.Key[:]), true, t.ID)) > 0:
			return storage.TokenBusy, nil
		case tok == nil:
		case tok.body != part.Token.Body:
			return storage.TokenReused, nil
		case tok.answer == "":
			return storage.TokenBusy, nil
		default:
			return storage.TokenAnswered, []byte(tok.answer)
		}
	}
	for n, exclusive := range locksOfPart(part) {
		if len(m.holders(n.space, n.name, exclusive, t.ID)) > 0 {
			return storage.Conflict, nil
		}
	}
	return 0, nil
}
