package storage_test

import (
	"bytes"
	"slices"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// participant is what one group should be to transactions: section 2 of the protocol over plain maps, with everything
// kept for ever that a reader of the table would keep.
type participant struct {
	*model
	id      storage.PartitionID
	txns    map[storage.TxnID]*modelTxn
	marks   map[storage.TxnID]uint64 // by node and incarnation
	closed  map[ring.NodeID]uint32
	forgot  map[ring.NodeID]uint32
	tokens  map[[16]byte]*modelToken
	fresh   bool   // the last command was judged, not answered from the record
	ordered uint64 // counts what became YES
}

type modelTxn struct {
	attempt  storage.Attempt
	state    storage.TxnState
	reason   storage.Reason
	decision storage.Decision
	protocol storage.Protocol
	home     storage.PartitionID
	version  storage.Version
	part     *storage.Prepare // YES, and COMMITTED without its token's answer
	promised storage.Ballot
	accepted storage.Decision
	at       storage.Ballot // of accepted
	vote     *storage.Vote  // COMMITTED
	order    uint64
	final    storage.Millis
	lacking  bool // COMMITTED: its token has no answer
}

type modelToken struct {
	body   [32]byte
	txn    storage.TxnID
	answer string
	due    storage.Millis
}

func newParticipant(id storage.PartitionID) *participant {
	return &participant{
		model: newModel(), id: id, txns: map[storage.TxnID]*modelTxn{}, marks: map[storage.TxnID]uint64{},
		closed: map[ring.NodeID]uint32{}, forgot: map[ring.NodeID]uint32{}, tokens: map[[16]byte]*modelToken{},
	}
}

func run(t storage.TxnID) storage.TxnID {
	return storage.TxnID{Node: t.Node, Incarnation: t.Incarnation}
}

// step is one command. Replies that name a holder name any.
func (m *participant) step(c *storage.Command) storage.Result {
	if c.Txn == nil {
		return m.plain(c)
	}
	m.clock = max(m.clock, c.Clock)
	m.fresh = false
	t := c.Txn
	passes := m.raise(t)
	r := m.judge(c)
	m.settle()
	if passes && r.Alarm == "" {
		r.Alarm = "I9"
	}
	return storage.Result{Status: storage.StatusTxn, Txn: r}
}

func (m *participant) plain(c *storage.Command) storage.Result {
	switch c.Kind {
	case storage.KindSweep:
		m.clock = max(m.clock, c.Clock)
		for key, tok := range m.tokens {
			if tok.due <= m.clock {
				delete(m.tokens, key)
			}
		}
		return storage.Result{Status: storage.StatusSwept}
	case storage.KindExpire:
		m.clock = max(m.clock, c.Clock)
		return m.expire(c, m.locked)
	case storage.KindPurge:
		return m.apply(c)
	}
	if len(m.holders(storage.ItemSpace, string(c.Key), true, storage.TxnID{})) > 0 {
		m.clock = max(m.clock, c.Clock)
		return storage.Result{Status: storage.StatusBlocked, Txn: &storage.TxnReply{Kind: storage.ReplyBlocked}}
	}
	return m.apply(c)
}

func (m *participant) locked(key string) bool {
	return len(m.holders(storage.ItemSpace, key, true, storage.TxnID{})) > 0
}

// settle lets those expire that the horizon has passed and that nobody has locked any more: each is a change of its own.
func (m *participant) settle() {
	held := due(m.items, func(it storage.Item) bool { return m.behind(it) && !m.locked(string(it.Key)) })
	slices.SortFunc(held, func(a, b storage.Item) int { return bytes.Compare(a.Key, b.Key) })
	for _, it := range held {
		m.revision++
		m.lapse(it)
	}
}

// raise takes in a mark and tells whether it passes a YES.
func (m *participant) raise(t *storage.TxnCommand) (passes bool) {
	k := run(t.ID)
	if t.Mark <= m.marks[k] || t.ID.Incarnation < m.forgot[t.ID.Node] {
		return false
	}
	m.marks[k] = t.Mark
	for id, x := range m.txns {
		passes = passes || run(id) == k && id.Seq < t.Mark && x.state == storage.TxnYes
	}
	return passes
}

// holders are the transactions whose locks are in the way.
func (m *participant) holders(space storage.LockSpace, name string, exclusive bool, own storage.TxnID) (ids []storage.TxnID) {
	for id, x := range m.txns {
		if x.state != storage.TxnYes || id == own {
			continue
		}
		if mode, locked := locksOfPart(x.part)[lockName{space, name}]; locked && (mode || exclusive) {
			ids = append(ids, id)
		}
	}
	return ids
}

type lockName struct {
	space storage.LockSpace
	name  string
}

// locksOfPart maps what a part locks to whether exclusively.
func locksOfPart(p *storage.Prepare) map[lockName]bool {
	locks := map[lockName]bool{}
	for _, c := range p.If {
		space := storage.ItemSpace
		if c.Test == storage.TestToken {
			space = storage.NameSpace
		}
		n := lockName{space, string(c.Key)}
		locks[n] = locks[n] || false
	}
	for _, op := range slices.Concat(p.Then, p.Else) {
		n := lockName{storage.ItemSpace, string(op.Key)}
		locks[n] = locks[n] || op.Kind != storage.OpGet
	}
	if p.Token != nil {
		locks[lockName{storage.TokenSpace, string(p.Token.Key[:])}] = true
	}
	return locks
}

func (m *participant) gone(t storage.TxnID) bool {
	below := t.Seq < m.marks[run(t)] || t.Incarnation < m.forgot[t.Node]
	x := m.txns[t]
	return below && (x == nil || x.state != storage.TxnYes)
}

func (m *participant) judge(c *storage.Command) *storage.TxnReply {
	t := c.Txn
	switch c.Kind {
	case storage.KindMark:
		return &storage.TxnReply{Kind: storage.ReplyAck}
	case storage.KindClose, storage.KindForget:
		return m.close(c.Kind, t.ID)
	}
	a := t.Attempt
	x := m.txns[t.ID]
	closed := t.ID.Incarnation < m.closed[t.ID.Node]
	if m.gone(t.ID) {
		if c.Kind == storage.KindCommit || c.Kind == storage.KindAbort {
			return &storage.TxnReply{Kind: storage.ReplyAck, Attempt: a}
		}
		return &storage.TxnReply{Kind: storage.ReplyGone, Attempt: a}
	}
	if x == nil {
		x = &modelTxn{protocol: 0, home: t.Home}
		if closed {
			x = &modelTxn{attempt: storage.Sealed, state: storage.TxnNo, reason: storage.Closed}
		}
	}
	switch c.Kind {
	case storage.KindPrepare, storage.KindSingle:
		return m.prepare(c.Kind, t, x, closed)
	case storage.KindDecide:
		if x.is(storage.TxnYes, a) && x.protocol == storage.TwoPhase && x.home == m.id {
			return m.execute(t, x)
		}
		return m.about(x, a)
	case storage.KindCommit:
		return m.commit(t, x)
	case storage.KindAbort:
		return m.abort(t, x)
	case storage.KindRefuse:
		return m.refuse(t, x)
	}
	if !x.is(storage.TxnYes, a) {
		return m.refuse(t, x)
	}
	if x.protocol != storage.ThreePhase {
		return m.about(x, a)
	}
	return m.accept(c.Kind, t, x)
}

func (x *modelTxn) is(s storage.TxnState, a storage.Attempt) bool {
	return x.state == s && x.attempt == a
}

func (m *participant) accept(k storage.Kind, t *storage.TxnCommand, x *modelTxn) *storage.TxnReply {
	if x.promised.Compare(t.Ballot) > 0 {
		return &storage.TxnReply{Kind: storage.ReplyNack, Attempt: t.Attempt, Ballot: x.promised}
	}
	x.promised = t.Ballot
	if k == storage.KindPropose {
		x.accepted, x.at = t.Decision, t.Ballot
		return &storage.TxnReply{Kind: storage.ReplyAccepted, Attempt: t.Attempt, Ballot: t.Ballot}
	}
	vote, _, _ := m.evaluate(x.part, x.version)
	return &storage.TxnReply{
		Kind: storage.ReplyPromise, Attempt: t.Attempt, Ballot: t.Ballot, Accepted: x.accepted, AcceptedAt: x.at, Vote: vote,
	}
}

func (m *participant) about(x *modelTxn, a storage.Attempt) *storage.TxnReply {
	switch {
	case x.attempt == storage.Sealed:
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: a, Sealed: true, Reason: x.reason}
	case x.attempt > a:
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: a, Superseded: true}
	}
	r := &storage.TxnReply{Attempt: x.attempt}
	switch x.state {
	case storage.TxnAbsent:
		r.Kind, r.Attempt = storage.ReplyAbsent, a
	case storage.TxnYes:
		r.Kind = storage.ReplyYes
		r.Vote, _, _ = m.evaluate(x.part, x.version)
	case storage.TxnNo:
		r.Kind, r.Reason = storage.ReplyNo, x.reason
	case storage.TxnCommitted:
		r.Kind, r.Decision, r.Vote = storage.ReplyCommitted, x.decision, x.vote
		if x.attempt < a {
			r.Alarm = "I1"
		}
	}
	return r
}

func (m *participant) toNo(t *storage.TxnCommand, x *modelTxn, a storage.Attempt, why storage.Reason) {
	if a == storage.Sealed && x.state == storage.TxnNo {
		why = x.reason
	}
	m.txns[t.ID] = &modelTxn{attempt: a, state: storage.TxnNo, reason: why, home: t.Home, final: m.clock}
}

func (m *participant) refuse(t *storage.TxnCommand, x *modelTxn) *storage.TxnReply {
	switch {
	case x.attempt > t.Attempt, x.state == storage.TxnCommitted:
		return m.about(x, t.Attempt)
	case x.is(storage.TxnYes, t.Attempt) && !(x.protocol == storage.TwoPhase && x.home == m.id):
		return m.about(x, t.Attempt)
	}
	m.toNo(t, x, storage.Sealed, storage.Refused)
	return m.about(m.txns[t.ID], t.Attempt)
}

func alarmed(a storage.Attempt, name string) *storage.TxnReply {
	return &storage.TxnReply{Kind: storage.ReplyAlarm, Attempt: a, Alarm: name}
}

func (m *participant) commit(t *storage.TxnCommand, x *modelTxn) *storage.TxnReply {
	switch {
	case x.is(storage.TxnCommitted, t.Attempt) && x.decision == t.Decision:
		if x.lacking && len(t.Answer) > 0 {
			x.lacking = false
			if tok := m.tokens[x.part.Token.Key]; tok != nil && tok.txn == t.ID {
				tok.answer = string(t.Answer)
			}
		}
	case !x.is(storage.TxnYes, t.Attempt):
		return alarmed(t.Attempt, "I2")
	default:
		if r := m.execute(t, x); r.Kind == storage.ReplyAlarm {
			return r
		}
	}
	return &storage.TxnReply{Kind: storage.ReplyAck, Attempt: t.Attempt}
}

func (m *participant) abort(t *storage.TxnCommand, x *modelTxn) *storage.TxnReply {
	a := t.Attempt
	switch {
	case x.attempt == storage.Sealed:
		return &storage.TxnReply{Kind: storage.ReplyAck, Attempt: a, Sealed: true}
	case x.attempt > a:
		return &storage.TxnReply{Kind: storage.ReplySuperseded, Attempt: a}
	case x.is(storage.TxnCommitted, a):
		return alarmed(a, "I2")
	case x.state == storage.TxnCommitted:
		return alarmed(a, "I1")
	case x.is(storage.TxnNo, a) && !t.Final:
	case t.Final:
		m.toNo(t, x, storage.Sealed, storage.Refused)
	default:
		m.toNo(t, x, a, storage.Refused)
	}
	return &storage.TxnReply{Kind: storage.ReplyAck, Attempt: a, Sealed: t.Final}
}

// execute commits a YES.
func (m *participant) execute(t *storage.TxnCommand, x *modelTxn) *storage.TxnReply {
	vote, then, otherwise := m.evaluate(x.part, x.version)
	branch := map[storage.Decision]*modelBranch{storage.DecideThen: then, storage.DecideElse: otherwise}[t.Decision]
	kept := &storage.Vote{If: vote.If, HasElse: vote.HasElse, Token: vote.Token}
	hold := !slices.ContainsFunc(vote.If, func(s storage.Seen) bool { return !s.Holds })
	switch {
	case t.Decision == storage.DecideThen && (!hold || vote.Then.Failed != nil):
		return alarmed(t.Attempt, "I2")
	case t.Decision == storage.DecideElse && (!vote.HasElse || vote.Else.Failed != nil):
		return alarmed(t.Attempt, "I2")
	case t.Decision == storage.DecideThen:
		kept.Then = vote.Then
	case t.Decision == storage.DecideElse:
		kept.Else = vote.Else
	case x.protocol != storage.OnePhase:
		kept.Then.Failed, kept.Else.Failed = vote.Then.Failed, vote.Else.Failed
	case hold:
		kept.Then.Failed = vote.Then.Failed
	default:
		kept.Else.Failed = vote.Else.Failed
	}
	if branch != nil {
		m.adopt(branch)
	}
	y := &modelTxn{
		attempt: t.Attempt, state: storage.TxnCommitted, decision: t.Decision, protocol: x.protocol, home: x.home, part: x.part,
		vote: kept, final: m.clock,
	}
	m.txns[t.ID] = y
	if x.part.Token != nil {
		y.lacking = len(t.Answer) == 0
		m.tokens[x.part.Token.Key] = &modelToken{body: x.part.Token.Body, txn: t.ID, answer: string(t.Answer), due: m.clock + storage.TokenTTL}
	}
	return m.about(y, t.Attempt)
}

func (m *participant) close(k storage.Kind, t storage.TxnID) *storage.TxnReply {
	var open []*storage.OpenTxn
	for id, x := range m.txns {
		if id.Node == t.Node && id.Incarnation < t.Incarnation && (x.state == storage.TxnYes || x.lacking && !m.gone(id)) {
			open = append(open, &storage.OpenTxn{ID: id})
		}
	}
	if k == storage.KindClose {
		m.closed[t.Node] = max(m.closed[t.Node], t.Incarnation)
		return &storage.TxnReply{Kind: storage.ReplyOpen, Open: open}
	}
	if t.Incarnation > m.closed[t.Node] || len(open) > 0 {
		return &storage.TxnReply{Kind: storage.ReplyOpen, Open: open}
	}
	m.forgot[t.Node] = max(m.forgot[t.Node], t.Incarnation)
	return &storage.TxnReply{Kind: storage.ReplyAck}
}
