package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// prepared is a transaction that put its key in one partition and has not been decided.
type prepared struct {
	t *testing.T
	n *cluster.Node
	p ring.PartitionID
	c storage.TxnCommand
}

// prepare has key's partition vote for a put of value, or a delete if value is empty.
func prepare(t *testing.T, n *cluster.Node, seq uint64, key, value string) prepared {
	t.Helper()
	p := n.Ring().Partition([]byte(key))
	op := storage.TxnOp{Kind: storage.OpPut, Key: []byte(key), Value: []byte(value)}
	if value == "" {
		op = storage.TxnOp{Kind: storage.OpDelete, Key: []byte(key)}
	}
	c := storage.TxnCommand{ID: storage.TxnID{Node: n.ID(), Incarnation: 1, Seq: seq}, Attempt: 1, Home: p}
	pr := prepared{t, n, p, c}
	c.Prepare = &storage.Prepare{Protocol: storage.Auto, Participants: []ring.PartitionID{p}, Partitions: 8, Then: []storage.TxnOp{op}}
	if reply := pr.send(storage.KindPrepare, c); reply.Kind != storage.ReplyYes {
		t.Fatalf("prepare: %+v", reply)
	}
	return pr
}

func (p prepared) send(kind storage.Kind, c storage.TxnCommand) *storage.TxnReply {
	p.t.Helper()
	res, err := p.n.Transact(p.t.Context(), p.p, storage.AppendCommand(nil, &storage.Command{Kind: kind, Txn: &c}))
	if err != nil || res.Txn == nil {
		p.t.Fatalf("transact: %+v, %v", res, err)
	}
	return res.Txn
}

func (p prepared) commit() {
	p.t.Helper()
	p.c.Decision = storage.DecideThen
	if reply := p.send(storage.KindCommit, p.c); reply.Kind != storage.ReplyAck {
		p.t.Fatalf("commit: %+v", reply)
	}
}

func (p prepared) state(n *cluster.Node) storage.TxnStatus {
	p.t.Helper()
	st, err := n.TxnState(p.t.Context(), p.p, p.c.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	return st
}

// soon is a context that ends after a while; its last eighth must be enough for an answer on a busy machine.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Through whichever node: nobody sees or changes what a transaction holds, and everybody sees what it did.
func TestLockedKeys(t *testing.T) {
	nodes := pair(t, nil)
	for i, n := range nodes {
		key := fmt.Sprintf("k%d", i)
		put(t, n, key, "old")
		p := prepare(t, n, uint64(i+1), key, "new")
		if st := p.state(nodes[1-i]); st.State != storage.TxnYes || st.Open == nil || st.Open.ID != p.c.ID {
			t.Fatalf("state %+v", st)
		}
		refused(t, nodes, key, p.p)
		p.commit()
		if st := p.state(nodes[1-i]); st.State != storage.TxnCommitted || st.Decision != storage.DecideThen {
			t.Fatalf("state %+v", st)
		}
		for _, n := range nodes {
			if it, err := n.Get(t.Context(), []byte(key), false); err != nil || string(it.Value) != "new" {
				t.Errorf("get: %q, %v", it.Value, err)
			}
		}
	}
}

// refused has each node try everything that a locked key stands in the way of, all at once, as each waits for its time.
func refused(t *testing.T, nodes []*cluster.Node, key string, p ring.PartitionID) {
	t.Helper()
	var wg sync.WaitGroup
	locked := func(what string, try func() error) {
		wg.Go(func() {
			if err := try(); !errors.Is(err, cluster.ErrLocked) || errors.Is(err, cluster.ErrUnknownOutcome) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	for _, n := range nodes {
		locked("get", func() error {
			_, err := n.Get(soon(t), []byte(key), false)
			return err
		})
		locked("put", func() error {
			_, _, err := n.Write(soon(t), cluster.Write{Key: []byte(key), Value: []byte("mine")})
			return err
		})
		locked("read keys", func() error {
			_, err := n.ReadKeys(soon(t), p, [][]byte{[]byte("other"), []byte(key)}, nil)
			return err
		})
		locked("list", func() error {
			_, err := n.List(soon(t), cluster.List{Start: []byte(key), Limit: 9, MaxBytes: 1 << 20})
			return err
		})
	}
	wg.Wait()
	for _, n := range nodes { // now: a follower hears a little later of what is committed
		if it, err := n.Get(t.Context(), []byte(key), true); err != nil || string(it.Value) != "old" {
			t.Errorf("stale get: %q, %v", it.Value, err)
		}
	}
}

// waiting waits until at least so many requests wait for locks.
func waiting(t *testing.T, nodes []*cluster.Node, want int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		got := 0
		for _, n := range nodes {
			for _, g := range n.Stats(t.Context()).Groups {
				got += g.Waiting
			}
		}
		if got >= want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d requests wait, want %d", got, want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestWaitersGoOn(t *testing.T) {
	nodes := pair(t, nil)
	p := prepare(t, nodes[0], 1, "k", "txn")
	type answer struct {
		value string
		err   error
	}
	got, written := make(chan answer, 2), make(chan error, 1)
	for _, n := range nodes {
		go func() {
			it, err := n.Get(t.Context(), []byte("k"), false)
			got <- answer{string(it.Value), err}
		}()
	}
	waiting(t, nodes, 2)
	go func() {
		_, _, err := nodes[1].Write(t.Context(), cluster.Write{Key: []byte("k"), Cond: storage.Condition{IfMatchAny: true}, Value: []byte("put")})
		written <- err
	}()
	waiting(t, nodes, 3)
	p.commit()
	for range nodes {
		if a := <-got; a.err != nil || a.value != "txn" && a.value != "put" {
			t.Errorf("%q, %v", a.value, a.err)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A listing is a GET of each item: those that transactions hold are waited for, whether they appear, change or go.
func TestListWaitsForLockedKeys(t *testing.T) {
	nodes := pair(t, nil)
	want := make(map[string]string)
	var open []prepared
	for i := range 30 {
		key := fmt.Sprintf("k%02d", i)
		if i%3 > 0 { // 0: absent before
			put(t, nodes[0], key, "old")
			want[key] = "old"
		}
		switch i % 6 {
		case 0, 1:
			open = append(open, prepare(t, nodes[i/15], uint64(i+1), key, "new"))
			want[key] = "new"
		case 2:
			open = append(open, prepare(t, nodes[i/15], uint64(i+1), key, ""))
			delete(want, key)
		}
	}
	pages := make(chan cluster.Page, 2)
	for i, n := range nodes {
		go func() {
			page, err := n.List(t.Context(), cluster.List{Start: []byte("k"), Limit: 100, MaxBytes: 1 << 20, KeysOnly: i == 1})
			if err != nil {
				t.Error(err)
			}
			pages <- page
		}()
	}
	waiting(t, nodes, 2)
	for _, p := range open {
		p.commit()
	}
	for range nodes {
		page := <-pages
		got := make(map[string]string)
		for _, it := range page.Items {
			got[string(it.Key)] = string(it.Value)
		}
		for key, value := range want {
			if v, ok := got[key]; !ok || v != value && v != "" {
				t.Errorf("%s is %q, listed %v", key, v, ok)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d items, want %d", len(got), len(want))
		}
	}
}

// A page whose every item is deleted meanwhile does not end the listing.
func TestListGoesOnBehindDeletedItems(t *testing.T) {
	c := config(t, "n1")
	c.Partitions = 1
	n := start(t, c)
	ready(t, n)
	var open []prepared
	for i := range 6 {
		key := fmt.Sprintf("k%d", i)
		put(t, n, key, "v")
		if i < 4 {
			op := storage.TxnOp{Kind: storage.OpDelete, Key: []byte(key)}
			cmd := storage.TxnCommand{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: uint64(i + 1)}, Attempt: 1}
			p := prepared{t, n, 0, cmd}
			cmd.Prepare = &storage.Prepare{Protocol: storage.Auto, Participants: []ring.PartitionID{0}, Partitions: 1, Then: []storage.TxnOp{op}}
			if reply := p.send(storage.KindPrepare, cmd); reply.Kind != storage.ReplyYes {
				t.Fatalf("%+v", reply)
			}
			open = append(open, p)
		}
	}
	pages := make(chan cluster.Page)
	go func() {
		page, err := n.List(t.Context(), cluster.List{Start: []byte("k"), Limit: 2, MaxBytes: 1 << 20})
		if err != nil {
			t.Error(err)
		}
		pages <- page
	}()
	waiting(t, []*cluster.Node{n}, 2)
	for _, p := range open {
		p.commit()
	}
	if page := <-pages; len(page.Items) != 2 || string(page.Items[0].Key) != "k4" || page.Next != nil {
		t.Errorf("%d items, next %q", len(page.Items), page.Next)
	}
}

func TestOnStuckReachesTheNode(t *testing.T) {
	told := make(chan storage.OpenTxn, 100)
	nodes := pair(t, func(c *cluster.Config) {
		c.OnStuck = func(_ ring.PartitionID, o storage.OpenTxn) {
			select {
			case told <- o:
			default:
			}
		}
	})
	p := prepare(t, nodes[0], 1, "k", "v")
	if o := <-told; o.ID != p.c.ID || o.Attempt != 1 {
		t.Errorf("told of %+v", o)
	}
	p.commit()
}
