package worker_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/storage/raftlog"
	"github.com/ringkv/ringkv/storage/raftlog/memfs"
)

var errDisk = errors.New("disk broke")

const dir = "log"

// machine is one node with its disks. What it sends is kept in sent.
type machine struct {
	t             testing.TB
	fs            *memfs.FS
	disk          *memdb.Disk
	left          int         // syncs and commits until the disks break; -1: they do not
	fault         memdb.Fault // what then becomes of a commit, or of the engine's sync
	rng           *rand.Rand  // says what a power cut takes
	keep          uint64      // worker.Config.KeepEntries
	spools        map[string][]byte
	linger        time.Duration // worker.Config.Linger
	muteMeta      bool          // what the metadata group sends is not kept
	electionTicks int           // worker.Config.ElectionTicks

	log    *raftlog.Log
	engine *memdb.Engine
	worker *worker.Worker
	board  *board
	now    time.Duration

	queued []*raftpb.Message
	sent   []*raftpb.Message

	wrap    func(storage.Engine) storage.Engine // what the worker is given in place of engine
	onStuck func(ring.PartitionID, storage.OpenTxn)
}

func newMachine(t testing.TB) *machine {
	return &machine{t: t, fs: memfs.New(), disk: memdb.NewDisk(), spools: make(map[string][]byte), left: -1, electionTicks: 4, rng: rand.New(rand.NewPCG(1, 2))}
}

// worst is a power cut that takes everything it may: numbers that are drawn with it are 0.
type worst struct{}

func (worst) Uint64() uint64 { return 1 << 35 } // a plain 0 is rejected, for ever, where the bound is no power of two

// form makes the machine node 1, alone, with two partitions.
func (m *machine) form() {
	m.t.Helper()
	m.openDisks()
	s, err := meta.Form("c", 2, 3, meta.Node{UUID: "u", Name: "a", Weight: 1})
	if err == nil {
		err = worker.Form(m.log, m.engine, s)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// breaks counts a sync or a commit and tells whether it fails.
func (m *machine) breaks() bool {
	if m.left > 0 {
		m.left--
		return false
	}
	return m.left == 0
}

func (m *machine) openDisks() {
	m.t.Helper()
	var err error
	m.left = -1
	m.fs.Fail = func(op memfs.Op, _ string) error {
		if op == memfs.OpSync && m.breaks() {
			return errDisk
		}
		return nil
	}
	fault := func() memdb.Fault {
		if m.breaks() {
			return m.fault
		}
		return memdb.FaultNone
	}
	if m.log, err = raftlog.Open(m.fs, dir, raftlog.Options{SegmentBytes: 64 << 10, ID: 1}); err != nil {
		m.t.Fatal(err)
	}
	if m.engine, err = m.disk.Open(memdb.Options{OnCommit: func(uint64) memdb.Fault { return fault() }, OnSync: fault}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) open() {
	m.t.Helper()
	if err := m.tryOpen(1); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) tryOpen(id ring.NodeID) (err error) {
	m.board = newBoard(m)
	engine := storage.Engine(watched{m.engine, m.board})
	if m.wrap != nil {
		engine = m.wrap(engine)
	}
	m.worker, err = worker.Open(worker.Config{
		Node: id, Log: m.log, Engine: engine, Outbox: m, OpenSpool: m.openSpool, ElectionTicks: m.electionTicks, HeartbeatTicks: 1, KeepEntries: m.keep,
		OnStuck: m.onStuck, Linger: m.linger, Board: m.board,
	}, m.now)
	return err
}

// powercut loses what is not synced, and opens the disks again.
func (m *machine) powercut() {
	m.fs.Crash(m.rng)
	m.disk.Crash(m.rng)
	m.queued, m.sent = nil, nil
	m.openDisks()
}

// Send, Flush and SendSnapshot are the worker's Outbox.
func (m *machine) Send(_ ring.NodeID, p ring.PartitionID, msg *raftpb.Message) {
	m.board.leaves(p, msg)
	if m.muteMeta && p == storage.MetaPartition {
		return
	}
	m.queued = append(m.queued, msg)
}

func (m *machine) Flush() {
	m.sent = append(m.sent, m.queued...)
	m.queued = nil
}

func (m *machine) SendSnapshot(s worker.Snapshot) {
	m.board.leaves(s.Group, s.Message)
	s.View.Close()
}

func (m *machine) turn() error { return m.worker.Turn(m.now) }

// settle takes turns until nothing is left to do.
func (m *machine) settle() {
	m.t.Helper()
	for range 100 {
		if err := m.turn(); err != nil {
			m.t.Fatal(err)
		}
		if !m.worker.Busy() {
			m.board.rest()
			return
		}
	}
	m.t.Fatal("still busy after 100 turns")
}

// ask submits a request, a read with the right to read, and returns how often, and with what error, it was answered so far.
func (m *machine) ask(op *worker.Op) *answer {
	a := &answer{op: op}
	op.Done = func(op *worker.Op) { a.times, a.err = a.times+1, op.Err }
	m.board.grant(op)
	m.worker.Submit(op)
	return a
}

type answer struct {
	op    *worker.Op
	times int
	err   error
}

func (a *answer) want(t testing.TB, err error) {
	t.Helper()
	if a.times != 1 || !errors.Is(a.err, err) {
		t.Fatalf("answered %d times, last with %v; want once with %v", a.times, a.err, err)
	}
}

func put(p ring.PartitionID, key, value string) *worker.Op {
	c := storage.Command{Kind: storage.KindPut, Key: []byte(key), Value: []byte(value)}
	return &worker.Op{Group: p, Kind: worker.Write, Data: storage.AppendCommand(nil, &c)}
}

func (m *machine) get(p ring.PartitionID, key string) string {
	m.t.Helper()
	v := m.engine.View()
	defer v.Close()
	it, err := storage.Get(v, p, []byte(key))
	if err != nil {
		m.t.Fatalf("get %s: %v", key, err)
	}
	return string(it.Value)
}

// spool is a received snapshot.
type spool struct {
	m    *machine
	name string
}

func (s spool) Name() string { return s.name }
func (s spool) Remove()      { delete(s.m.spools, s.name) }
func (s spool) Open() (io.ReadCloser, error) {
	b, ok := s.m.spools[s.name]
	if !ok {
		return nil, errors.New("no such spool")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *machine) openSpool(name string) (worker.Spool, error) {
	if _, ok := m.spools[name]; !ok {
		return nil, errors.New("no such spool")
	}
	return spool{m, name}, nil
}

// snapshot is a state of partition 0 at an index, with one key, in a group of the replicas given.
func (m *machine) snapshot(name string, index, term uint64, voters ...replica.ID) (*raftpb.SnapshotMetadata, spool) {
	m.t.Helper()
	return m.snapshotOf(0, name, put(0, "k", name).Data, index, term, voters...)
}

// snapshotOf is one of partition p, to which cmd was applied.
func (m *machine) snapshotOf(
	p ring.PartitionID, name string, cmd []byte, index, term uint64, voters ...replica.ID,
) (*raftpb.SnapshotMetadata, spool) {
	m.t.Helper()
	cs := &raftpb.ConfState{}
	for _, v := range voters {
		cs.Voters = append(cs.Voters, uint64(v))
	}
	e := memdb.New()
	v := e.View()
	part, err := storage.OpenPartition(v, p)
	v.Close()
	if err != nil {
		m.t.Fatal(err)
	}
	b := e.Batch()
	_, err = part.Apply(b, index-1, term, cmd)
	err = errors.Join(err, part.SetConf(index, term, replica.EncodeConf(cs)), part.Flush(b), b.Commit())
	if err != nil {
		m.t.Fatal(err)
	}
	var data bytes.Buffer
	if err := storage.WriteSnapshot(e.View(), p, &data); err != nil {
		m.t.Fatal(err)
	}
	m.spools[name] = data.Bytes()
	return &raftpb.SnapshotMetadata{Index: new(index), Term: new(term), ConfState: cs}, spool{m, name}
}
