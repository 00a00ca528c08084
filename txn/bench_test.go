package txn_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// BenchmarkTransaction is all that the core does for one transaction that meets nobody: plan, prepares, votes, answer,
// commits, acks.
func BenchmarkTransaction(b *testing.B) {
	rg, err := ring.New(64)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 2, 5} {
		r := &txn.Request{}
		for i := range n {
			key := keyIn(rg, storage.PartitionID(i))
			r.Then = append(r.Then, storage.TxnOp{Kind: storage.OpAdd, Key: key, By: 1})
		}
		b.Run(fmt.Sprintf("groups=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				walk(b, rg, r)
			}
		})
	}
}

func walk(b *testing.B, rg *ring.Ring, r *txn.Request) {
	plan, err := txn.NewPlan(rg, r)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Unix(1000, 0)
	c := txn.NewCoordinator(txn.Config{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Plan: plan, Deadline: now.Add(time.Second)})
	sends := append([]txn.Send(nil), c.Step(now, txn.Start{}).Send...)
	for len(sends) > 0 {
		var next []txn.Send
		for i := range sends {
			s := &sends[i]
			reply := &storage.TxnReply{Kind: storage.ReplyAck, Attempt: 1}
			switch s.Kind {
			case storage.KindPrepare:
				reply.Kind, reply.Vote = storage.ReplyYes, &storage.Vote{}
			case storage.KindSingle:
				reply.Kind, reply.Decision, reply.Vote = storage.ReplyCommitted, storage.DecideThen, &storage.Vote{}
			}
			next = append(next, c.Step(now, &txn.Reply{From: s.To, Ref: s.Ref, Reply: reply}).Send...)
		}
		sends = next
	}
	if c.Phase() != txn.Finished {
		b.Fatal(c.Phase())
	}
}

func BenchmarkFormatID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		txn.FormatID(storage.TxnID{Node: 3, Incarnation: 17, Seq: 123_456}, 12, "b2f0e8a6-4a6f-4d0e-9c39-0f5f7e1d2c3b")
	}
}
