package worker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

func waiterID(n uint64) storage.WaiterID {
	return storage.WaiterID{Node: 1, Incarnation: 1, Number: n}
}

// acquire asks for the lease "m" in partition 0, under a waiter's number.
func acquire(n uint64, ttl, wait storage.Millis) *worker.Op {
	op := leaseOp(storage.KindAcquire, storage.LeaseCommand{Waiter: waiterID(n), Owner: "o", TTL: ttl, Wait: wait})
	op.Wish = &worker.Wish{Waiter: waiterID(n)}
	return op
}

func leaseOp(k storage.Kind, l storage.LeaseCommand) *worker.Op {
	l.Name = []byte(keyIn(0, "m"))
	return &worker.Op{Group: 0, Kind: worker.Write, Data: storage.AppendCommand(nil, &storage.Command{Kind: k, Lease: &l})}
}

func release(token storage.Version) *worker.Op {
	return leaseOp(storage.KindRelease, storage.LeaseCommand{Token: token})
}

// spend lets time go by, tick by tick.
func (m *machine) spend(d time.Duration) {
	m.t.Helper()
	const tick = 100 * time.Millisecond
	for ; d > 0; d -= tick {
		m.now += tick
		m.worker.Tick(m.now)
		m.settle()
	}
}

func (a *answer) wantLease(t testing.TB, kind storage.LeaseReplyKind) storage.Version {
	t.Helper()
	a.want(t, nil)
	l := a.op.Result.Lease
	if l == nil || l.Kind != kind {
		t.Fatalf("got %+v, want kind %d", l, kind)
	}
	return l.Token
}

func (m *machine) lease(t testing.TB) (storage.Lease, error) {
	t.Helper()
	a := m.ask(&worker.Op{Group: 0, Kind: worker.Read, LeaseName: []byte(keyIn(0, "m"))})
	m.settle()
	return a.op.Lease, a.err
}

func TestLeasesAreHandedOnInOrder(t *testing.T) {
	m := ready(t)
	first := m.ask(acquire(1, 10_000, 0))
	m.settle()
	token := first.wantLease(t, storage.LeaseGranted)
	second, third := m.later(acquire(2, 10_000, 60_000)), m.later(acquire(3, 10_000, 60_000))
	if l, err := m.lease(t); err != nil || l.Waiters != 2 || l.Token != token {
		t.Fatalf("%+v, %v", l, err)
	}
	m.do(release(token))
	next := second.wantLease(t, storage.LeaseGranted)
	third.waits(t)
	m.do(release(next))
	last := third.wantLease(t, storage.LeaseGranted)
	if token >= next || next >= last {
		t.Fatalf("tokens %d, %d, %d", token, next, last)
	}
	m.do(release(last))
	if _, err := m.lease(t); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("at the end: %v", err)
	}
}

// Time alone ends a lease: that of the turns, which is monotonic. The worker has no other clock.
func TestLeasesLapse(t *testing.T) {
	m := ready(t)
	m.do(acquire(1, 1000, 0))
	next := m.later(acquire(2, 1000, 60_000))
	brief := m.later(acquire(3, 1000, 300))
	m.spend(900 * time.Millisecond)
	next.waits(t)
	brief.wantLease(t, storage.LeaseHeld)
	before := m.now
	m.now = 0 // a clock that goes back is not believed
	m.worker.Tick(m.now)
	m.settle()
	next.waits(t)
	m.now = before
	m.spend(600 * time.Millisecond)
	next.wantLease(t, storage.LeaseGranted)
	m.spend(1500 * time.Millisecond)
	if _, err := m.lease(t); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("at the end: %v", err)
	}
}

// A waiter that nobody asks for loses its place after a while, and so does one that was granted and not told. One that
// comes again in time keeps it.
func TestMissedWaitersAreCancelled(t *testing.T) {
	m := ready(t)
	first := m.ask(acquire(1, 600_000, 0))
	m.settle()
	gone, back := acquire(2, 600_000, 600_000), acquire(3, 600_000, 600_000)
	goneAnswer, backAnswer := m.later(gone), m.later(back)
	for _, op := range []*worker.Op{gone, back} {
		op.Wish.Left.Store(true)
		m.worker.Leave(0, op.Wish)
	}
	goneAnswer.want(t, replica.ErrDropped)
	backAnswer.want(t, replica.ErrDropped)
	again := m.later(acquire(3, 600_000, 600_000))
	m.do(release(first.wantLease(t, storage.LeaseGranted))) // to one who is not told
	if l, err := m.lease(t); err != nil || l.Waiters != 1 {
		t.Fatalf("%+v, %v", l, err)
	}
	again.waits(t)
	m.spend(8 * time.Second)
	again.wantLease(t, storage.LeaseGranted)
	late := m.ask(acquire(2, 600_000, 600_000))
	m.settle()
	late.wantLease(t, storage.LeaseOver)
}

// A second request under one id takes the place of the first, which nobody waits for any more.
func TestWishesAreAskedAgain(t *testing.T) {
	m := ready(t)
	first := m.ask(acquire(1, 600_000, 0))
	m.settle()
	old := m.later(acquire(2, 600_000, 600_000))
	again := m.later(acquire(2, 600_000, 600_000))
	old.want(t, replica.ErrDropped)
	m.do(release(first.wantLease(t, storage.LeaseGranted)))
	again.wantLease(t, storage.LeaseGranted)
	m.worker.Close()
}

func TestParkedWishesAreAnsweredAtTheEnd(t *testing.T) {
	m := ready(t)
	m.do(acquire(1, 600_000, 0))
	parked := m.later(acquire(2, 600_000, 600_000))
	m.worker.Close()
	parked.want(t, replica.ErrDropped)
}

// While a transaction in doubt names a lease in a condition, it does not change hands; then it does.
func TestLeasesWaitForTransactions(t *testing.T) {
	m := ready(t)
	first := m.ask(acquire(1, 600_000, 0))
	m.settle()
	token := first.wantLease(t, storage.LeaseGranted)
	c := part{p: 0, seq: 1, puts: []string{"k"}, value: "v"}
	op := c.command(storage.KindPrepare, func(x *storage.TxnCommand) {
		x.Prepare = &storage.Prepare{
			Protocol: storage.Auto, Participants: []storage.PartitionID{0}, Partitions: 2,
			If: []storage.TxnCondition{{Test: storage.TestToken, Key: []byte(keyIn(0, "m")), Want: token}},
		}
	})
	if r := reply(t, m.do(op)); r.Kind != storage.ReplyYes || !r.Vote.If[0].Holds {
		t.Fatalf("%+v", r)
	}
	out := m.later(release(token))
	m.do(c.commit())
	out.wantLease(t, storage.LeaseReleased)
}

// A waiter that asks again just when its turn comes is told of it, and is not taken for one that nobody told.
func TestGrantedWhileAskingAgain(t *testing.T) {
	m := ready(t)
	first := m.ask(acquire(1, 600_000, 0))
	m.settle()
	left := acquire(2, 600_000, 600_000)
	m.later(left)
	left.Wish.Left.Store(true)
	m.worker.Leave(0, left.Wish)
	out := m.ask(release(first.wantLease(t, storage.LeaseGranted)))
	again := m.ask(acquire(2, 600_000, 600_000)) // behind the release in the log, before that is applied
	m.settle()
	out.wantLease(t, storage.LeaseReleased)
	token := again.wantLease(t, storage.LeaseGranted)
	m.spend(8 * time.Second)
	if l, err := m.lease(t); err != nil || l.Token != token {
		t.Fatalf("it was taken from its holder: %+v, %v", l, err)
	}
}

// A request that its asker has left may come when another one has long told him that he holds the lease: it takes nothing
// from him. Nor does it save a lease of which nobody was told.
func TestLeftBehind(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "not told": false} {
		t.Run(name, func(t *testing.T) {
			m := ready(t)
			first := m.ask(acquire(1, 600_000, 0))
			m.settle()
			second := acquire(2, 600_000, 600_000)
			answer := m.later(second)
			if !told {
				second.Wish.Left.Store(true)
				m.worker.Leave(0, second.Wish)
			}
			m.do(release(first.wantLease(t, storage.LeaseGranted)))
			if told {
				answer.wantLease(t, storage.LeaseGranted)
			}
			late := acquire(2, 600_000, 600_000)
			late.Wish.Left.Store(true)
			m.do(late)
			m.spend(8 * time.Second)
			if _, err := m.lease(t); told != (err == nil) {
				t.Fatalf("8 s after it was granted: %v", err)
			}
		})
	}
}
