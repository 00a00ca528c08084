package storage_test

import (
	"bytes"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// TestTxnInvalid: what decodes but breaks a limit, or makes no sense, changes nothing on any replica.
func TestTxnInvalid(t *testing.T) {
	op := storage.TxnOp{Kind: storage.OpPut, Key: []byte("a"), Value: []byte("v")}
	cond := storage.TxnCondition{Test: storage.TestExists, Key: []byte("a")}
	prepare := func(change func(c *storage.Command, p *storage.Prepare)) storage.Command {
		p := &storage.Prepare{Protocol: storage.Auto, Participants: []storage.PartitionID{1, 9}, Partitions: 2, Then: []storage.TxnOp{op}}
		c := storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{
			ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Home: 1, Prepare: p,
		}}
		change(&c, p)
		return c
	}
	with := func(k storage.Kind, change func(x *storage.TxnCommand)) storage.Command {
		x := &storage.TxnCommand{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Home: 1}
		change(x)
		return storage.Command{Kind: k, Txn: x}
	}
	type cmd = storage.Command
	type part = storage.Prepare
	for name, c := range map[string]cmd{
		"a clock out of range":      prepare(func(c *cmd, _ *part) { c.Clock = 1<<52 + 1 }),
		"no node":                   prepare(func(c *cmd, _ *part) { c.Txn.ID.Node = 0 }),
		"no incarnation":            prepare(func(c *cmd, _ *part) { c.Txn.ID.Incarnation = 0 }),
		"the last incarnation":      prepare(func(c *cmd, _ *part) { c.Txn.ID.Incarnation = 1<<32 - 1 }),
		"no seq":                    prepare(func(c *cmd, _ *part) { c.Txn.ID.Seq = 0 }),
		"a seq out of range":        prepare(func(c *cmd, _ *part) { c.Txn.ID.Seq = 1 << 63 }),
		"a mark out of range":       prepare(func(c *cmd, _ *part) { c.Txn.Mark = 1 << 63 }),
		"no attempt":                prepare(func(c *cmd, _ *part) { c.Txn.Attempt = 0 }),
		"attempt ∞":                 prepare(func(c *cmd, _ *part) { c.Txn.Attempt = storage.Sealed }),
		"another home":              prepare(func(c *cmd, _ *part) { c.Txn.Home = 9 }),
		"no participant":            prepare(func(_ *cmd, p *part) { p.Participants = nil }),
		"too many participants":     prepare(func(_ *cmd, p *part) { p.Participants = ascending(storage.MaxTxnParticipants + 1) }),
		"participants out of order": prepare(func(_ *cmd, p *part) { p.Participants = []storage.PartitionID{1, 9, 4} }),
		"no protocol":               prepare(func(_ *cmd, p *part) { p.Protocol = 0 }),
		"1pc in a prepare":          prepare(func(_ *cmd, p *part) { p.Protocol = storage.OnePhase }),
		"auto in a single":          prepare(func(c *cmd, p *part) { c.Kind, p.Participants = storage.KindSingle, p.Participants[:1] }),
		"a single of two":           prepare(func(c *cmd, p *part) { c.Kind, p.Protocol = storage.KindSingle, storage.OnePhase }),
		"Q is 0":                    prepare(func(_ *cmd, p *part) { p.Partitions = 0 }),
		"Q is no power of two":      prepare(func(_ *cmd, p *part) { p.Partitions = 3 }),
		"Q is too large":            prepare(func(_ *cmd, p *part) { p.Partitions = 1 << 16 }),
		"an empty key":              prepare(func(_ *cmd, p *part) { p.Then[0].Key = nil }),
		"a key that is too long":    prepare(func(_ *cmd, p *part) { p.Then[0].Key = make([]byte, storage.MaxKeyBytes+1) }),
		"a TTL out of range":        prepare(func(_ *cmd, p *part) { p.Then[0].TTL = storage.MaxTTL + 1 }),
		"both a TTL and keep":       prepare(func(_ *cmd, p *part) { p.Then[0].TTL, p.Then[0].KeepTTL = 1, true }),
		"an empty key in else":      prepare(func(_ *cmd, p *part) { p.HasElse, p.Else = true, []storage.TxnOp{{Kind: storage.OpGet}} }),
		"an empty key in if":        prepare(func(_ *cmd, p *part) { p.If = []storage.TxnCondition{{Test: storage.TestExists}} }),
		"a version out of range": prepare(func(_ *cmd, p *part) {
			p.If = []storage.TxnCondition{{Test: storage.TestVersion, Key: []byte("a"), Want: 1 << 53}}
		}),
		"too many items": prepare(func(_ *cmd, p *part) {
			for range storage.MaxTxnItems {
				p.If = append(p.If, cond)
			}
		}),
		"too many bytes": prepare(func(_ *cmd, p *part) {
			p.Then = append(p.Then, storage.TxnOp{Kind: storage.OpPut, Key: []byte("c"), Value: make([]byte, storage.MaxTxnBytes)})
		}),
		"decide to abort":       with(storage.KindDecide, func(x *storage.TxnCommand) { x.Decision = storage.DecideAbort }),
		"commit of an abort":    with(storage.KindCommit, func(x *storage.TxnCommand) { x.Decision = storage.DecideAbort }),
		"commit of nothing yet": with(storage.KindCommit, func(x *storage.TxnCommand) {}),
		"too long an answer": with(storage.KindCommit, func(x *storage.TxnCommand) {
			x.Decision, x.Answer = storage.DecideThen, make([]byte, storage.MaxAnswerBytes+1)
		}),
		"a proposal of nothing": with(storage.KindPropose, func(x *storage.TxnCommand) {}),
		"a mark with a seq":     with(storage.KindMark, func(x *storage.TxnCommand) { x.Attempt, x.Home, x.Mark = 0, 0, 5 }),
		"a close with a mark":   with(storage.KindClose, func(x *storage.TxnCommand) { x.ID.Seq, x.Attempt, x.Home, x.Mark = 0, 0, 0, 5 }),
		"a forget with a seq":   with(storage.KindForget, func(x *storage.TxnCommand) { x.Attempt, x.Home = 0, 0 }),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, theirs)
			before := r.snapshot()
			if res := r.apply(&c); res.Status != storage.StatusInvalid || res.Txn != nil {
				t.Errorf("got %v %+v", res.Status, res.Txn)
			}
			if r.p.Meta().Applied != 1 || r.cells() != "\n" || r.p.Locks().Len() != 0 {
				t.Errorf("something was done: %+v, %s", r.p.Meta(), r.cells())
			}
			if bytes.Equal(before, r.snapshot()) {
				t.Error("the entry was not counted")
			}
		})
	}
}

func ascending(n int) []storage.PartitionID {
	ids := make([]storage.PartitionID, n)
	for i := range ids {
		ids[i] = storage.PartitionID(i + 1)
	}
	return ids
}

// TestForgetAndSweepInABatch: marks that wait for the flush do not come back after they were dropped.
func TestForgetAndSweepInABatch(t *testing.T) {
	r := newReplica(t, theirs)
	old, next := storage.TxnID{Node: 1, Incarnation: 1}, storage.TxnID{Node: 1, Incarnation: 2}
	var entries [][]byte
	for _, c := range []storage.Command{
		{Kind: storage.KindMark, Txn: &storage.TxnCommand{ID: old, Mark: 7}},
		{Kind: storage.KindClose, Txn: &storage.TxnCommand{ID: next}},
		{Kind: storage.KindForget, Txn: &storage.TxnCommand{ID: next}},
		{Kind: storage.KindSweep, Limit: 1},
	} {
		entries = append(entries, storage.AppendCommand(nil, &c))
	}
	r.applyAll(entries)
	if got, want := r.cells(), "marks=1\n"; got != want {
		t.Fatalf("left %s, want %s", got, want)
	}
	r.checkReopened()
}
