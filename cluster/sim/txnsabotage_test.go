package sim_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/sim"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// TestConvictsShortcuts takes tempting shortcuts of the commit protocol's section 12 and demands that each is noticed.
func TestConvictsShortcuts(t *testing.T) {
	readers := make(map[reader]bool)
	for _, c := range []struct {
		name     string
		sabotage sim.Sabotage
		seeds    uint64           // in which it must be noticed at least once
		protocol storage.Protocol // that it is about, 0 for all
		rare     bool             // it takes many seeds: too slow under the race detector
	}{
		{"release S at the vote", sim.Sabotage{Send: releaseShared(readers)}, 60, 0, false},
		{"a NO without a tombstone", sim.Sabotage{Send: inventNo(readers)}, 60, storage.Auto, false},
		{"abort on a timeout", sim.Sabotage{Answer: abortOnTimeout, Grace: time.Millisecond}, 300, storage.Auto, true},
		{"no record, so aborted", sim.Sabotage{GuessAbsent: true}, 200, 0, false},
		{"aborted from a NO that is not sealed", sim.Sabotage{GuessNo: true}, 200, 0, false},
		{"abort leaves no tombstone", sim.Sabotage{Send: forgetAborts}, 60, 0, false},
		{"forgotten when decided", sim.Sabotage{ForgetDecided: true}, 60, 0, false},
		{"mark above a running transaction", sim.Sabotage{Command: markAbove}, 60, 0, false},
		{"recovery invents an attempt", sim.Sabotage{Suspect: func(o *storage.OpenTxn) { o.Attempt++ }}, 60, 0, false},
		{"reads pass X locks", sim.Sabotage{DirtyReads: true}, 300, 0, true},
		{"read-only in one pass", sim.Sabotage{OnePass: true}, 300, 0, true},
		{"check versions, not locks", sim.Sabotage{CheckVersions: true}, 300, 0, true},
		{"2pc answers on all YES", sim.Sabotage{Send: decideAlone}, 200, storage.TwoPhase, false},
		{"3pc: inquire leaves no promise", sim.Sabotage{Send: emptyPromise}, 200, storage.ThreePhase, false},
		{"3pc: answer after the first pre-commit", sim.Sabotage{Send: onePreCommit}, 200, storage.ThreePhase, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.rare && underRace {
				t.Skip("takes too long under the race detector, which has one goroutine to look at")
			}
			for seed := uint64(1); seed <= c.seeds; seed++ {
				clear(readers)
				rep := sim.Run(sim.Config{Seed: seed, Clients: 1, TxnClients: 16, Protocol: c.protocol, Sabotage: c.sabotage})
				if rep.Err != nil {
					first, _, _ := strings.Cut(rep.Err.Error(), "\n")
					t.Logf("after %d seeds: %s", seed, first)
					return
				}
			}
			t.Fatalf("not noticed in %d seeds", c.seeds)
		})
	}
}

// reads tells whether a group's part of a transaction changes nothing there.
func reads(p *storage.Prepare) bool {
	for _, ops := range [][]storage.TxnOp{p.Then, p.Else} {
		for i := range ops {
			if ops[i].Kind != storage.OpGet {
				return false
			}
		}
	}
	return p.Token == nil
}

// reader is a group that changes nothing in an attempt of a transaction.
type reader struct {
	txn     storage.TxnID
	attempt storage.Attempt
	group   storage.PartitionID
}

// releaseShared lets a group that only reads drop out after its vote.
func releaseShared(readers map[reader]bool) func(*rand.Rand, *txn.Send) sim.Tampering {
	return func(_ *rand.Rand, s *txn.Send) sim.Tampering {
		key := reader{s.Txn.ID, s.Txn.Attempt, s.To}
		switch {
		case s.Kind == storage.KindPrepare && s.To != s.Txn.Home && reads(s.Txn.Prepare):
			readers[key] = true
			drop := *s
			drop.Kind, drop.Ref.Kind, drop.Txn.Prepare = storage.KindAbort, storage.KindAbort, nil
			return sim.Tampering{Then: &drop}
		case s.Kind == storage.KindCommit && readers[key]:
			return sim.Tampering{Reply: &storage.TxnReply{Kind: storage.ReplyAck}}
		}
		return sim.Tampering{}
	}
}

// inventNo makes up refusals of prepares that arrive all the same, and lets the aborts that follow be slow.
func inventNo(invented map[reader]bool) func(*rand.Rand, *txn.Send) sim.Tampering {
	return func(rng *rand.Rand, s *txn.Send) sim.Tampering {
		key := reader{txn: s.Txn.ID}
		switch {
		case s.Kind == storage.KindPrepare && rng.IntN(8) == 0:
			invented[key] = true
			no := storage.TxnReply{Kind: storage.ReplyNo, Attempt: s.Txn.Attempt, Reason: storage.TooLarge}
			return sim.Tampering{Reply: &no, Then: s}
		case s.Kind == storage.KindAbort && invented[key]:
			return sim.Tampering{Delay: 4 * time.Second}
		}
		return sim.Tampering{}
	}
}

// abortOnTimeout takes what is not known for what did not happen.
func abortOnTimeout(a *txn.Answer) *txn.Answer {
	if a.Err != nil && errors.Is(a.Err, txn.ErrUnknownOutcome) {
		return &txn.Answer{Err: &txn.Error{Err: txn.ErrTimeout}}
	}
	return a
}

// forgetAborts acknowledges aborts where the prepare has not come.
func forgetAborts(rng *rand.Rand, s *txn.Send) sim.Tampering {
	if s.Kind != storage.KindAbort || rng.IntN(2) > 0 {
		return sim.Tampering{}
	}
	return sim.Tampering{Reply: &storage.TxnReply{Kind: storage.ReplyAck, Attempt: s.Txn.Attempt, Sealed: s.Txn.Final}}
}

// markAbove says that a transaction is finished while it runs.
func markAbove(rng *rand.Rand, data []byte) []byte {
	c, err := storage.DecodeCommand(data)
	if err != nil || c.Txn == nil || c.Kind != storage.KindPrepare || rng.IntN(10) > 0 {
		return data
	}
	c.Txn.Mark = c.Txn.ID.Seq + 1
	return storage.AppendCommand(nil, &c)
}

// decideAlone takes all votes for the decision of a 2pc.
func decideAlone(_ *rand.Rand, s *txn.Send) sim.Tampering {
	if s.Kind != storage.KindDecide {
		return sim.Tampering{}
	}
	return sim.Tampering{Reply: &storage.TxnReply{Kind: storage.ReplyCommitted, Attempt: s.Txn.Attempt, Decision: s.Txn.Decision}}
}

// emptyPromise answers for groups that nothing was accepted, without asking them to promise anything.
func emptyPromise(_ *rand.Rand, s *txn.Send) sim.Tampering {
	if s.Kind != storage.KindInquire {
		return sim.Tampering{}
	}
	return sim.Tampering{Reply: &storage.TxnReply{Kind: storage.ReplyPromise, Attempt: s.Txn.Attempt, Ballot: s.Txn.Ballot}}
}

// onePreCommit takes the pre-commits of all groups but home for accepted before they are sent; what follows is slow.
func onePreCommit(_ *rand.Rand, s *txn.Send) sim.Tampering {
	switch {
	case s.Kind == storage.KindCommit:
		return sim.Tampering{Delay: 3 * time.Second}
	case s.Kind == storage.KindPropose && s.Txn.Ballot == (storage.Ballot{}) && s.To != s.Txn.Home:
		return sim.Tampering{Reply: &storage.TxnReply{Kind: storage.ReplyAccepted, Attempt: s.Txn.Attempt}}
	}
	return sim.Tampering{}
}
