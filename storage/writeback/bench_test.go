package writeback_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/writeback"
)

const (
	benchKeys       = 100_000
	benchPartitions = 64
	// benchBatch is how many commands a node under load applies at once, about.
	benchBatch = 12
	// benchSync is after how many commands the engine is synced: about a second's, at full speed.
	benchSync = 12_000
	// benchLag is how many transactions the mark is behind.
	benchLag = 256
)

// replicas are all partitions of one node, which applies what a cluster's clients ask for.
type replicas struct {
	b          *testing.B
	engine     storage.Engine
	ring       *ring.Ring
	partitions []*storage.Partition
	batch      storage.Batch
	touched    map[*storage.Partition]bool
	commands   int
	seq        uint64
	begun      time.Time
	done       func() (bool, error)
}

func newReplicas(b *testing.B, engine storage.Engine) *replicas {
	b.Helper()
	r := &replicas{b: b, engine: engine, touched: make(map[*storage.Partition]bool), begun: time.Now()}
	var err error
	if r.ring, err = ring.New(benchPartitions); err != nil {
		b.Fatal(err)
	}
	v := engine.View()
	defer v.Close()
	for id := range storage.PartitionID(benchPartitions) {
		p, err := storage.OpenPartition(v, id)
		if err != nil {
			b.Fatal(err)
		}
		r.partitions = append(r.partitions, p)
	}
	return r
}

func (r *replicas) must(err error) {
	if err != nil {
		r.b.Helper()
		r.b.Fatal(err)
	}
}

// apply applies one command, and commits when there are enough of them, as a worker does.
func (r *replicas) apply(p storage.PartitionID, c *storage.Command) {
	if r.batch == nil {
		r.batch = r.engine.Batch()
	}
	c.Clock = storage.Millis(time.Since(r.begun) / time.Millisecond)
	part := r.partitions[p]
	_, err := part.Apply(r.batch, part.Meta().Applied+1, 1, storage.AppendCommand(nil, c))
	r.must(err)
	r.touched[part] = true
	if r.commands++; r.commands%benchBatch == 0 {
		r.commit()
	}
}

func (r *replicas) commit() {
	for part := range r.touched {
		r.must(part.Flush(r.batch))
	}
	clear(r.touched)
	r.must(r.batch.Commit())
	r.batch = nil
	if r.commands%benchSync == 0 {
		r.sync()
	}
	if r.done != nil {
		done, err := r.done()
		r.must(err)
		if done {
			r.done = nil
		}
	}
}

// sync begins a sync where the engine can go on meanwhile.
func (r *replicas) sync() {
	e, ok := r.engine.(*writeback.Engine)
	if !ok {
		r.must(r.engine.Sync())
		return
	}
	r.done = e.StartSync()
}

func benchKey(n int) []byte { return fmt.Appendf(nil, "benchn/k-%08d", n) }

func (r *replicas) put(n, bytes int) {
	key := benchKey(n)
	r.apply(r.ring.Partition(key), &storage.Command{Kind: storage.KindPut, Key: key, Value: make([]byte, bytes)})
}

func (r *replicas) number(n int) {
	key := benchKey(n)
	r.apply(r.ring.Partition(key), &storage.Command{Kind: storage.KindPut, Key: key, Value: []byte("1000000")})
}

func (r *replicas) command(k storage.Kind, home storage.PartitionID, p *storage.Prepare) *storage.Command {
	mark := uint64(1)
	if r.seq > benchLag {
		mark = r.seq - benchLag
	}
	c := &storage.TxnCommand{
		ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: r.seq}, Attempt: 1, Home: home, Mark: mark, Prepare: p,
	}
	if k == storage.KindCommit {
		c.Decision = storage.DecideThen
	}
	return &storage.Command{Kind: k, Txn: c}
}

func add(n int, by int64) storage.TxnOp {
	return storage.TxnOp{Kind: storage.OpAdd, Key: benchKey(n), By: by}
}

// single adds to one key in one entry.
func (r *replicas) single(n int) {
	r.seq++
	p := r.ring.Partition(benchKey(n))
	r.apply(p, r.command(storage.KindSingle, p, &storage.Prepare{
		Protocol: storage.OnePhase, Participants: []storage.PartitionID{p}, Partitions: benchPartitions,
		Then: []storage.TxnOp{add(n, 1), add(n, -1)},
	}))
}

// transfer adds to two keys of two partitions: two prepares, two commits.
func (r *replicas) transfer(n, m int) {
	from, to := r.ring.Partition(benchKey(n)), r.ring.Partition(benchKey(m))
	if from > to {
		n, m, from, to = m, n, to, from
	}
	if from == to {
		return
	}
	r.seq++
	in := []storage.PartitionID{from, to}
	prepare := func(n int, by int64) *storage.Prepare {
		return &storage.Prepare{
			Protocol: storage.Auto, Participants: in, Partitions: benchPartitions, Then: []storage.TxnOp{add(n, by)},
		}
	}
	r.apply(from, r.command(storage.KindPrepare, from, prepare(n, -1)))
	r.apply(to, r.command(storage.KindPrepare, from, prepare(m, 1)))
	r.apply(from, r.command(storage.KindCommit, from, nil))
	r.apply(to, r.command(storage.KindCommit, from, nil))
}

// BenchmarkReplica is what one node does for an operation of "ringkv bench", below raft: all that three nodes do is about
// three times as much. CPU is of the whole process, with what is done behind and compactions.
func BenchmarkReplica(b *testing.B) {
	for _, engine := range []string{"badgerdb", "writeback"} {
		for _, w := range []struct {
			name string
			step func(r *replicas)
		}{
			{"put", func(r *replicas) { r.put(rand.IntN(benchKeys), 256) }},
			{"txn1", func(r *replicas) { r.single(rand.IntN(benchKeys)) }},
			{"txn-add", func(r *replicas) { r.transfer(rand.IntN(benchKeys), rand.IntN(benchKeys)) }},
		} {
			b.Run(w.name+"/"+engine, func(b *testing.B) { benchReplica(b, engine, w.step) })
		}
	}
}

func benchReplica(b *testing.B, engine string, step func(r *replicas)) {
	tables, err := badgerdb.Open(badgerdb.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	var e storage.Engine = tables
	if engine == "writeback" {
		e = writeback.New(tables)
	}
	r := newReplicas(b, e)
	for n := range benchKeys {
		r.number(n)
	}
	b.ReportAllocs()
	cpu := cpuTime()
	b.ResetTimer()
	for range b.N {
		step(r)
	}
	if r.batch != nil {
		r.commit()
	}
	r.must(e.Sync())
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	r.must(e.Close())
}

// cpuTime is what the process has used, in nanoseconds.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
