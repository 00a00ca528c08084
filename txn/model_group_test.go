package txn_test

import (
	"slices"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// modelGroup is an independent, naive participant: the table of the protocol's section 2, line by line, over maps. It
// applies what is delivered at once. faults break it on purpose.
type modelGroup struct {
	id       storage.PartitionID
	faults   faults
	items    map[string]modelItem
	past     map[string]map[storage.Version]string // every value that a key ever had
	revision storage.Version
	recs     map[storage.TxnID]*modelRec
	stubs    map[storage.TxnID]storage.Decision // of what is gone, in its home
	tokens   map[[16]byte]*modelToken
	marks    map[incarnation]uint64
	closed   map[ring.NodeID]uint32
	forgot   map[ring.NodeID]uint32
	saw      func(t storage.TxnID, a storage.Attempt, s storage.TxnState, d storage.Decision)
}

type incarnation struct {
	node ring.NodeID
	inc  uint32
}

type modelItem struct {
	value   string
	version storage.Version
}

type modelToken struct {
	body   [32]byte
	by     storage.TxnID
	answer []byte
}

type modelRec struct {
	attempt    storage.Attempt
	state      storage.TxnState
	sealed     bool
	reason     storage.Reason
	home       storage.PartitionID
	prepare    *storage.Prepare
	version    storage.Version // reserved at the vote
	vote       *storage.Vote
	decision   storage.Decision
	promised   storage.Ballot
	hasBallot  bool // promised says something
	accepted   storage.Decision
	acceptedAt storage.Ballot
	sReleased  bool // a fault: S locks were given back at the vote
}

func newModelGroup(id storage.PartitionID, f faults) *modelGroup {
	return &modelGroup{
		id:     id,
		faults: f,
		items:  map[string]modelItem{},
		past:   map[string]map[storage.Version]string{},
		recs:   map[storage.TxnID]*modelRec{},
		stubs:  map[storage.TxnID]storage.Decision{},
		tokens: map[[16]byte]*modelToken{},
		marks:  map[incarnation]uint64{},
		closed: map[ring.NodeID]uint32{},
		forgot: map[ring.NodeID]uint32{},
		saw:    func(storage.TxnID, storage.Attempt, storage.TxnState, storage.Decision) {},
	}
}

func (g *modelGroup) gone(t storage.TxnID) bool {
	return t.Incarnation < g.forgot[t.Node] || t.Seq < g.marks[incarnation{t.Node, t.Incarnation}]
}

// apply judges one command.
func (g *modelGroup) apply(k storage.Kind, c *storage.TxnCommand) *storage.TxnReply {
	if alarm := g.mark(c); alarm != "" {
		return &storage.TxnReply{Kind: storage.ReplyAlarm, Alarm: alarm}
	}
	switch k {
	case storage.KindPrepare, storage.KindSingle:
		return g.prepare(k, c)
	case storage.KindRefuse:
		return g.refuse(c)
	case storage.KindDecide:
		return g.decide(c)
	case storage.KindPropose, storage.KindInquire:
		return g.ballot(k, c)
	case storage.KindCommit:
		return g.commit(c)
	case storage.KindAbort:
		return g.abort(c)
	case storage.KindClose:
		return g.close(c)
	case storage.KindForget:
		return g.forget(c)
	}
	return &storage.TxnReply{Kind: storage.ReplyAck}
}

// mark drops what the coordinator has finished everywhere (R9).
func (g *modelGroup) mark(c *storage.TxnCommand) string {
	key := incarnation{c.ID.Node, c.ID.Incarnation}
	if c.Mark <= g.marks[key] {
		return ""
	}
	g.marks[key] = c.Mark
	return g.drop(func(t storage.TxnID) bool { return t.Node == key.node && t.Incarnation == key.inc && t.Seq < c.Mark })
}

// drop removes records; a YES among them is I9, and stays.
func (g *modelGroup) drop(is func(storage.TxnID) bool) string {
	alarm := ""
	for t, r := range g.recs {
		switch {
		case !is(t):
		case r.state == storage.TxnYes:
			alarm = "I9"
		default:
			if r.home == g.id {
				g.stubs[t] = storage.DecideAbort
				if r.state == storage.TxnCommitted {
					g.stubs[t] = r.decision
				}
			}
			delete(g.recs, t)
		}
	}
	return alarm
}

// sealedByClose: what was never met of a closed incarnation counts as NO(∞), without a record.
func (g *modelGroup) sealedByClose(t storage.TxnID) bool {
	return g.recs[t] == nil && !g.gone(t) && t.Incarnation < g.closed[t.Node]
}

// about is the reply from the record.
func (g *modelGroup) about(c *storage.TxnCommand) *storage.TxnReply {
	r := g.recs[c.ID]
	switch {
	case g.sealedByClose(c.ID):
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: c.Attempt, Sealed: true, Reason: storage.Closed}
	case g.gone(c.ID) && r == nil:
		return &storage.TxnReply{Kind: storage.ReplyGone, Attempt: c.Attempt}
	case r == nil:
		return &storage.TxnReply{Kind: storage.ReplyAbsent, Attempt: c.Attempt}
	case r.sealed:
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: c.Attempt, Sealed: true, Reason: r.reason}
	case r.attempt > c.Attempt:
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: c.Attempt, Superseded: true}
	case r.state == storage.TxnYes:
		return &storage.TxnReply{Kind: storage.ReplyYes, Attempt: r.attempt, Vote: r.vote}
	case r.state == storage.TxnCommitted:
		return &storage.TxnReply{Kind: storage.ReplyCommitted, Attempt: r.attempt, Decision: r.decision, Vote: r.vote}
	}
	return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: r.attempt, Reason: r.reason}
}

// write replaces the record of a transaction.
func (g *modelGroup) write(c *storage.TxnCommand, a storage.Attempt, r modelRec) {
	r.attempt, r.home = a, c.Home
	g.recs[c.ID] = &r
	g.saw(c.ID, c.Attempt, r.state, r.decision)
}

func (g *modelGroup) no(c *storage.TxnCommand, reason storage.Reason, sealed bool) *storage.TxnReply {
	a := c.Attempt
	if sealed {
		a = storage.Sealed
		if r := g.recs[c.ID]; r != nil && r.state == storage.TxnNo {
			reason = r.reason // one that is there already stays
		}
	}
	g.write(c, a, modelRec{state: storage.TxnNo, reason: reason, sealed: sealed})
	return g.about(c)
}

func (g *modelGroup) prepare(k storage.Kind, c *storage.TxnCommand) *storage.TxnReply {
	r := g.recs[c.ID]
	switch {
	case g.gone(c.ID), g.sealedByClose(c.ID), r != nil && r.attempt >= c.Attempt:
		reply := g.about(c)
		if reply.Reason == storage.TokenAnswered && c.Prepare.Token != nil {
			reply.Answer = g.tokens[c.Prepare.Token.Key].answer
		}
		return reply
	case r != nil && r.state == storage.TxnCommitted:
		return &storage.TxnReply{Kind: storage.ReplyCommitted, Attempt: r.attempt, Decision: r.decision, Alarm: "I1"}
	case c.ID.Incarnation < g.closed[c.ID.Node]:
		return g.no(c, storage.Closed, true)
	}
	if reply := g.judge(k, c); reply != nil {
		return reply
	}
	vote := g.evaluate(c.Prepare)
	rec := modelRec{state: storage.TxnYes, prepare: c.Prepare, vote: vote, sReleased: g.faults.has(releaseS)}
	rec.version = g.revision + 1
	if k == storage.KindPrepare && writes(c.Prepare) {
		g.revision++
	}
	setVersions(vote, rec.version)
	g.write(c, c.Attempt, rec)
	if g.faults.has(volatileYes) && c.ID.Seq%2 == 0 { // answered, but lost
		reply := g.about(c)
		delete(g.recs, c.ID)
		return reply
	}
	if k == storage.KindSingle {
		g.execute(c, storage.Decision(0))
	}
	return g.about(c)
}

// judge refuses a prepare; nil is a YES.
func (g *modelGroup) judge(k storage.Kind, c *storage.TxnCommand) *storage.TxnReply {
	reason, answer := g.tokenReason(c), []byte(nil)
	if reason == storage.TokenAnswered {
		answer = g.tokens[c.Prepare.Token.Key].answer
	}
	if reason == storage.NoReason && g.conflicts(c) {
		reason = storage.Conflict
	}
	if reason == storage.NoReason {
		return nil
	}
	if g.faults.has(noTombstone) && k == storage.KindPrepare || g.faults.has(noTombstone1pc) && k == storage.KindSingle {
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: c.Attempt, Reason: reason}
	}
	reply := g.no(c, reason, false)
	reply.Answer = answer
	if reason == storage.TokenBusy {
		reply.Holder = g.open(func(t storage.TxnID) bool { return t == g.tokenHolder(c) })[0]
	}
	return reply
}

func (g *modelGroup) tokenReason(c *storage.TxnCommand) storage.Reason {
	token := c.Prepare.Token
	if token == nil {
		return storage.NoReason
	}
	if g.tokenHolder(c) != (storage.TxnID{}) {
		return storage.TokenBusy
	}
	switch old := g.tokens[token.Key]; {
	case old == nil:
		return storage.NoReason
	case old.body != token.Body:
		return storage.TokenReused
	}
	return storage.TokenAnswered
}

// tokenHolder is who has the idempotency token: by a lock, or because it still owes the answer.
func (g *modelGroup) tokenHolder(c *storage.TxnCommand) storage.TxnID {
	key := c.Prepare.Token.Key
	for t, r := range g.recs {
		if t != c.ID && r.state == storage.TxnYes && r.prepare.Token != nil && r.prepare.Token.Key == key {
			return t
		}
	}
	if old := g.tokens[key]; old != nil && old.answer == nil {
		return old.by
	}
	return storage.TxnID{}
}

func (g *modelGroup) conflicts(c *storage.TxnCommand) bool {
	for key, exclusive := range locksOf(c.Prepare) {
		if g.holder(key, exclusive, c.ID) {
			return true
		}
	}
	return false
}

// holder tells whether another transaction's lock on the key is in the way.
func (g *modelGroup) holder(key string, exclusive bool, own storage.TxnID) bool {
	for t, r := range g.recs {
		if t == own || r.state != storage.TxnYes {
			continue
		}
		if x, held := locksOf(r.prepare)[key]; held && (x || exclusive && !r.sReleased) {
			return true
		}
	}
	return false
}

// refuse seals, unless the group is bound by a YES or has committed.
func (g *modelGroup) refuse(c *storage.TxnCommand) *storage.TxnReply {
	r := g.recs[c.ID]
	switch {
	case g.gone(c.ID), g.sealedByClose(c.ID), r != nil && r.attempt > c.Attempt, r != nil && r.state == storage.TxnCommitted:
		return g.about(c)
	case r != nil && r.state == storage.TxnYes && r.attempt == c.Attempt && !g.arbiter(r):
		return g.about(c)
	}
	if r == nil && g.faults.has(absentIsAborted) {
		return &storage.TxnReply{Kind: storage.ReplyNo, Attempt: storage.Sealed, Sealed: true, Reason: storage.Refused}
	}
	return g.no(c, storage.Refused, true)
}

// arbiter: in 2pc the home's own YES is not binding before the decision.
func (g *modelGroup) arbiter(r *modelRec) bool {
	return r.prepare.Protocol == storage.TwoPhase && r.home == g.id && !g.faults.has(twoPhaseOnVotes)
}

func (g *modelGroup) decide(c *storage.TxnCommand) *storage.TxnReply {
	if r := g.recs[c.ID]; r != nil && r.state == storage.TxnYes && r.attempt == c.Attempt {
		g.execute(c, c.Decision)
	}
	return g.about(c)
}

func (g *modelGroup) commit(c *storage.TxnCommand) *storage.TxnReply {
	r := g.recs[c.ID]
	ack := &storage.TxnReply{Kind: storage.ReplyAck, Attempt: c.Attempt}
	switch {
	case r == nil && g.gone(c.ID):
		return ack
	case r != nil && r.attempt == c.Attempt && r.state == storage.TxnYes:
		g.execute(c, c.Decision)
	case r == nil || r.attempt != c.Attempt || r.state != storage.TxnCommitted:
		return &storage.TxnReply{Kind: storage.ReplyAlarm, Alarm: "I2"}
	}
	g.fill(g.recs[c.ID], c.Answer)
	return ack
}

func (g *modelGroup) fill(r *modelRec, answer []byte) {
	if r.prepare.Token == nil || answer == nil {
		return
	}
	if t := g.tokens[r.prepare.Token.Key]; t.answer == nil {
		t.answer = slices.Clone(answer)
	}
}

// execute applies a branch of a YES; 0 stands for what the votes of this group alone say (1pc).
func (g *modelGroup) execute(c *storage.TxnCommand, d storage.Decision) {
	r := g.recs[c.ID]
	if d == storage.Undecided {
		d = decide([]*storage.Vote{r.vote})
	}
	for key, value := range g.staged(r.prepare, d) {
		g.revision = max(g.revision, r.version)
		g.items[key] = modelItem{value, r.version}
		if g.past[key] == nil {
			g.past[key] = map[storage.Version]string{}
		}
		g.past[key][r.version] = value
	}
	if t := r.prepare.Token; t != nil {
		g.tokens[t.Key] = &modelToken{body: t.Body, by: c.ID}
	}
	r.state, r.decision = storage.TxnCommitted, d
	g.saw(c.ID, c.Attempt, r.state, d)
}

func (g *modelGroup) abort(c *storage.TxnCommand) *storage.TxnReply {
	r := g.recs[c.ID]
	ack := &storage.TxnReply{Kind: storage.ReplyAck, Attempt: c.Attempt}
	switch {
	case r == nil && g.gone(c.ID):
		return ack
	case g.sealedByClose(c.ID), r != nil && r.sealed:
		ack.Sealed = true
		return ack
	case r != nil && r.attempt > c.Attempt:
		return &storage.TxnReply{Kind: storage.ReplySuperseded, Attempt: c.Attempt}
	case r != nil && r.attempt == c.Attempt && r.state == storage.TxnCommitted:
		return &storage.TxnReply{Kind: storage.ReplyAlarm, Attempt: c.Attempt, Alarm: "I2"}
	case r != nil && r.state == storage.TxnCommitted:
		return &storage.TxnReply{Kind: storage.ReplyAlarm, Attempt: c.Attempt, Alarm: "I1"}
	case r != nil && r.attempt == c.Attempt && r.state == storage.TxnNo && !c.Final:
		return ack
	case r == nil && g.faults.has(abortLeavesNothing):
		return &storage.TxnReply{Kind: storage.ReplyAck, Attempt: c.Attempt, Sealed: c.Final}
	}
	g.no(c, storage.Refused, c.Final)
	ack.Sealed = c.Final
	return ack
}
