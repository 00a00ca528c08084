package sim_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/sim"
	"github.com/ringkv/ringkv/storage"
)

// TestConvictsLocks breaks what locks promise and demands that it is noticed, for what it is.
func TestConvictsLocks(t *testing.T) {
	for _, c := range []struct {
		name     string
		sabotage sim.Sabotage
		says     string // what the judge says of it
		seeds    uint64 // in which it must be noticed at least once
	}{
		{"tokens begin anew", sim.Sabotage{Token: func(t storage.Version) storage.Version { return t%4 + 1 }}, "token", 20},
		{"guards are not looked at", sim.Sabotage{Unguarded: true}, "token", 40},
		{"waiters' ids come again", sim.Sabotage{Command: sameWaiters}, "lock", 20},
		{"lines are forgotten at a change of leaders", sim.Sabotage{ForgetLines: true}, "was given up|was not answered", 40},
		{"nobody is asked again", sim.Sabotage{AskOnce: true}, "was not answered|is held", 40},
		{"clocks jump ahead", sim.Sabotage{Clock: jump}, "was lost at|is over at|was given up", 60},
		{"clocks stand still", sim.Sabotage{Clock: freeze}, "is held|was not answered", 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(1); seed <= c.seeds; seed++ {
				rep := sim.Run(sim.Config{Seed: seed, Clients: 1, TxnClients: 1, LockClients: 12, Sabotage: c.sabotage})
				if rep.Err == nil {
					continue
				}
				first, _, _ := strings.Cut(rep.Err.Error(), "\n")
				if !saysOne(first, c.says) {
					t.Fatalf("after %d seeds, but for something else: %s", seed, first)
				}
				t.Logf("after %d seeds: %s", seed, first)
				return
			}
			t.Fatalf("not noticed in %d seeds", c.seeds)
		})
	}
}

func saysOne(text, words string) bool {
	for w := range strings.SplitSeq(words, "|") {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// changeAcquire changes the acquires among the commands.
func changeAcquire(data []byte, change func(*storage.LeaseCommand)) []byte {
	c, err := storage.DecodeCommand(data)
	if err != nil || c.Kind != storage.KindAcquire {
		return data
	}
	change(c.Lease)
	return storage.AppendCommand(nil, &c)
}

// sameWaiters lets a node count its waiters in a small circle, in every life anew.
func sameWaiters(_ *rand.Rand, data []byte) []byte {
	return changeAcquire(data, func(l *storage.LeaseCommand) { l.Waiter.Incarnation, l.Waiter.Number = 1, l.Waiter.Number%4+1 })
}

// jump sets the clocks of half of the nodes ahead every second, as if somebody set the wall clock that they went by.
func jump(node int, now time.Duration) time.Duration {
	if node%2 == 1 {
		return now + 5*now.Truncate(time.Second)
	}
	return now
}

// freeze stops all clocks.
func freeze(_ int, now time.Duration) time.Duration { return min(now, 6*time.Second) }
