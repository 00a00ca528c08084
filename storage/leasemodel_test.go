package storage_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// leaseModel is what leases should be: for each name a holder and a line.
type leaseModel struct {
	clock    storage.Millis
	revision storage.Version
	leases   map[string]*leaseState
	over     map[storage.WaiterID]bool // cancelled
}

type leaseState struct {
	token    storage.Version
	holder   storage.LeaseCommand
	deadline storage.Millis
	line     []leaseWait
}

type leaseWait struct {
	storage.LeaseCommand
	until storage.Millis
}

func (m *leaseModel) grant(l storage.LeaseCommand) *leaseState {
	m.revision++
	return &leaseState{token: m.revision, holder: l, deadline: m.clock + l.TTL + 1}
}

// end gives a lease to the next, or to nobody.
func (m *leaseModel) end(name string) {
	s := m.leases[name]
	if len(s.line) == 0 {
		m.revision++
		delete(m.leases, name)
		return
	}
	next := m.grant(s.line[0].LeaseCommand)
	next.line = s.line[1:]
	m.leases[name] = next
}

func (m *leaseModel) apply(c *storage.Command) storage.LeaseReplyKind {
	m.clock = max(m.clock, c.Clock)
	if c.Kind == storage.KindLapse {
		m.lapse()
		return storage.LeaseLapsed
	}
	l := *c.Lease
	name := string(l.Name)
	s := m.leases[name]
	switch c.Kind {
	case storage.KindAcquire:
		return m.acquire(s, l)
	case storage.KindCancel:
		m.over[l.Waiter] = true
		if s != nil && s.holder.Waiter == l.Waiter {
			m.end(name)
		} else if s != nil {
			s.line = slices.DeleteFunc(s.line, func(w leaseWait) bool { return w.Waiter == l.Waiter })
		}
		return storage.LeaseOver
	}
	if s == nil || s.token != l.Token {
		return storage.LeaseLost
	}
	if c.Kind == storage.KindRelease {
		m.end(name)
		return storage.LeaseReleased
	}
	if l.TTL != 0 {
		s.holder.TTL = l.TTL
	}
	s.deadline = m.clock + s.holder.TTL + 1
	return storage.LeaseGranted
}

func (m *leaseModel) acquire(s *leaseState, l storage.LeaseCommand) storage.LeaseReplyKind {
	switch {
	case m.over[l.Waiter]:
		return storage.LeaseOver
	case s == nil:
		m.leases[string(l.Name)] = m.grant(l)
		return storage.LeaseGranted
	case s.holder.Waiter == l.Waiter:
		return storage.LeaseGranted
	case slices.ContainsFunc(s.line, func(w leaseWait) bool { return w.Waiter == l.Waiter }):
		return storage.LeaseQueued
	case l.Wait == 0:
		return storage.LeaseHeld
	}
	s.line = append(s.line, leaseWait{l, m.clock + l.Wait})
	return storage.LeaseQueued
}

// lapse ends what is due in the order of time; what falls on one millisecond in that of leases by name, then waits.
func (m *leaseModel) lapse() {
	type due struct {
		at     storage.Millis
		name   string
		waiter storage.WaiterID
	}
	var all []due
	for name, s := range m.leases {
		all = append(all, due{at: s.deadline, name: name})
		for _, w := range s.line {
			all = append(all, due{w.until, name, w.Waiter})
		}
	}
	slices.SortFunc(all, func(a, b due) int {
		switch {
		case a.at != b.at:
			return int(a.at) - int(b.at)
		case a.waiter != b.waiter:
			return a.waiter.Compare(b.waiter)
		case a.name < b.name:
			return -1
		}
		return 1
	})
	for _, d := range all {
		switch s := m.leases[d.name]; {
		case d.at > m.clock:
			return
		case d.waiter == storage.WaiterID{}:
			m.end(d.name)
		default:
			s.line = slices.DeleteFunc(s.line, func(w leaseWait) bool { return w.Waiter == d.waiter })
		}
	}
}

// TestLeaseModel: any commands, with restarts and moves between them, leave what the model says, the tokens included.
// Clocks stay below WaiterTTL, so that no waiter's end is forgotten.
func TestLeaseModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newReplica(t, 1)
		m := &leaseModel{leases: map[string]*leaseState{}, over: map[storage.WaiterID]bool{}}
		last := map[string]storage.Version{}
		fresh := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			c := drawLease(t, &fresh, m)
			want := m.apply(c)
			res := r.apply(c)
			if res.Lease == nil || res.Lease.Kind != want {
				t.Fatalf("%v %+v: got %+v, want kind %d", c.Kind, c.Lease, res.Lease, want)
			}
			switch rapid.IntRange(0, 9).Draw(t, "disturb") {
			case 0:
				r.open()
			case 1:
				b := r.snapshot()
				*r = *newReplica(t, 1)
				r.must(r.install(b))
			}
			r.verify()
			r.checkLeasesReopened()
			m.compare(t, r, last)
		}
	})
}

func drawLease(t *rapid.T, fresh *uint64, m *leaseModel) *storage.Command {
	c := &storage.Command{Clock: m.clock + storage.Millis(rapid.IntRange(0, 40).Draw(t, "pass")), Limit: storage.MaxLapse}
	c.Kind = rapid.SampledFrom([]storage.Kind{
		storage.KindAcquire, storage.KindAcquire, storage.KindAcquire, storage.KindCancel, storage.KindRenew, storage.KindRelease,
		storage.KindRelease, storage.KindLapse,
	}).Draw(t, "kind")
	if c.Kind == storage.KindLapse {
		return c
	}
	name := rapid.SampledFrom([]string{"a", "b", "a\x00"}).Draw(t, "name")
	l := &storage.LeaseCommand{Name: []byte(name)}
	switch c.Kind {
	case storage.KindAcquire, storage.KindCancel:
		number := rapid.Uint64Range(1, max(1, *fresh)).Draw(t, "number")
		if c.Kind == storage.KindAcquire {
			*fresh++
			number = *fresh
			l.Owner, l.TTL = fmt.Sprint("o", number), storage.Millis(rapid.IntRange(1, 100).Draw(t, "ttl"))
			l.Wait = storage.Millis(rapid.IntRange(0, 2).Draw(t, "wait") * 50)
		}
		l.Waiter = storage.WaiterID{Node: 1, Incarnation: 1, Number: number}
		repeat(t, m, c.Kind, l)
	default:
		l.Token, l.TTL = storage.Version(rapid.Uint64Range(1, uint64(m.revision)+1).Draw(t, "token")), 0
		if s := m.leases[name]; s != nil && rapid.Bool().Draw(t, "right") {
			l.Token = s.token
		}
		if c.Kind == storage.KindRenew {
			l.TTL = storage.Millis(rapid.IntRange(0, 50).Draw(t, "ttl"))
		}
	}
	c.Lease = l
	return c
}

// repeat makes of a command, now and then, one about somebody who is there; never one with the id of another lease.
func repeat(t *rapid.T, m *leaseModel, k storage.Kind, l *storage.LeaseCommand) {
	s := m.leases[string(l.Name)]
	if k == storage.KindCancel {
		for name, other := range m.leases {
			if other.holder.Waiter == l.Waiter || slices.ContainsFunc(other.line, func(w leaseWait) bool { return w.Waiter == l.Waiter }) {
				l.Name = []byte(name)
			}
		}
		return
	}
	if s == nil || rapid.IntRange(0, 3).Draw(t, "again") != 0 {
		return
	}
	l.Again = true
	if n := len(s.line); n > 0 && rapid.Bool().Draw(t, "waits") {
		l.Waiter = s.line[rapid.IntRange(0, n-1).Draw(t, "which")].Waiter
		return
	}
	l.Waiter = s.holder.Waiter
}

func (m *leaseModel) compare(t *rapid.T, r *replica, last map[string]storage.Version) {
	held, waiting := 0, 0
	for _, name := range []string{"a", "b", "a\x00"} {
		got, err := r.lease(name, 0)
		s := m.leases[name]
		if (err == nil) != (s != nil) {
			t.Fatalf("%q: %+v %v, want %+v", name, got, err, s)
		}
		if s == nil {
			continue
		}
		held, waiting = held+1, waiting+len(s.line)
		left := storage.Millis(1)
		if s.deadline > m.clock {
			left = min(s.deadline-m.clock, s.holder.TTL)
		}
		if got.Token != s.token || got.Owner != s.holder.Owner || got.TTL != left || got.Waiters != len(s.line) {
			t.Fatalf("%q: %+v, want %+v", name, got, s)
		}
		if got.Token < last[name] {
			t.Fatalf("%q: token %d after %d", name, got.Token, last[name])
		}
		last[name] = got.Token
	}
	if h, w := r.p.Leases(); h != held || w != waiting {
		t.Fatalf("%d held, %d wait; want %d and %d", h, w, held, waiting)
	}
}
