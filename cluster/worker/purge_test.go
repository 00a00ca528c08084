package worker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
)

// expired is a machine with so many keys in each of two partitions that have expired at once, and nothing purged of them yet.
func expired(t *testing.T, keys int) *machine {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	for i := range keys {
		m.putTTLIn(0, fmt.Sprint(i), time.Second)
		m.putTTLIn(1, fmt.Sprint(i), time.Second)
	}
	m.passAsked(2*time.Second, nil)
	for p := range ring.PartitionID(2) {
		if live, _ := m.keysIn(p); live != 0 {
			t.Fatalf("%d keys of partition %d have not expired", live, p)
		}
	}
	return m
}

// passAsked lets time go by in steps of 10 ms, with a request in each, and looks at what is left to purge after each.
func (m *machine) passAsked(d time.Duration, look func(left int)) {
	m.t.Helper()
	for end := m.now + d; m.now < end; {
		m.now += 10 * time.Millisecond
		if m.now%(100*time.Millisecond) == 0 {
			m.worker.Tick(m.now)
		}
		m.ask(&worker.Op{Group: 0, Kind: worker.Read})
		if err := m.turn(); err != nil {
			m.t.Fatal(err)
		}
		m.settle()
		if look != nil {
			look(m.toPurge())
		}
	}
}

func (m *machine) toPurge() int {
	_, one := m.keysIn(0)
	_, other := m.keysIn(1)
	return one + other
}

// Beside requests a part of the backlog goes in every second, in small entries, and all of it within a few minutes.
func TestPurgeIsPacedBesideRequests(t *testing.T) {
	const keys = 6000
	m := expired(t, keys)
	begin := m.toPurge()
	if begin < 2*keys*9/10 {
		t.Fatalf("%d of %d keys are left to purge after two seconds beside requests", begin, 2*keys)
	}
	before := begin
	m.passAsked(30*time.Second, func(left int) {
		if before-left > 4*64 {
			t.Fatalf("%d keys purged within 10 ms", before-left)
		}
		before = left
	})
	if gone := begin - before; gone < begin/10 || gone > begin/4 {
		t.Errorf("%d of %d keys purged within 30 s, want about a sixth", gone, begin)
	}
	m.passAsked(6*time.Minute, nil)
	if left := m.toPurge(); left > 0 {
		t.Errorf("%d keys are left after six minutes", left)
	}
}

// Where nobody asks for anything all of it goes at once.
func TestPurgeIsFastAtRest(t *testing.T) {
	m := expired(t, 3000)
	m.pass(2 * time.Second)
	if left := m.toPurge(); left > 0 {
		t.Errorf("%d keys are left after two seconds at rest", left)
	}
}

// A disk that fills up is a reason to hurry.
func TestPurgeIsFastOnAFullDisk(t *testing.T) {
	m := expired(t, 3000)
	m.worker.SetSpace(worker.Low, nil)
	m.passAsked(time.Second, nil)
	if left := m.toPurge(); left > 0 {
		t.Errorf("%d keys are left after a second on a disk that is nearly full", left)
	}
}
