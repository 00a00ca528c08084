package txn_test

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

func (g *modelGroup) ballot(k storage.Kind, c *storage.TxnCommand) *storage.TxnReply {
	r := g.recs[c.ID]
	if g.gone(c.ID) || r == nil || r.state != storage.TxnYes || r.attempt != c.Attempt {
		return g.refuse(c)
	}
	reply := &storage.TxnReply{Attempt: r.attempt, Ballot: c.Ballot}
	if r.hasBallot && r.promised.Compare(c.Ballot) > 0 {
		reply.Kind, reply.Ballot = storage.ReplyNack, r.promised
		return reply
	}
	if k == storage.KindPropose {
		r.promised, r.hasBallot, r.accepted, r.acceptedAt = c.Ballot, true, c.Decision, c.Ballot
		reply.Kind = storage.ReplyAccepted
		return reply
	}
	if !g.faults.has(noPromise) {
		r.promised, r.hasBallot = c.Ballot, true
	}
	reply.Kind, reply.Vote, reply.Accepted, reply.AcceptedAt = storage.ReplyPromise, r.vote, r.accepted, r.acceptedAt
	return reply
}

func (g *modelGroup) close(c *storage.TxnCommand) *storage.TxnReply {
	if !g.faults.has(forgetUnclosed) {
		g.closed[c.ID.Node] = max(g.closed[c.ID.Node], c.ID.Incarnation)
	}
	open := g.open(func(t storage.TxnID) bool { return t.Node == c.ID.Node && t.Incarnation < c.ID.Incarnation })
	return &storage.TxnReply{Kind: storage.ReplyOpen, Open: open}
}

// open lists what is in doubt, and what still owes an answer to an idempotency token.
func (g *modelGroup) open(is func(storage.TxnID) bool) []*storage.OpenTxn {
	var open []*storage.OpenTxn
	for t, r := range g.recs {
		owes := r.state == storage.TxnCommitted && r.prepare.Token != nil && g.tokens[r.prepare.Token.Key].answer == nil
		if !is(t) || r.state != storage.TxnYes && !owes {
			continue
		}
		open = append(open, &storage.OpenTxn{
			ID: t, Attempt: r.attempt, Protocol: r.prepare.Protocol, Home: r.home,
			Participants: r.prepare.Participants, Token: r.prepare.Token != nil, Decision: r.decision,
		})
	}
	slices.SortFunc(open, func(a, b *storage.OpenTxn) int {
		return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.Attempt, b.Attempt))
	})
	return open
}

func (g *modelGroup) forget(c *storage.TxnCommand) *storage.TxnReply {
	old := func(t storage.TxnID) bool { return t.Node == c.ID.Node && t.Incarnation < c.ID.Incarnation }
	unclosed := g.closed[c.ID.Node] < c.ID.Incarnation && !g.faults.has(forgetUnclosed)
	if open := g.open(old); len(open) > 0 || unclosed {
		return &storage.TxnReply{Kind: storage.ReplyOpen, Open: open}
	}
	g.forgot[c.ID.Node] = max(g.forgot[c.ID.Node], c.ID.Incarnation)
	g.drop(old)
	return &storage.TxnReply{Kind: storage.ReplyAck}
}
