package serial_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/txn/serial"
)

// rapidDice lets rapid decide, so that it can make a failure small.
type rapidDice struct{ t *rapid.T }

func (d rapidDice) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "die") }

// TestRightStoresPass is the law of no false alarm.
func TestRightStoresPass(t *testing.T) {
	for name, newStore := range map[string]func() store{"serial": newSerial, "locking": newLocking} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			l := large()
			l.txns, l.unknown = rapid.IntRange(1, 60).Draw(t, "txns"), rapid.IntRange(0, 50).Draw(t, "unknown")
			h, final := simulate(rapidDice{t}, l, newStore())
			if rep, err := serial.Check(h); err != nil || rep.Worst() != serial.None {
				t.Fatalf("%v %v\n%s", err, rep, render(h))
			}
			if rep, err := serial.CheckFinal(h, final); err != nil || rep.Worst() != serial.None {
				t.Fatalf("final state: %v %v\n%s", err, rep, render(h))
			}
		}))
	}
}

// TestAgreesWithOracle compares verdicts with those of trying every order, on small histories, right, wrong and spoilt.
func TestAgreesWithOracle(t *testing.T) {
	t.Run("rapid", rapid.MakeCheck(func(t *rapid.T) {
		if _, err := compare(rapidDice{t}); err != nil {
			t.Fatal(err)
		}
	}))
	t.Run("many", func(t *testing.T) {
		const runs = 10_000
		verdicts := map[serial.Anomaly]int{}
		for seed := range uint64(runs) {
			worst, err := compare(rand.New(rand.NewPCG(seed, 2)))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			verdicts[worst]++
		}
		t.Log(verdicts)
		for a := serial.None; a <= serial.G2Realtime; a++ {
			if verdicts[a] == 0 {
				t.Errorf("%v never happened in %d histories", a, runs)
			}
		}
	})
}

// compare draws a history and judges it both ways, with real time and without.
func compare(d dice) (serial.Anomaly, error) {
	stores := []func(dice) store{
		func(dice) store { return newSerial() }, func(dice) store { return newLocking() },
		newSnapshot, newReadCommitted, newDirty, newStale, newHalf, newLossy,
	}
	h, _ := simulate(d, small(), stores[d.IntN(len(stores))](d))
	for range d.IntN(3) {
		spoil(d, h)
	}
	rep, err := serial.Check(h)
	if err != nil {
		return serial.None, fmt.Errorf("%w\n%s", err, render(h))
	}
	if got, want := rep.Worst() == serial.None, possible(h, true); got != want {
		return serial.None, fmt.Errorf("strictly serializable: %v, the oracle says %v\n%v\n%s", got, want, rep, render(h))
	}
	timeless := !slices.ContainsFunc(rep.Findings, func(f serial.Finding) bool { return !needsRealTime(f.Anomaly) })
	if want := possible(h, false); timeless != want {
		return serial.None, fmt.Errorf("serializable: %v, the oracle says %v\n%v\n%s", timeless, want, rep, render(h))
	}
	return rep.Worst(), nil
}

func needsRealTime(a serial.Anomaly) bool { return a == serial.LostAppend || a >= serial.G0Realtime }

// spoil changes one thing in a history, which may make it wrong or right.
func spoil(d dice, h []serial.Txn) {
	t := &h[d.IntN(len(h))]
	switch d.IntN(6) {
	case 0:
		t.Outcome = serial.Outcome(d.IntN(3))
		t.Returned = max(t.Returned, t.Invoked)
	case 1:
		t.Invoked += serial.Time(d.IntN(20) - 10)
		t.Returned = max(t.Returned, t.Invoked)
	case 2:
		t.Returned = t.Invoked + serial.Time(d.IntN(30))
	default:
		t.Ops = slices.Clone(t.Ops)
		if op := &t.Ops[d.IntN(len(t.Ops))]; op.Kind == serial.OpRead {
			op.Seen = spoilList(d, slices.Clone(op.Seen))
		}
	}
}

func spoilList(d dice, l []serial.Value) []serial.Value {
	i := d.IntN(len(l) + 1)
	switch n := d.IntN(4); {
	case n == 0:
		return slices.Insert(l, i, serial.Value(1+d.IntN(12))) // another key's, one already there, or nobody's
	case i == len(l):
		return l
	case n == 1:
		return slices.Delete(l, i, i+1)
	case n == 2:
		return l[:i]
	default:
		l[0], l[i] = l[i], l[0]
		return l
	}
}

// TestOrderOfHistoryDoesNotMatter: transactions may be given in any order.
func TestOrderOfHistoryDoesNotMatter(t *testing.T) {
	for seed := range uint64(50) {
		d := rand.New(rand.NewPCG(seed, 3))
		h, _ := simulate(d, large(), newReadCommitted(d))
		want := mustCheck(t, h).String()
		d.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
		if got := mustCheck(t, h).String(); got != want {
			t.Fatalf("seed %d: %s\nand shuffled: %s", seed, want, got)
		}
	}
}

// TestManyReadersOfManyUnreadAppends lets every reader see all writers' appends to y and none of those to x.
func TestManyReadersOfManyUnreadAppends(t *testing.T) {
	const n = 200
	var h []serial.Txn
	var all []serial.Value
	for i := range n {
		v := serial.Value(i)
		all = append(all, v)
		h = append(h, committed(i, 0, 99, serial.Append("x", v), serial.Append("y", v)))
	}
	for i := range n {
		h = append(h, committed(n+i, 0, 99, serial.Read("x"), serial.Read("z")))
	}
	if rep := mustCheck(t, h); rep.Worst() != serial.None {
		t.Errorf("reads of nothing are judged %v", rep)
	}
	skewed := append(slices.Clone(h), committed(2*n, 0, 99, serial.Read("x"), serial.Read("y", all...)))
	if rep := mustCheck(t, skewed); rep.Worst() != serial.GSingle || len(rep.Findings[0].Steps) != 2 {
		t.Errorf("read skew is judged %v", rep)
	}
	stale := append(slices.Clone(h), committed(2*n, 100, 199, serial.Read("x")))
	rep := mustCheck(t, stale)
	if rep.Worst() != serial.LostAppend {
		t.Fatalf("lost appends are judged %v", rep)
	}
	if f := rep.Findings[len(rep.Findings)-1]; f.Anomaly != serial.GSingleRealtime || len(f.Steps) != 2 {
		t.Errorf("stale reads are judged %v", f)
	}
}

func committed(id int, invoked, returned serial.Time, ops ...serial.Op) serial.Txn {
	return serial.Txn{ID: serial.TxnID(id), Invoked: invoked, Returned: returned, Outcome: serial.Committed, Ops: ops}
}
