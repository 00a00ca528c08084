package txn_test

import (
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// faults are shortcuts of the protocol's section 12: each must be convicted.
type faults uint64

func (f faults) has(one faults) bool { return f&one != 0 }

// The shortcuts, named as in section 12.
const (
	releaseS faults = 1 << iota
	noTombstone
	noTombstone1pc
	anyAttemptsYes
	absentIsAborted
	volatileYes
	abortLeavesNothing
	finishedWhenDecided
	markAboveRunning
	forgetUnclosed
	goneIsAborted
	statusUnsealed
	sealedByAnyNo
	inventAttempt
	getIgnoresX
	putIgnoresS
	onePassReads
	versionsNotLocks
	checkEarly
	twoPhaseAnswersOnVotes
	twoPhaseOnVotes
	noPromise
	lowestBallot
	nextOnTimeout
	abortOnTimeout
	firstPreCommit
)

// TestConvicts takes shortcuts of section 12 and demands that a bounded number of random lives finds each of them out:
// otherwise TestMany would be as blind.
func TestConvicts(t *testing.T) {
	auto, two, three := []storage.Protocol{storage.Auto}, []storage.Protocol{storage.TwoPhase}, []storage.Protocol{storage.ThreePhase}
	for name, c := range map[string]struct {
		faults    faults
		protocols []storage.Protocol
		weights   weights
		first     uint64 // seed: rare ones begin near one that is known to do
	}{
		"release S at the vote":                    {releaseS, auto, usual(), 1},
		"NO without a tombstone":                   {noTombstone, auto, usual(), 1},
		"NO without a tombstone, 1pc":              {noTombstone1pc, auto, usual(), 1},
		"a YES of another attempt counts":          {anyAttemptsYes, auto, usual(), 1},
		"no record, so aborted, nothing written":   {absentIsAborted, auto, usual(), 1},
		"YES answered before it is durable":        {volatileYes, auto, usual(), 1},
		"abort leaves no tombstone":                {abortLeavesNothing, auto, usual(), 1},
		"forgotten when decided":                   {finishedWhenDecided, auto, usual(), 1},
		"mark above a running transaction":         {markAboveRunning, auto, usual(), 1},
		"an incarnation forgotten without closing": {forgetUnclosed, auto, usual(), 1},
		"gone means aborted":                       {goneIsAborted, auto, usual(), 1},
		"status aborted from an unsealed NO":       {statusUnsealed, auto, usual(), 1},
		"recovery takes any NO for sealed":         {sealedByAnyNo, auto, usual(), 1},
		"recovery invents attempt a+1":             {inventAttempt, auto, usual(), 1},
		"GET under X returns the old value":        {getIgnoresX, auto, usual(), 1},
		"PUT ignores S":                            {putIgnoresS, auto, readers(), 2_500},
		"read-only in one pass":                    {onePassReads, auto, readers(), 1},
		"check versions, not locks":                {versionsNotLocks, auto, readers(), 1},
		"check a key before all are read":          {checkEarly, auto, readers(), 1},
		"2pc answers on all YES":                   {twoPhaseAnswersOnVotes, two, usual(), 1},
		"2pc recovery commits on all YES":          {twoPhaseOnVotes, two, usual(), 1},
		"3pc: Inquire leaves no promise":           {noPromise, three, usual(), 1},
		"3pc: not the highest ballot's value":      {lowestBallot, three, recoverers(), 8_000},
		"3pc: answer after the first pre-commit":   {firstPreCommit, three, usual(), 1},
		"next attempt on a timeout":                {nextOnTimeout, auto, usual(), 1},
		"abort on a timeout":                       {abortOnTimeout, auto, usual(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := c.first; seed < c.first+20_000; seed++ {
				groups := 2 + int(seed%2)
				if c.protocols[0] == storage.ThreePhase { // of two groups a majority is both
					groups = 3
				}
				cfg := worldConfig{seed: seed, groups: groups, protocols: c.protocols, faults: c.faults, weights: c.weights}
				if _, verdict := cfg.run(); verdict != "" {
					t.Logf("seed %d: %s", seed, verdict)
					return
				}
			}
			t.Fatal("never found out")
		})
	}
}

// recoverers are many and short-lived.
func recoverers() weights {
	x := usual()
	x.recover, x.die, x.act, x.sweep, x.operations, x.cut, x.wide = 12, 5, 3, 0, 1, 60, 100
	x.put, x.read = 0, 0
	return x
}

// readers are many, beside few writers.
func readers() weights {
	x := usual()
	x.act, x.crash, x.sweep, x.transact, x.put, x.read = 20, 0, 0, 35, 25, 40
	return x
}

// bendCoordinator is what a coordinator that takes a shortcut makes of a reply.
func (w *world) bendCoordinator(c *txn.Coordinator, r *txn.Reply) {
	if w.faults.has(anyAttemptsYes) && r.Reply.Kind == storage.ReplyYes {
		r.Reply.Attempt = c.Attempt()
	}
}

// timesOut lets a coordinator that takes a shortcut make a NO of silence.
func (w *world) timesOut(c *command) bool {
	core, is := c.from.core.(*txn.Coordinator)
	if !is || !w.faults.has(nextOnTimeout|abortOnTimeout) || c.from.asleep {
		return false
	}
	reason := storage.Conflict
	if w.faults.has(abortOnTimeout) {
		reason = storage.TooLarge
	}
	no := &storage.TxnReply{Kind: storage.ReplyNo, Attempt: core.Attempt(), Reason: reason}
	w.step(c.from, &txn.Reply{From: c.send.To, Ref: c.send.Ref, Reply: no})
	return true
}

// bendRecovery is what a recoverer that takes a shortcut makes of a reply.
func (w *world) bendRecovery(r *txn.Reply) {
	switch a := r.Reply; {
	case w.faults.has(goneIsAborted) && a.Kind == storage.ReplyGone:
		a.Kind, a.Sealed = storage.ReplyNo, true
	case w.faults.has(lowestBallot) && a.Kind == storage.ReplyPromise && a.Accepted != storage.Undecided:
		at := a.AcceptedAt
		a.AcceptedAt = storage.Ballot{Round: 1_000 - at.Round, Node: 1_000 - at.Node, Nonce: 1_000 - at.Nonce}
	case w.faults.has(sealedByAnyNo) && a.Kind == storage.ReplyNo:
		a.Sealed = true
	}
}
