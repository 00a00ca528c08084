package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

// What writes hold in memory is bounded in bytes, from when they are submitted until they are answered; short commands
// are let in all the same.
func TestWritesAreBoundedByBytes(t *testing.T) {
	l := newLoop(time.Second, time.Now())
	n := &Node{loop: l}
	n.requests.New = newRequest
	large := func() *request { return n.writeOp(0, make([]byte, 1<<20)) }
	var waiting []*request
	for range maxWriteBytes >> 20 {
		r := large()
		if err := l.submit(&r.Op); err != nil {
			t.Fatalf("after %d MiB: %v", len(waiting), err)
		}
		waiting = append(waiting, r)
	}
	for range 3 {
		if err := l.submit(&large().Op); !errors.Is(err, ErrOverloaded) {
			t.Fatalf("beyond the bound: %v", err)
		}
	}
	short := n.writeOp(0, make([]byte, shortCommand))
	if err := l.submit(&short.Op); err != nil {
		t.Errorf("a short command: %v", err)
	}
	for _, r := range append(waiting[:2], short) {
		r.Op.Done(&r.Op)
	}
	for i := range 3 {
		if err := l.submit(&large().Op); (err == nil) != (i < 2) {
			t.Errorf("large command %d after two were answered: %v", i, err)
		}
	}
}

// Messages with entries are dropped when too many bytes wait; those that keep groups alive are not.
func TestMessagesAreBoundedByBytes(t *testing.T) {
	l := newLoop(time.Second, time.Now())
	large := wire.RaftMessage{Message: &raftpb.Message{Entries: []*raftpb.Entry{{Data: make([]byte, 1<<20)}}}}
	for range 3 * maxMessageBytes >> 20 {
		l.deliver([]wire.RaftMessage{large})
	}
	if got := len(l.in.messages); got != maxMessageBytes>>20 {
		t.Errorf("%d MiB wait, want %d", got, maxMessageBytes>>20)
	}
	l.deliver([]wire.RaftMessage{{Message: &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum()}}})
	if got := len(l.in.messages); got != maxMessageBytes>>20+1 {
		t.Error("a heartbeat was dropped")
	}
	var work inbox
	l.take(&work)
	l.deliver([]wire.RaftMessage{large})
	if len(l.in.messages) != 1 {
		t.Error("dropped although nothing waits")
	}
}

// However long the turn before took, a TTL counts from when its request came.
func TestATTLCountsFromItsArrival(t *testing.T) {
	disk, err := raftlog.Open(memfs.New(), "log", raftlog.Options{ID: 1})
	if err != nil {
		t.Fatal(err)
	}
	engine := memdb.New()
	state, err := meta.Form("c", 2, 3, meta.Node{UUID: "u", Name: "a", Weight: 1})
	if err == nil {
		err = worker.Form(disk, engine, state)
	}
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(10*time.Hour, time.Now()) // no tick helps
	l.reads = newReads(&Node{loop: l})
	l.worker, err = worker.Open(worker.Config{Node: 1, Log: disk, Engine: engine, Outbox: nowhere{}, ElectionTicks: 4, HeartbeatTicks: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var now time.Duration // the loop's goroutine's
	l.now = func() time.Duration { return now }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _ = l.run(ctx) }()
	defer func() { cancel(); <-l.done }()

	written := make(chan error, 1)
	op := &worker.Op{Kind: worker.Write, Done: func(op *worker.Op) { written <- op.Err }, Data: storage.AppendCommand(nil, &storage.Command{
		Kind: storage.KindPut, Key: []byte("k"), TTL: 1000,
	})}
	if err := l.ask(t.Context(), func(*worker.Worker) {
		now = time.Hour // so long this turn takes, and at the end of it a request comes
		if err := l.submit(op); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	v := engine.View()
	defer v.Close()
	it, err := storage.Get(v, 0, []byte("k"))
	if hour := storage.Millis(time.Hour.Milliseconds()); err != nil || it.Deadline < hour+1000 {
		t.Errorf("deadline %d, want at least an hour and a second; %v", it.Deadline, err)
	}
}

// nowhere is the outbox of a node that is alone.
type nowhere struct{}

func (nowhere) Send(ring.NodeID, ring.PartitionID, *raftpb.Message) {}
func (nowhere) Flush()                                              {}
func (nowhere) SendSnapshot(s worker.Snapshot)                      { s.View.Close() }
