package txn_test

import (
	"testing"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// TestRunning: recoverers are kept away while the votes come in, until the deadline; not once it is decided.
func TestRunning(t *testing.T) {
	rg, err := ring.New(64)
	if err != nil {
		t.Fatal(err)
	}
	get := func(p storage.PartitionID) storage.TxnOp {
		return storage.TxnOp{Kind: storage.OpGet, Key: keyIn(rg, p)}
	}
	plan, err := txn.NewPlan(rg, &txn.Request{Then: []storage.TxnOp{get(1), get(4)}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	c := txn.NewCoordinator(txn.Config{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Plan: plan, Deadline: now.Add(time.Second)})
	expect := func(when string, at time.Time, want bool) {
		t.Helper()
		if got := c.Running(at); got != want {
			t.Errorf("%s: %t", when, got)
		}
	}
	expect("before the start", now, false)
	sends := append([]txn.Send(nil), c.Step(now, txn.Start{}).Send...)
	expect("preparing", now, true)
	expect("after the deadline", now.Add(time.Second), false)
	for _, s := range sends {
		yes := &storage.TxnReply{Kind: storage.ReplyYes, Attempt: 1, Vote: &storage.Vote{}}
		c.Step(now, &txn.Reply{From: s.To, Ref: s.Ref, Reply: yes})
	}
	expect("committing", now, false)
}
