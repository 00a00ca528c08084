package worker_test

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// board is a machine's worker.Board. With the machine's outbox and engine it holds the worker, in every test, to what
// Board and LockShadow promise: what is sent, shown and locked is compared to what was published by then.
type board struct {
	m    *machine
	on   map[ring.PartitionID]worker.Standing
	look func() // called whenever something is about to be seen, or just was
}

func newBoard(m *machine) *board {
	return &board{m: m, on: make(map[ring.PartitionID]worker.Standing), look: func() {}}
}

// Stand is as worker.Board says.
func (b *board) Stand(changed []worker.Standing) {
	b.m.t.Helper()
	for _, s := range changed {
		old, known := b.on[s.Group]
		if known && old.Replica == s.Replica && old.Term > s.Term {
			b.m.t.Fatalf("group %d: term %d is published behind %d", s.Group, s.Term, old.Term)
		}
		if known && old.Leading && s.Leading && old.Term == s.Term && (old.Commit > s.Commit || old.Applied > s.Applied || old.Serving && !s.Serving) {
			b.m.t.Fatalf("group %d: %+v is published behind %+v", s.Group, s.Standing, old.Standing)
		}
		if s.Leading {
			b.compare(&s)
		}
		b.on[s.Group] = s
	}
	b.look()
}

// compare holds a leader's standing against what the engine shows.
func (b *board) compare(s *worker.Standing) {
	b.m.t.Helper()
	shown := b.m.meta(s.Group)
	if s.Applied > shown.Applied || s.Applied > s.Commit {
		b.m.t.Fatalf("group %d: %+v is published while the engine shows index %d", s.Group, s.Standing, shown.Applied)
	}
	if s.Serving && shown.AppliedTerm != s.Term {
		b.m.t.Fatalf("group %d: serves in term %d while the engine shows an entry of term %d", s.Group, s.Term, shown.AppliedTerm)
	}
	b.compareVoters(s)
}

// compareVoters sees to it that the configuration is the one applied.
func (b *board) compareVoters(s *worker.Standing) {
	b.m.t.Helper()
	conf, err := replica.DecodeConf(b.m.meta(s.Group).Conf)
	if err != nil {
		b.m.t.Fatal(err)
	}
	if !slices.Equal(s.Voters, conf.GetVoters()) || !slices.Equal(s.Outgoing, conf.GetVotersOutgoing()) {
		b.m.t.Fatalf("group %d: voters %v and %v are published, %v are in force", s.Group, s.Voters, s.Outgoing, conf)
	}
}

// Leave is as worker.Board says.
func (b *board) Leave(p ring.PartitionID) { delete(b.on, p) }

// leaves sees to it that all that a message gives away has been published.
func (b *board) leaves(p ring.PartitionID, msg *raftpb.Message) {
	b.m.t.Helper()
	b.look()
	s, ok := b.on[p]
	if !ok || uint64(s.Replica) != msg.GetFrom() {
		b.m.t.Fatalf("group %d: %v leaves from a replica that is not on the board", p, msg)
	}
	term := msg.GetTerm()
	if kind := msg.GetType(); kind == raftpb.MsgPreVote || kind == raftpb.MsgPreVoteResp && !msg.GetReject() {
		term-- // the term is the one that the election would be in; nobody has moved to it
	}
	if term > s.Term {
		b.m.t.Fatalf("group %d: %v leaves while term %d is published", p, msg, s.Term)
	}
	if !s.Leading || term < s.Term {
		return // of a leadership that is over: nobody reads by it
	}
	if commit := max(msg.GetCommit(), msg.GetSnapshot().GetMetadata().GetIndex()); commit > s.Commit {
		b.m.t.Fatalf("group %d: %v leaves while commit index %d is published", p, msg, s.Commit)
	}
	b.compareVoters(&s)
}

// grant gives a read the right to read, of the leadership that is published.
func (b *board) grant(op *worker.Op) {
	if op.Kind == worker.Read && op.Term == 0 {
		op.Term = b.on[op.Group].Term
	}
}

// leading calls fn for the groups that the machine leads.
func (b *board) leading(fn func(s *worker.Standing)) {
	for _, s := range b.on {
		if s.Leading {
			fn(&s)
		}
	}
}

// locked is what is exclusively locked in a group's state.
func (b *board) locked(r storage.Reader, p ring.PartitionID) [][]byte {
	b.m.t.Helper()
	part, err := storage.OpenPartition(r, p)
	if err != nil {
		b.m.t.Fatal(err)
	}
	return part.Locks().XLockedIn(nil, nil)
}

// commit commits a batch and sees to it that a shadow falls on whatever was locked before and on whatever is locked from
// then on, both before anybody can see the effects and as soon as all can.
func (b *board) commit(batch storage.Batch) error {
	b.m.t.Helper()
	before := b.m.engine.View()
	defer before.Close()
	keys := make(map[ring.PartitionID][][]byte)
	b.leading(func(s *worker.Standing) {
		keys[s.Group] = slices.Concat(b.locked(before, s.Group), b.locked(batch, s.Group))
	})
	b.fall(keys)
	if err := batch.Commit(); err != nil {
		return err
	}
	b.fall(keys)
	return nil
}

func (b *board) fall(keys map[ring.PartitionID][][]byte) {
	b.m.t.Helper()
	b.look()
	b.leading(func(s *worker.Standing) {
		for _, key := range keys[s.Group] {
			if !s.Locks.Falls(key) {
				b.m.t.Fatalf("group %d: no shadow falls on %q", s.Group, key)
			}
		}
	})
}

// rest sees to it that everything is published, and that no shadow stays behind.
func (b *board) rest() {
	b.m.t.Helper()
	for _, g := range b.m.worker.Status() {
		s, ok := b.on[g.Partition]
		if !ok || s.Term != g.Term || s.Leading != (g.Role == "leader") {
			b.m.t.Fatalf("%+v, published is %+v", g, s.Standing)
		}
		if s.Leading && (s.Commit != g.Commit || s.Applied != g.Applied) {
			b.m.t.Fatalf("%+v, published is %+v", g, s.Standing)
		}
		if !s.Leading || g.InDoubt > 0 {
			continue
		}
		for i := range 64 { // keys for every mark of a shadow
			if s.Locks.Falls([]byte{byte(i)}) {
				b.m.t.Fatalf("group %d: a shadow falls where nothing is locked", g.Partition)
			}
		}
	}
}

// watched is the machine's engine, whose commits the board watches.
type watched struct {
	storage.Engine
	board *board
}

func (e watched) Batch() storage.Batch { return watchedBatch{e.Engine.Batch(), e.board} }

type watchedBatch struct {
	storage.Batch
	board *board
}

func (b watchedBatch) Commit() error { return b.board.commit(b.Batch) }
