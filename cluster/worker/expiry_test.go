package worker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/storage"
)

// pass lets time go by in ticks of 100 ms.
func (m *machine) pass(d time.Duration) {
	m.t.Helper()
	for end := m.now + d; m.now < end; {
		m.now += 100 * time.Millisecond
		m.worker.Tick(m.now)
		m.settle()
	}
}

func (m *machine) exists(key string) bool {
	m.t.Helper()
	v := m.engine.View()
	defer v.Close()
	_, err := storage.Get(v, 0, []byte(key))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		m.t.Fatal(err)
	}
	return err == nil
}

func (m *machine) putTTL(key string, ttl time.Duration) {
	m.t.Helper()
	c := storage.Command{Kind: storage.KindPut, Key: []byte(key), TTL: storage.Millis(ttl.Milliseconds())}
	a := m.ask(&worker.Op{Group: 0, Kind: worker.Write, Data: storage.AppendCommand(nil, &c)})
	m.settle()
	a.want(m.t, nil)
}

// A key lives its whole TTL, counted on the partition's clock, and goes within a second of it.
func TestKeysExpireOnTime(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.putTTL("short", 2*time.Second)
	m.putTTL("long", 5*time.Second)
	m.pass(2 * time.Second)
	if !m.exists("short") {
		t.Error("gone at the end of its TTL: early, for its client heard of it later than the clock began")
	}
	m.pass(time.Second)
	if m.exists("short") {
		t.Error("still there a second after its TTL")
	}
	if !m.exists("long") {
		t.Error("another key went with it")
	}
	m.pass(3 * time.Second)
	if m.exists("long") {
		t.Error("the second key is still there a second after its TTL")
	}
}

// The partition's clock does not go back when a node starts again, nor does it run while nobody counts: a key may live
// longer for that, never shorter.
func TestExpiryAfterARestart(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	m.putTTL("k", 3*time.Second)
	m.pass(2 * time.Second)
	m.powercut()
	m.now += time.Hour // nobody counted
	m.open()
	m.settle()
	m.pass(500 * time.Millisecond)
	if !m.exists("k") {
		t.Fatal("gone early: time in which the node did not run was counted")
	}
	m.pass(4 * time.Second)
	if m.exists("k") {
		t.Error("never goes")
	}
}

// Many keys that expire at once go in bounded steps, all of them soon.
func TestManyKeysExpireTogether(t *testing.T) {
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	const keys = 500
	for i := range keys {
		m.putTTL(string(rune('a'+i%26))+time.Duration(i).String(), time.Second)
	}
	m.pass(3 * time.Second)
	v := m.engine.View()
	defer v.Close()
	left, _, err := storage.Scan(v, 0, storage.ScanOptions{KeysOnly: true})
	if err != nil || len(left) > 0 {
		t.Errorf("%d of %d keys left two seconds late, %v", len(left), keys, err)
	}
}
