package sim_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ringkv/ringkv/cluster/sim"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// TestFailpoints takes the power from the coordinator and from every participant's leader, before and after every step
// and message of a transaction, once for ever and once for 3 s. With -v it prints what became of each.
func TestFailpoints(t *testing.T) {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "protocol\tpoint\tnode\ttold\tbecame\tfinished by\tms until free")
	points, runs := 0, 0
	slowest := time.Duration(0)
	for _, c := range []struct {
		protocol storage.Protocol
		name     string
		atHome   bool
	}{
		{storage.OnePhase, "1pc", false},
		{storage.Auto, "auto", false},
		{storage.Auto, "auto, at home", true},
		{storage.TwoPhase, "2pc", false},
		{storage.ThreePhase, "3pc", false},
	} {
		all, err := sim.Failpoint{Seed: failSeed(t), Protocol: c.protocol, AtHome: c.atHome}.All()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		points += len(all)
		for i, f := range all {
			for _, f.Restart = range []bool{false, true} {
				if underRace && i%5 != 0 { // still more than 60 points
					continue
				}
				end := f.Run()
				if end.Err != nil {
					t.Errorf("%s: %v", c.name, end.Err)
				}
				runs++
				slowest = max(slowest, end.Free)
				row(table, c.name, f, &end)
			}
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d points, %d runs, free after %v at the most\n%s", points, runs, slowest, b.String())
	if points < 200 {
		t.Errorf("only %d points", points)
	}
}

func row(table io.Writer, name string, f sim.Failpoint, end *sim.Ending) {
	back := "dead"
	if f.Restart {
		back = "back"
	}
	fmt.Fprintf(table, "%s\t%v\t%s\t%s\t%s\t%s\t%d\n", name, f.Point, back, end.Told, end.Became, end.By, end.Free.Milliseconds())
}

// failSeed is that of the quiet cluster: another one with -seed.
func failSeed(t *testing.T) uint64 {
	t.Helper()
	if seed := option[uint64](t, "seed"); seed != 0 {
		return seed
	}
	return 7
}

// TestFailpointsConvict takes shortcuts that no quiet run shows: at some point the loss of power must.
func TestFailpointsConvict(t *testing.T) {
	for _, c := range []struct {
		name     string
		protocol storage.Protocol
		sabotage sim.Sabotage
	}{
		{"2pc answers on all YES", storage.TwoPhase, sim.Sabotage{Send: tooEarly(decideAlone)}},
		{"3pc: inquire leaves no promise", storage.ThreePhase, sim.Sabotage{Send: emptyPromise}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := sim.Failpoint{Seed: failSeed(t), Protocol: c.protocol, Sabotage: c.sabotage}.All()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				if end := f.Run(); end.Err != nil {
					t.Log(end.Err)
					return
				}
			}
			t.Fatal("no point shows it")
		})
	}
}

// tooEarly lets the commands go out all the same of which the answer is made up.
func tooEarly(f func(*rand.Rand, *txn.Send) sim.Tampering) func(*rand.Rand, *txn.Send) sim.Tampering {
	return func(rng *rand.Rand, s *txn.Send) sim.Tampering {
		t := f(rng, s)
		t.Delay = 0
		if t.Reply != nil {
			t.Then = s
		}
		return t
	}
}
