package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// transact sends a command about transaction seq to the partition of key, which alone takes part.
func (c *crowd) transact(i int, kind storage.Kind, seq uint64, key string) *storage.TxnReply {
	c.t.Helper()
	p, err := c.nodes[i].partition([]byte(key))
	c.must("find partition", err)
	cmd := storage.TxnCommand{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}, Attempt: 1, Home: p}
	switch kind {
	case storage.KindPrepare:
		cmd.Prepare = &storage.Prepare{
			Protocol: storage.Auto, Participants: []ring.PartitionID{p}, Partitions: 4,
			Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte(key), Value: []byte("txn")}},
		}
	case storage.KindCommit:
		cmd.Decision = storage.DecideThen
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	res, err := c.nodes[i].Transact(ctx, p, storage.AppendCommand(nil, &storage.Command{Kind: kind, Txn: &cmd}))
	c.must("transact", err)
	return res.Txn
}

// Where there is no room a transaction is refused by a vote, which stands when there is room again; what has voted
// before is finished.
func TestFullDisksRefuseTransactions(t *testing.T) {
	c := newCrowd(t, 3)
	if reply := c.transact(0, storage.KindPrepare, 1, "a"); reply.Kind != storage.ReplyYes {
		t.Fatalf("%+v", reply)
	}
	c.fill(tight, 0, 1, 2)
	for i := range c.nodes {
		if reply := c.transact(i, storage.KindPrepare, 2, "b"); reply.Kind != storage.ReplyNo || reply.Reason != storage.DiskFull {
			t.Fatalf("%+v", reply)
		}
	}
	if reply := c.transact(1, storage.KindCommit, 1, "a"); reply.Kind != storage.ReplyAck {
		t.Fatalf("%+v", reply)
	}
	c.must("get of what was committed", c.get(2, "a", false))
	c.fill(plenty, 0, 1, 2)
	if reply := c.transact(0, storage.KindPrepare, 2, "b"); reply.Kind != storage.ReplyNo || reply.Reason != storage.DiskFull {
		t.Fatalf("the vote changed: %+v", reply)
	}
	if reply := c.transact(0, storage.KindPrepare, 3, "b"); reply.Kind != storage.ReplyYes {
		t.Fatalf("with room again: %+v", reply)
	}
}
