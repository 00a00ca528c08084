package storage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ringkv/ringkv/storage"
)

// TestLeaseScripts runs the scenarios of testdata/lease, on partition 1 of 2 (see TestTxnScripts, whose commands may be
// used too). Every line is followed by Verify, and by a look at what a restarted replica would hold.
//
//	acquire name=N w=NODE.INC.NUMBER [owner=O] [ttl=MS] [wait=MS] [again] [clock=C]
//	cancel name=N w=… | renew name=N token=T [ttl=MS] | release name=N token=T | lapse [clock=C] [limit=L]
//	lease name=N [clock=C]; waiters; next-lapse
func TestLeaseScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/lease", func(t *testing.T, path string) {
		r := newReplica(t, 1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r.t = t
			out := runLeaseLine(t, r, d)
			r.verify()
			r.checkReopened()
			r.checkLeasesReopened()
			return out
		})
	})
}

func runLeaseLine(t *testing.T, r *replica, d *datadriven.TestData) string {
	switch d.Cmd {
	case "lease":
		return renderLease(r.lease(arg(d, "name"), storage.Millis(number(t, d, "clock"))))
	case "waiters":
		return renderWaiters(r.p) + "\n"
	case "next-lapse":
		if at, ok := r.p.NextLapse(); ok {
			return fmt.Sprintln(at)
		}
		return "never\n"
	}
	if c := parseLeaseCommand(t, d); c != nil {
		return renderLeaseResult(r.apply(c))
	}
	return runTxnLine(t, r, d)
}

var leaseKinds = map[string]storage.Kind{
	"acquire": storage.KindAcquire, "cancel": storage.KindCancel, "renew": storage.KindRenew, "release": storage.KindRelease,
	"lapse": storage.KindLapse,
}

func parseLeaseCommand(t *testing.T, d *datadriven.TestData) *storage.Command {
	kind, ok := leaseKinds[d.Cmd]
	if !ok {
		return nil
	}
	c := &storage.Command{Kind: kind, Clock: storage.Millis(number(t, d, "clock"))}
	if kind == storage.KindLapse {
		if c.Limit = uint32(number(t, d, "limit")); c.Limit == 0 {
			c.Limit = storage.MaxLapse
		}
		return c
	}
	l := &storage.LeaseCommand{
		Name: []byte(arg(d, "name")), Owner: arg(d, "owner"), Again: d.HasArg("again"), TTL: storage.Millis(number(t, d, "ttl")),
		Wait: storage.Millis(number(t, d, "wait")), Token: storage.Version(number(t, d, "token")),
	}
	if kind == storage.KindAcquire {
		if l.TTL == 0 {
			l.TTL = 1000
		}
		if l.Owner == "" {
			l.Owner = "o" + arg(d, "w")
		}
	}
	if w := arg(d, "w"); w != "" {
		if _, err := fmt.Sscanf(w, "%d.%d.%d", &l.Waiter.Node, &l.Waiter.Incarnation, &l.Waiter.Number); err != nil {
			t.Fatalf("waiter %q: %v", w, err)
		}
	}
	c.Lease = l
	return c
}

func renderLeaseResult(res storage.Result) string {
	if res.Lease == nil {
		return renderTxnResult(res)
	}
	out := []string{renderLeaseAnswer(res.Lease)}
	if res.Lease.Kind == storage.LeaseLapsed {
		out[0] += fmt.Sprintf(" %d", res.Count)
	}
	for i := range res.Lease.Events {
		e := &res.Lease.Events[i]
		out = append(out, fmt.Sprintf("  %v: %s %s", e.Waiter, e.Name, renderLeaseAnswer(e.Reply())))
	}
	return strings.Join(out, "\n") + "\n"
}

func renderLeaseAnswer(r *storage.LeaseReply) string {
	name := [...]string{"none", "granted", "queued", "held", "full", "over", "lost", "released", "lapsed"}[r.Kind]
	switch r.Kind {
	case storage.LeaseGranted:
		return fmt.Sprintf("%s token=%d ttl=%d owner=%s", name, r.Token, r.TTL, r.Owner)
	case storage.LeaseHeld:
		return fmt.Sprintf("%s by %s for %d", name, r.Owner, r.TTL)
	}
	return name
}

// lease is a lease at the later of clock and the partition's.
func (r *replica) lease(name string, clock storage.Millis) (storage.Lease, error) {
	v := r.e.View()
	defer v.Close()
	return r.p.ReadLease(v, []byte(name), max(clock, r.p.Meta().Clock))
}

func renderLease(l storage.Lease, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("%q owner=%s token=%d ttl=%d waiters=%d\n", l.Name, l.Owner, l.Token, l.TTL, l.Waiters)
}

func renderWaiters(p *storage.Partition) string {
	var out []string
	for _, w := range p.Waiters() {
		out = append(out, fmt.Sprintf("%v:%q", w.Waiter, w.Name))
	}
	return strings.Join(out, " ")
}

// checkLeasesReopened compares what is in memory of leases with what a restart would find.
func (r *replica) checkLeasesReopened() {
	v := r.e.View()
	defer v.Close()
	again, err := storage.OpenPartition(v, r.id)
	r.must(err)
	if got, want := renderWaiters(r.p), renderWaiters(again); got != want {
		r.t.Fatalf("waiters %s, after a restart %s", got, want)
	}
	held, waiting := r.p.Leases()
	if held2, waiting2 := again.Leases(); held != held2 || waiting != waiting2 {
		r.t.Fatalf("%d held, %d wait; after a restart %d and %d", held, waiting, held2, waiting2)
	}
	at, ok := r.p.NextLapse()
	if at2, ok2 := again.NextLapse(); ok2 && (!ok || at > at2) {
		r.t.Fatalf("lapse at %d %v, after a restart %d %v", at, ok, at2, ok2)
	}
}

// leaseCommands has one command about leases of every kind, for round trips and as seeds.
func leaseCommands() []storage.Command {
	w := storage.WaiterID{Node: 1, Incarnation: 2, Number: 1 << 40}
	return []storage.Command{
		{Kind: storage.KindAcquire, Clock: 5, Lease: &storage.LeaseCommand{Name: []byte("k"), Waiter: w, Owner: "o", TTL: 100, Wait: 7, Again: true}},
		{Kind: storage.KindAcquire, Lease: &storage.LeaseCommand{Name: []byte{0, 255}, Waiter: w, Owner: "\xff", TTL: storage.MaxLeaseTTL}},
		{Kind: storage.KindCancel, Lease: &storage.LeaseCommand{Name: []byte("k"), Waiter: w}},
		{Kind: storage.KindRenew, Lease: &storage.LeaseCommand{Name: []byte("k"), Token: 1 << 52, TTL: 9}},
		{Kind: storage.KindRelease, Lease: &storage.LeaseCommand{Name: []byte("k"), Token: 1}},
		{Kind: storage.KindLapse, Clock: 12345, Limit: 1<<32 - 1},
	}
}

func leaseReplies() []storage.LeaseReply {
	w := storage.WaiterID{Node: 1, Incarnation: 2, Number: 3}
	return []storage.LeaseReply{
		{Kind: storage.LeaseGranted, Token: 1 << 52, TTL: 30000, Owner: "worker-7", Before: true},
		{Kind: storage.LeaseLapsed, Events: []storage.LeaseEvent{
			{Waiter: w, Name: "k", Kind: storage.LeaseGranted, Token: 2, TTL: 1, Owner: "a"}, {Waiter: w, Kind: storage.LeaseHeld, TTL: 1, Owner: "b"},
		}},
		{Kind: storage.LeaseLost},
	}
}

// TestLeaseLimits: what no lease can be is refused alike by every replica.
func TestLeaseLimits(t *testing.T) {
	w := storage.WaiterID{Node: 1, Incarnation: 1, Number: 1}
	good := storage.LeaseCommand{Name: []byte("k"), Waiter: w, Owner: "o", TTL: 1, Wait: storage.MaxLeaseWait}
	for name, change := range map[string]func(*storage.LeaseCommand){
		"no name":       func(l *storage.LeaseCommand) { l.Name = nil },
		"long name":     func(l *storage.LeaseCommand) { l.Name = slices.Repeat([]byte("k"), storage.MaxKeyBytes+1) },
		"no owner":      func(l *storage.LeaseCommand) { l.Owner = "" },
		"long owner":    func(l *storage.LeaseCommand) { l.Owner = strings.Repeat("o", storage.MaxOwnerBytes+1) },
		"no TTL":        func(l *storage.LeaseCommand) { l.TTL = 0 },
		"long TTL":      func(l *storage.LeaseCommand) { l.TTL = storage.MaxLeaseTTL + 1 },
		"long wait":     func(l *storage.LeaseCommand) { l.Wait = storage.MaxLeaseWait + 1 },
		"nobody's wish": func(l *storage.LeaseCommand) { l.Waiter.Number = 0 },
	} {
		r := newReplica(t, 1)
		bad := good
		change(&bad)
		if res := r.apply(&storage.Command{Kind: storage.KindAcquire, Lease: &bad}); res.Status != storage.StatusInvalid {
			t.Errorf("%s: %v", name, res.Status)
		}
		if res := r.apply(&storage.Command{Kind: storage.KindAcquire, Lease: &good}); res.Status != storage.StatusLease {
			t.Errorf("after %s: %v", name, res.Status)
		}
	}
}

// TestLeaseQueueIsBounded: whoever comes to a full queue is told so, and changes nothing.
func TestLeaseQueueIsBounded(t *testing.T) {
	r := newReplica(t, 1)
	ask := func(n int) storage.LeaseReplyKind {
		res := r.apply(&storage.Command{Kind: storage.KindAcquire, Lease: &storage.LeaseCommand{
			Name: []byte("k"), Waiter: storage.WaiterID{Node: 1, Incarnation: 1, Number: uint64(n)}, Owner: "o", TTL: 1000, Wait: 1000,
		}})
		return res.Lease.Kind
	}
	for n := 1; n <= storage.MaxQueue+1; n++ {
		ask(n)
	}
	if got := ask(storage.MaxQueue + 2); got != storage.LeaseFull {
		t.Fatalf("one too many: %d", got)
	}
	if n := len(r.p.Waiters()); n != storage.MaxQueue {
		t.Fatalf("%d wait", n)
	}
	r.verify()
}
