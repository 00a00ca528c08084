package badgerdb_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// coordinator makes transactions of one operation for the partitions of a putter, in steady state: marks follow, and
// what is finished is swept.
type coordinator struct {
	*putter
	seq   uint64
	clock storage.Millis
}

func (c *coordinator) command(k storage.Kind, seq uint64, p *storage.Prepare) *storage.Command {
	mark := uint64(1)
	if seq > 128 {
		mark = seq - 128
	}
	return &storage.Command{Kind: k, Clock: c.clock, Txn: &storage.TxnCommand{
		ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}, Attempt: 1, Home: p.Participants[0], Mark: mark, Prepare: p,
		Decision: storage.DecideThen,
	}}
}

func (c *coordinator) apply(b storage.Batch, part *storage.Partition, cmd *storage.Command) {
	res, err := part.Apply(b, part.Meta().Applied+1, 1, storage.AppendCommand(nil, cmd))
	if err != nil {
		c.b.Fatal(err)
	}
	if r := res.Txn; r != nil && r.Kind != storage.ReplyCommitted && r.Kind != storage.ReplyYes && r.Kind != storage.ReplyAck {
		c.b.Fatalf("%+v", r)
	}
}

// batch runs step for so many transactions, each in a partition of its own, and ends the batch as a worker does.
func (c *coordinator) batch(n int, step func(b storage.Batch, part *storage.Partition, seq uint64)) {
	c.b.Helper()
	batch := c.e.Batch()
	defer batch.Discard()
	for i := range n {
		step(batch, c.partitions[i%len(c.partitions)], c.seq+uint64(i))
	}
	for _, part := range c.partitions {
		if at, ok := part.Sweepable(); ok && at <= c.clock {
			c.apply(batch, part, &storage.Command{Kind: storage.KindSweep, Clock: c.clock, Limit: 100})
		}
		if err := part.Flush(batch); err != nil {
			c.b.Fatal(err)
		}
	}
	if err := batch.Commit(); err != nil {
		c.b.Fatal(err)
	}
}

// benchTxn measures transactions of one put of 256 bytes to one of 100,000 keys of one partition, 64 a batch. Time goes by so fast that a stub is removed after 100 batches.
func benchTxn(b *testing.B, protocol storage.Protocol, in []storage.PartitionID) {
	c := &coordinator{putter: newPutter(b, b.TempDir()), seq: 1}
	c.fill()
	value := make([]byte, 256)
	binary.BigEndian.PutUint64(value, rand.Uint64())
	// A ring of one partition maps all keys to the first.
	c.partitions = c.partitions[:1]
	prepare := func(seq uint64) *storage.Prepare {
		return &storage.Prepare{
			Protocol: protocol, Participants: in, Partitions: 1,
			Then: []storage.TxnOp{{Kind: storage.OpPut, Key: benchKey(int(seq*7919) % benchKeys), Value: value}},
		}
	}
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	for n := 0; n < b.N; n += 64 {
		c.clock += storage.StubTTL / 100
		switch protocol {
		case 0:
			c.batch(64, func(batch storage.Batch, part *storage.Partition, seq uint64) {
				op := prepare(seq).Then[0]
				c.apply(batch, part, &storage.Command{Kind: storage.KindPut, Clock: c.clock, Key: op.Key, Value: op.Value})
			})
		case storage.OnePhase:
			c.batch(64, func(batch storage.Batch, part *storage.Partition, seq uint64) {
				c.apply(batch, part, c.command(storage.KindSingle, seq, prepare(seq)))
			})
		default:
			c.batch(64, func(batch storage.Batch, part *storage.Partition, seq uint64) {
				c.apply(batch, part, c.command(storage.KindPrepare, seq, prepare(seq)))
			})
			c.batch(64, func(batch storage.Batch, part *storage.Partition, seq uint64) {
				cmd := c.command(storage.KindCommit, seq, prepare(seq))
				c.apply(batch, part, cmd)
			})
		}
		c.seq += 64
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	if err := c.e.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPlainPut is the same write without a transaction, to compare with.
func BenchmarkPlainPut(b *testing.B) { benchTxn(b, 0, []storage.PartitionID{0}) }

// BenchmarkSingle is a transaction in one entry.
func BenchmarkSingle(b *testing.B) { benchTxn(b, storage.OnePhase, []storage.PartitionID{0}) }

// BenchmarkPrepareCommit is one group's part of a transaction of two: this one is home.
func BenchmarkPrepareCommit(b *testing.B) { benchTxn(b, storage.Auto, []storage.PartitionID{0, 9}) }
