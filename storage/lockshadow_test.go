package storage_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// That a shadow falls on every key that is locked, and on none where nothing is, is looked at behind every entry that any test
// applies: replica.shadow.

// shadowKeys meet every mark of a shadow.
var shadowKeys = func() (keys [][]byte) {
	for i := range 256 {
		keys = append(keys, []byte{byte(i)})
	}
	return keys
}()

// locking is a part of partition 0, alone, with one operation of each kind given.
func locking(ops ...storage.TxnOp) *storage.Prepare {
	return &storage.Prepare{Protocol: storage.Auto, Participants: []storage.PartitionID{0}, Partitions: 1, Then: ops}
}

func opOf(k storage.OpKind, key string) storage.TxnOp {
	op := storage.TxnOp{Kind: k, Key: []byte(key)}
	if k == storage.OpPut {
		op.Value = []byte("v")
	}
	return op
}

func ended(kind storage.Kind, seq uint64) *storage.Command {
	c := prepared(seq, nil)
	c.Kind = kind
	if kind == storage.KindCommit {
		c.Txn.Decision = storage.DecideThen
	}
	return c
}

// hold prepares a part, which must be possible.
func (r *replica) hold(seq uint64, p *storage.Prepare) {
	r.t.Helper()
	if reply := r.apply(prepared(seq, p)).Txn; reply.Kind != storage.ReplyYes {
		r.t.Fatalf("transaction %d: %+v", seq, reply)
	}
}

// under tells whether any shadow falls at all.
func (r *replica) under() bool {
	return slices.ContainsFunc(shadowKeys, r.p.LockShadow().Falls)
}

func TestShadowOfALock(t *testing.T) {
	conditions := locking(opOf(storage.OpGet, "a"))
	conditions.If = []storage.TxnCondition{
		{Test: storage.TestAbsent, Key: []byte("b")},
		{Test: storage.TestToken, Key: []byte("m"), Want: 1},
	}
	token := locking(opOf(storage.OpGet, "a"))
	token.Token = &storage.Token{Key: [16]byte{7}}
	for name, c := range map[string]struct {
		part *storage.Prepare
		key  string // on which it falls; none if empty
	}{
		"put":                          {locking(opOf(storage.OpPut, "k")), "k"},
		"delete":                       {locking(opOf(storage.OpDelete, "k")), "k"},
		"put behind a get":             {locking(opOf(storage.OpGet, "k"), opOf(storage.OpPut, "k")), "k"},
		"get":                          {locking(opOf(storage.OpGet, "k")), ""},
		"conditions, on a lock's name": {conditions, ""},
		"token":                        {token, ""},
	} {
		for _, end := range []storage.Kind{storage.KindCommit, storage.KindAbort} {
			t.Run(fmt.Sprintf("%s, %v", name, end), func(t *testing.T) {
				r := newReplica(t, 0)
				r.hold(1, c.part)
				if r.p.Locks().Len() == 0 {
					t.Fatal("nothing is locked")
				}
				if c.key == "" && r.under() || c.key != "" && !r.p.LockShadow().Falls([]byte(c.key)) {
					t.Error("falls where it should not, or not where it should")
				}
				r.open() // the locks are found again
				if c.key == "" && r.under() || c.key != "" && !r.p.LockShadow().Falls([]byte(c.key)) {
					t.Error("another one after a restart")
				}
				r.apply(ended(end, 1))
				if r.under() {
					t.Error("falls in the end")
				}
			})
		}
	}
}

// It falls in about one of sixty places, not everywhere.
func TestShadowIsSmall(t *testing.T) {
	r := newReplica(t, 0)
	r.hold(1, locking(opOf(storage.OpPut, "k")))
	n := 0
	for _, key := range shadowKeys {
		if r.p.LockShadow().Falls(key) {
			n++
		}
	}
	if n == 0 || n > len(shadowKeys)/20 {
		t.Errorf("falls on %d of %d other keys", n, len(shadowKeys))
	}
}

// A later attempt takes the locks of the one before it over: what both lock stays in the shadow, what only the first one did
// comes out.
func TestShadowOfALaterAttempt(t *testing.T) {
	r := newReplica(t, 0)
	r.hold(1, locking(opOf(storage.OpPut, "both"), opOf(storage.OpPut, "first")))
	again := prepared(1, locking(opOf(storage.OpPut, "both"), opOf(storage.OpPut, "second")))
	again.Txn.Attempt = 2
	if reply := r.apply(again).Txn; reply.Kind != storage.ReplyYes {
		t.Fatalf("got %+v", reply)
	}
	for key, want := range map[string]bool{"both": true, "first": false, "second": true} {
		if got := r.p.LockShadow().Falls([]byte(key)); got != want {
			t.Errorf("on %q: %v", key, got)
		}
	}
	end := ended(storage.KindCommit, 1)
	end.Txn.Attempt = 2
	r.apply(end)
	if r.under() {
		t.Error("falls in the end")
	}
}

// What is released stays in the shadow until the batch with the effects is committed, however often it is locked again.
func TestShadowUntilTheBatchIsVisible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newReplica(t, 0)
		key := []byte("k")
		r.hold(1, locking(opOf(storage.OpPut, "k")))
		b := r.e.Batch()
		defer b.Discard()
		seq, held := uint64(1), true
		for range rapid.IntRange(1, 9).Draw(t, "entries") {
			c := ended(rapid.SampledFrom([]storage.Kind{storage.KindCommit, storage.KindAbort}).Draw(t, "end"), seq)
			if !held {
				seq++
				c = prepared(seq, locking(opOf(storage.OpPut, "k")))
			}
			held = !held
			_, err := r.p.Apply(b, r.p.Meta().Applied+1, 1, storage.AppendCommand(nil, c))
			r.must(err)
			if _, locked := r.p.Locks().XLocked(key); locked != held || !r.p.LockShadow().Falls(key) {
				t.Fatalf("locked %v, want %v; shadow %v", locked, held, r.p.LockShadow().Falls(key))
			}
		}
		r.must(r.p.Flush(b))
		r.must(b.Commit())
		r.fall([][]byte{key})
		r.p.Visible()
		if got := r.p.LockShadow().Falls(key); got != held {
			t.Fatalf("locked %v, shadow %v", held, got)
		}
	})
}

// Readers who find no shadow on a key, and then look at it, see what was decided before: they look at any time, from any
// goroutine.
func TestShadowIsReadByOthers(t *testing.T) {
	r := newReplica(t, 0)
	const keys, rounds, readers = 4, 300, 3
	var mu sync.Mutex // guards decided
	decided := make([]int, keys)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	shadow := r.p.LockShadow()
	for range readers {
		wg.Go(func() {
			for i := 0; ; i = (i + 1) % keys {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				least := decided[i]
				mu.Unlock()
				if shadow.Falls(fmt.Appendf(nil, "k%d", i)) {
					continue
				}
				item, err := r.get(fmt.Sprintf("k%d", i))
				got, _ := strconv.Atoi(string(item.Value))
				if got < least {
					t.Errorf("k%d is %d, %v, and %d was decided", i, got, err, least)
				}
			}
		})
	}
	for n := range rounds {
		seq, i := uint64(n+1), n%keys
		op := opOf(storage.OpPut, fmt.Sprintf("k%d", i))
		op.Value = strconv.AppendInt(nil, int64(seq), 10)
		r.hold(seq, locking(op))
		mu.Lock()
		decided[i] = int(seq)
		mu.Unlock()
		r.apply(ended(storage.KindCommit, seq))
	}
	close(stop)
	wg.Wait()
}
