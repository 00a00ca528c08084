package txn_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// go test ./txn -run TestMany -runs 100000, or -seed 4711 to see one life.
var (
	manyRuns  = flag.Int("runs", 400, "random runs for each protocol")
	modelOnly = flag.Bool("model-only", false, "leave the real participants out")
	manySeed  = flag.Uint64("seed", 0, "run only this one, with its trace")
)

func everyProtocol() []storage.Protocol {
	return []storage.Protocol{storage.Auto, storage.TwoPhase, storage.ThreePhase}
}

func (cfg worldConfig) run() (*world, string) {
	w := newWorld(cfg)
	for range 150 + w.rng.IntN(250) {
		if w.judge.verdict != "" {
			return w, w.judge.verdict
		}
		w.turn()
	}
	w.settle()
	return w, w.judge.verdict
}

// settle ends the run: the network is whole again; in half of the runs all coordinators are dead and nothing that they
// have sent arrives any more, so that recoverers alone must free every lock (I8). Then everything is forgotten.
func (w *world) settle() {
	w.reliable = true
	for _, p := range w.procs {
		p.asleep = false
	}
	if w.chance(50) {
		w.logf("all processes die")
		for _, p := range w.procs {
			p.over = true
		}
		w.commands, w.replies = nil, nil
	}
	w.exhaust()
	w.judge.atRest()
	for _, n := range w.nodes {
		w.incarnate(n)
		w.sweep(n, n.ledger.Incarnation())
	}
	w.exhaust()
	w.judge.forgotten()
}

// exhaust runs until nothing is left to do and nothing is in doubt.
func (w *world) exhaust() {
	for turns := 0; turns < 20_000; turns++ {
		if w.turn() {
			continue
		}
		open := 0
		for _, g := range w.groups {
			for _, o := range g.open(func(storage.TxnID) bool { return true }) {
				open++
				w.recover(*o, nil)
			}
		}
		if open == 0 {
			return
		}
	}
	w.judge.convict("I8: no end")
}

// TestMany lives many random lives and checks the invariants of section 11 in each.
func TestMany(t *testing.T) {
	seen := map[string]int{}
	mixes := map[string][]storage.Protocol{
		"auto": {storage.Auto}, "2pc": {storage.TwoPhase}, "3pc": {storage.ThreePhase}, "mixed": everyProtocol(),
	}
	for name, protocols := range mixes {
		t.Run(name, func(t *testing.T) {
			first, last := uint64(1), uint64(*manyRuns)
			if *manySeed != 0 {
				first, last = *manySeed, *manySeed
			}
			for seed := first; seed <= last; seed++ {
				cfg := worldConfig{seed: seed, groups: 2 + int(seed%2), protocols: protocols, weights: usual(), trace: *manySeed != 0}
				cfg.shadow = !*modelOnly
				w, verdict := cfg.run()
				if cfg.trace {
					fmt.Println(w.trace.String())
				}
				if verdict != "" {
					t.Fatalf("seed %d: %s", seed, verdict)
				}
				for what, n := range w.judge.seen {
					seen[what] += n
				}
			}
		})
	}
	mustHaveSeen(t, seen)
}

// mustHaveSeen fails where something that lives are made of never happened.
func mustHaveSeen(t *testing.T, seen map[string]int) {
	for _, what := range []string{
		"answer: then", "answer: else", "answer: nothing", "answer: replayed", "answer: unknown", "answer: conflict",
		"answer: timeout", "answer: unavailable", "answer: in flight", "restart", "suspect", "zombie", "retry", "PUT", "PUT held", "read",
		"recovery: committed", "recovery: aborted", "recovery: gone", "sweep finished",
		"status: committed", "status: aborted", "status: refused", "status: stub", "attempt 3",
	} {
		t.Logf("%-22s %d", what, seen[what])
		if seen[what] == 0 && *manySeed == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}
