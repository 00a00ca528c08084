package txn

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// Phase is where a Coordinator stands.
type Phase uint8

// The phases. DESIGN.md draws them.
const (
	Idle       Phase = iota // not started
	Preparing               // asks for the votes of an attempt
	Deciding                // 2pc: all YES, home is asked for the decision record
	Proposing               // 3pc: all YES, a majority is asked to accept that
	Recovering              // cannot decide alone any more: does what a recoverer does
	Committing              // decided; waits for every group
	Aborting                // no attempt will come; waits for every group
	Finished                // nothing left to do
)

// String names the phase for logs and tests.
func (p Phase) String() string {
	names := [...]string{"idle", "preparing", "deciding", "proposing", "recovering", "committing", "aborting", "finished"}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// DefaultGrace is how long after its deadline a coordinator still hopes to know the outcome.
const DefaultGrace = 2 * time.Second

// maxRuns is how often a request is run anew as another transaction because recovery, or a changed mapping, ended the
// one before.
const maxRuns = 8

// Config is what a Coordinator is made of.
type Config struct {
	ID       storage.TxnID
	Name     string // ID as clients see it
	Plan     *Plan
	Deadline time.Time      // no attempt begins after it, and what can be given up is
	Grace    time.Duration  // after Deadline, then the answer is ErrUnknownOutcome; zero means DefaultGrace
	Age      storage.Millis // the node's clock when the request came, also for the later ones of its runs
	Run      int            // how many transactions were run for this request before
	Ordered  bool           // take the groups one after another from the first attempt on: its keys are contended
	Nonce    uint64         // of its ballots: unique among all recoverers of its node, for ever
	Seed     uint64         // for pauses
}

// Coordinator runs one transaction: section 3 of the protocol. Only it begins attempts. It is a pure state machine; one
// goroutine uses it.
type Coordinator struct {
	cfg      Config
	plan     *Plan
	roster   roster
	parts    []progress // beside roster.groups
	phase    Phase
	attempt  storage.Attempt
	ordered  bool      // this attempt takes its groups one after another
	resume   time.Time // the attempt's prepares begin then
	decision storage.Decision
	outcome  *Outcome
	stored   []byte // outcome as the token's record keeps it
	conflict bool   // some attempt met a conflict
	mute     bool   // the client is answered, has left, or is served by a later run
	recovery *Recovery
	random   random
	now      time.Time
	effects  Effects
}

// progress is what the coordinator alone needs to know of a participant.
type progress struct {
	sent     int  // how many prepares of this attempt were handed out
	unsent   int  // and how many of them surely never arrived
	dirty    bool // an earlier attempt may have left a YES there
	accepted bool // 3pc: of the coordinator's ballot
	failed   bool // the last answer was none
}

// NewCoordinator returns the coordinator of one transaction; it waits for Start.
func NewCoordinator(cfg Config) *Coordinator {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	return &Coordinator{
		cfg:     cfg,
		plan:    cfg.Plan,
		roster:  newRoster(cfg.Plan.Participants()),
		parts:   make([]progress, len(cfg.Plan.Parts)),
		random:  random{cfg.Seed},
		effects: Effects{Send: make([]Send, 0, len(cfg.Plan.Parts))},
	}
}

// Phase tells where the transaction stands.
func (c *Coordinator) Phase() Phase { return c.phase }

// Attempt is the newest attempt.
func (c *Coordinator) Attempt() storage.Attempt { return c.attempt }

// Running is what recoverers are told who ask first: whether the transaction is still in the coordinator's own hands.
// Once it has decided they may help it. This is courtesy, not safety; after the deadline there is none.
func (c *Coordinator) Running(now time.Time) bool {
	return c.phase != Idle && c.phase < Recovering && now.Before(c.cfg.Deadline)
}

// Step takes one event. The effects are valid until the next Step.
func (c *Coordinator) Step(now time.Time, ev Event) *Effects {
	c.now = now
	c.effects.reset()
	if c.phase == Recovering {
		c.recover(ev)
		return &c.effects
	}
	switch ev := ev.(type) {
	case Start:
		c.start()
	case *Reply:
		c.reply(ev)
	case Failed:
		c.failed(&ev)
	case Cancel:
		c.mute = true
	}
	c.clock()
	c.settle()
	c.send()
	return &c.effects
}

func (c *Coordinator) start() {
	switch {
	case c.phase != Idle:
	case !c.now.Before(c.cfg.Deadline): // nothing was handed to any transport: there is nothing to clean up
		c.fail(ErrTimeout)
		c.finish()
	default:
		c.phase, c.attempt, c.ordered = Preparing, 1, c.cfg.Ordered
	}
}

// clock does what is due by time alone. No timeout decides: what is given up here could not have been committed by
// anybody else.
func (c *Coordinator) clock() {
	switch c.phase {
	case Preparing:
		if c.now.Before(c.cfg.Deadline) {
			return
		}
		if c.mayGiveUp() {
			c.giveUp(c.lateness())
			return
		}
		c.startRecovery(1)
	case Deciding, Proposing, Committing:
		if !c.now.Before(c.last()) {
			c.fail(ErrUnknownOutcome)
		}
	}
}

// mayGiveUp tells whether the attempt can never commit without the coordinator: 2pc and 3pc need its Decide or
// PreCommit; auto and 1pc need a prepare that arrived in every group.
func (c *Coordinator) mayGiveUp() bool {
	if c.plan.Protocol == storage.TwoPhase || c.plan.Protocol == storage.ThreePhase {
		return true
	}
	for i := range c.parts {
		if c.parts[i].sent == c.parts[i].unsent {
			return true
		}
	}
	return false
}

// lateness is why a transaction without a NO was not done in time.
func (c *Coordinator) lateness() error {
	if c.conflict {
		return ErrConflict
	}
	for i := range c.parts {
		if c.roster.groups[i].vote == nil && c.parts[i].failed {
			return ErrUnavailable
		}
	}
	return ErrTimeout
}

// last is when the client is told that the outcome is not known.
func (c *Coordinator) last() time.Time { return c.cfg.Deadline.Add(c.cfg.Grace) }

// fail answers with an error, unless nobody waits.
func (c *Coordinator) fail(err error) {
	c.answer(&Answer{Err: &Error{ID: c.cfg.Name, Err: err}})
}

func (c *Coordinator) answer(a *Answer) {
	if !c.mute {
		c.mute = true
		c.effects.Answer = a
	}
}

// giveUp ends the transaction without effect. It needs a NO of the attempt in hand, or mayGiveUp (R1).
func (c *Coordinator) giveUp(err error) {
	c.fail(err)
	c.abort()
}

func (c *Coordinator) abort() {
	c.phase = Aborting
	for i := range c.roster.groups {
		c.roster.groups[i].acked = false
	}
}

// nextAttempt begins attempt a+1; it needs a NO of attempt a in hand (R1).
func (c *Coordinator) nextAttempt() {
	if c.mute || !c.now.Before(c.cfg.Deadline) {
		c.giveUp(ErrConflict)
		return
	}
	c.attempt++
	c.ordered = true
	c.resume = c.now.Add(c.pause())
	for i := range c.parts {
		p := &c.parts[i]
		p.dirty = p.dirty || p.sent > p.unsent
		p.sent, p.unsent = 0, 0
		c.roster.groups[i].vote = nil
	}
}

// pause before an attempt: an ordered one waits its turn in the groups' lines, so the first follows at once. It is
// refused again only where a line is full or its leader has changed.
func (c *Coordinator) pause() time.Duration {
	if c.attempt <= 2 {
		return 0
	}
	return c.random.upTo(backoff(2*time.Millisecond, 200*time.Millisecond, int(c.attempt)-2))
}

// restart leaves the request to another transaction: this one can never be prepared again.
func (c *Coordinator) restart(err error) {
	if c.mute || c.cfg.Run+1 >= maxRuns || !c.now.Before(c.cfg.Deadline) {
		c.giveUp(err)
		return
	}
	c.mute, c.effects.Restart = true, true
	c.abort()
}

// commit is called when the attempt is known to be committed.
func (c *Coordinator) commit(d storage.Decision) {
	c.phase, c.decision = Committing, d
	c.complete()
}

// complete answers as soon as all votes are at hand.
func (c *Coordinator) complete() {
	if c.outcome != nil || !c.roster.allVoted() {
		return
	}
	head := Outcome{
		ID:           c.cfg.Name,
		Protocol:     c.plan.Protocol,
		Participants: c.plan.Participants(),
		Attempts:     uint32(c.attempt),
	}
	c.setOutcome(AssembleOutcome(head, c.decision, c.roster.votes()))
}

func (c *Coordinator) setOutcome(o *Outcome) {
	c.outcome = o
	if c.plan.Request.Token != nil {
		c.stored = AppendOutcome(nil, o)
	}
	o.Name(c.plan.Request)
	c.answer(&Answer{Outcome: o})
}

func (c *Coordinator) finish() {
	c.phase = Finished
	c.effects.Finished = true
}
