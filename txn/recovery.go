package txn

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// RecoveryPhase is where a Recovery stands.
type RecoveryPhase uint8

// The phases. DESIGN.md draws them.
const (
	RecoveryIdle       RecoveryPhase = iota
	RecoveryAsking                   // Refuse, or Inquire with a ballot, to every group
	RecoveryPausing                  // 3pc: another ballot was higher
	RecoveryProposing                // 3pc: a majority has promised
	RecoveryCommitting               // decided; waits for every group
	RecoveryAborting                 // decided; waits for every group
	RecoveryFinished
)

// String names the phase for logs and tests.
func (p RecoveryPhase) String() string {
	names := [...]string{"idle", "asking", "pausing", "proposing", "committing", "aborting", "finished"}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// RecoveryConfig is what a Recovery is made of.
type RecoveryConfig struct {
	Open  storage.OpenTxn
	Name  string          // the transaction as clients see it, for the outcome that its idempotency token keeps
	Node  storage.Ballot  // Node and Nonce: unique among all recoverers of the node, for ever. Round is the first one, at least 1
	Votes []*storage.Vote // YES votes of Open.Attempt that are known already, beside Open.Participants; nil for none
	Seed  uint64          // for pauses
}

// Recovery finishes one attempt of a transaction whose coordinator may be dead: section 4 of the protocol. Any number may
// run at once, also beside the coordinator; one that is dropped leaves nothing undone that another could not do. It names
// only the attempt that somebody met in a record (R2), and never begins one. One goroutine uses it.
//
// A bare id, of which the home has no record, needs none: Refuse(T, 1) to the home alone seals it there, or tells otherwise.
type Recovery struct {
	cfg      RecoveryConfig
	open     storage.OpenTxn
	roster   roster
	parts    []evidence // beside roster.groups
	phase    RecoveryPhase
	ballot   storage.Ballot
	highest  uint64 // round met in a nack
	resume   time.Time
	decision storage.Decision // of Committing; DecideAbort in Aborting; the value proposed in Proposing
	told     bool             // a conclusion was given
	outcome  *Outcome
	stored   []byte // outcome as the token's record keeps it
	random   random
	now      time.Time
	effects  Effects
}

// evidence is what a Recovery alone needs to know of a participant.
type evidence struct {
	promised   bool // of the present ballot
	accepted   bool // of the present ballot
	value      storage.Decision
	acceptedAt storage.Ballot
}

// NewRecovery returns a recovery of cfg.Open; it waits for Start.
func NewRecovery(cfg RecoveryConfig) *Recovery {
	r := &Recovery{
		cfg:    cfg,
		open:   cfg.Open,
		roster: newRoster(cfg.Open.Participants),
		parts:  make([]evidence, len(cfg.Open.Participants)),
		ballot: cfg.Node,
		random: random{cfg.Seed},
	}
	r.ballot.Round = max(r.ballot.Round, 1) // round 0 is the coordinator's
	for i, v := range cfg.Votes {
		r.roster.groups[i].vote = v
	}
	return r
}

// Phase tells where the recovery stands.
func (r *Recovery) Phase() RecoveryPhase { return r.phase }

// Decision is the branch after ConcludeCommitted, DecideAbort once the attempt is known to be dead.
func (r *Recovery) Decision() storage.Decision {
	if r.phase == RecoveryProposing {
		return storage.Undecided
	}
	return r.decision
}

// Step takes one event. The effects are valid until the next Step.
func (r *Recovery) Step(now time.Time, ev Event) *Effects {
	r.now = now
	r.effects.reset()
	switch ev := ev.(type) {
	case Start:
		if r.phase == RecoveryIdle {
			r.phase = RecoveryAsking
			r.votesIn()
		}
	case *Reply:
		r.reply(ev)
	case Failed:
		if i := r.roster.find(ev.From); i >= 0 {
			r.roster.groups[i].failed(ev.Ref, now)
		}
	}
	if r.phase == RecoveryPausing && !now.Before(r.resume) {
		r.nextBallot()
	}
	r.settle()
	r.send()
	return &r.effects
}

func (r *Recovery) nextBallot() {
	r.phase = RecoveryAsking
	r.ballot.Round = max(r.ballot.Round, r.highest) + 1
	clear(r.parts)
}

func (r *Recovery) conclude(c Conclusion) {
	if !r.told {
		r.told = true
		r.effects.Conclusion = c
	}
}

// votesIn: in auto the votes are the commit record.
func (r *Recovery) votesIn() {
	if r.phase == RecoveryAsking && r.open.Protocol == storage.Auto && r.roster.allVoted() {
		r.commit(Decide(r.roster.votes()))
	}
}

func (r *Recovery) commit(d storage.Decision) {
	r.phase, r.decision = RecoveryCommitting, d
	r.conclude(ConcludeCommitted)
	r.complete()
}

// abort: the attempt is dead. That the transaction is, too, is only known when a group has sealed it (R7).
func (r *Recovery) abort() {
	r.phase, r.decision = RecoveryAborting, storage.DecideAbort
}

// complete gives the outcome as soon as all votes are at hand: only then is it known whether a group keeps an
// idempotency token's record, and what that must answer.
func (r *Recovery) complete() {
	if r.outcome != nil || !r.roster.allVoted() {
		return
	}
	head := Outcome{
		ID:           r.cfg.Name,
		Protocol:     r.open.Protocol,
		Participants: r.open.Participants,
		Attempts:     uint32(r.open.Attempt),
	}
	r.outcome = AssembleOutcome(head, r.decision, r.roster.votes())
	r.effects.Outcome = r.outcome
	if !r.roster.all(func(g *group) bool { return !g.vote.Token }) {
		r.stored = AppendOutcome(nil, r.outcome)
	}
}

// settle ends what every group has acknowledged.
func (r *Recovery) settle() {
	switch {
	case !r.roster.allAcked():
	case r.phase == RecoveryAborting:
		r.conclude(ConcludeSuperseded)
		r.finish()
	case r.phase == RecoveryCommitting && r.outcome != nil && r.roster.all(answered):
		r.finish()
	}
}

// answered tells whether a group needs no answer for an idempotency token any more.
func answered(g *group) bool { return g.filled || g.vote != nil && !g.vote.Token }

func (r *Recovery) finish() {
	r.phase = RecoveryFinished
	r.effects.Finished = true
}

// send brings what each group is asked in line with where the recovery stands, and plans the next tick.
func (r *Recovery) send() {
	if r.phase == RecoveryIdle || r.phase == RecoveryFinished {
		return
	}
	for i := range r.roster.groups {
		g := &r.roster.groups[i]
		if ref := r.wants(i); g.ask(ref, r.now) {
			r.effects.Send = append(r.effects.Send, r.command(g, ref))
		}
	}
	r.effects.Wake = r.roster.wake(time.Time{})
	if r.phase == RecoveryPausing {
		r.effects.Wake = earlier(r.effects.Wake, r.resume)
	}
}

// wants is the one thing that a group is to be asked now: a pure function of the state.
func (r *Recovery) wants(i int) Ref {
	g, e := &r.roster.groups[i], &r.parts[i]
	switch r.phase {
	case RecoveryAsking:
		return r.wantsEvidence(g, e)
	case RecoveryProposing:
		if !e.accepted {
			return r.ref(storage.KindPropose)
		}
	case RecoveryCommitting:
		return r.wantsCommit(g)
	case RecoveryAborting:
		if !g.acked {
			ref := r.ref(storage.KindAbort)
			ref.Final = true // R7
			return ref
		}
	}
	return Ref{}
}

func (r *Recovery) wantsEvidence(g *group, e *evidence) Ref {
	if r.open.Protocol == storage.ThreePhase {
		if e.promised {
			return Ref{}
		}
		return r.ref(storage.KindInquire)
	}
	if g.vote != nil {
		return Ref{}
	}
	return r.ref(storage.KindRefuse)
}

// wantsCommit: locks are freed first; then missing results are fetched by Refuse, which changes nothing where the attempt
// is committed; then the idempotency token gets the answer.
func (r *Recovery) wantsCommit(g *group) Ref {
	fill := r.stored != nil && g.vote.Token
	switch {
	case !g.acked, fill && !g.filled:
		ref := r.ref(storage.KindCommit)
		ref.Answer = fill
		return ref
	case g.vote == nil:
		return r.ref(storage.KindRefuse)
	}
	return Ref{}
}

func (r *Recovery) ref(k storage.Kind) Ref {
	ref := Ref{Kind: k, Attempt: r.open.Attempt}
	if k == storage.KindInquire || k == storage.KindPropose {
		ref.Round = r.ballot.Round
	}
	return ref
}

func (r *Recovery) command(g *group, ref Ref) Send {
	s := Send{
		To:    g.id,
		Ref:   ref,
		Kind:  ref.Kind,
		Txn:   storage.TxnCommand{ID: r.open.ID, Attempt: ref.Attempt, Home: r.open.Home, Final: ref.Final},
		Until: r.now.Add(answerLimit),
	}
	switch ref.Kind {
	case storage.KindInquire:
		s.Txn.Ballot = r.ballot
	case storage.KindPropose:
		s.Txn.Ballot, s.Txn.Decision = r.ballot, r.decision
	case storage.KindCommit:
		s.Txn.Decision = r.decision
	}
	if ref.Answer {
		s.Txn.Answer = r.stored
	}
	return s
}
