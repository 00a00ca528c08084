// Package replica is one raft group as one of its members sees it, without I/O, clock, randomness of its own or
// goroutine: Tick, Step and Propose go in, Ready effects come out, and whoever owns the replica makes them
// happen in the order that Ready documents.
//
// It owns the rules that make raft safe for this store: which messages may leave before the fsync, when a proposal is
// known to be lost, and how a group walks from its present members to its placement.
package replica

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// Config describes a replica to start.
type Config struct {
	Group ring.PartitionID
	ID    ID
	Log   Log

	// Applied, AppliedTerm and Conf are what the state machine holds; Conf as EncodeConf gave it, nil for an empty replica.
	Applied     uint64
	AppliedTerm uint64
	Conf        []byte

	ElectionTicks  int // default 15
	HeartbeatTicks int // default 5

	Logger raft.Logger
}

// Bounds of one group's memory and messages.
const (
	maxUncommittedBytes = 32 << 20
	maxInflightBytes    = 16 << 20
	maxInflightMsgs     = 256
	maxMessageBytes     = 1 << 20
	maxCommittedBytes   = 4 << 20
)

// Tag is the owner's handle of a proposal; the replica only carries it.
type Tag any

// Replica is one member of one raft group. It is not safe for concurrent use.
type Replica struct {
	group ring.PartitionID
	id    ID
	raw   *raft.RawNode
	view  *logView

	applied     uint64
	appliedTerm uint64
	conf        *raftpb.ConfState

	role raft.StateType
	lead ID
	term uint64

	pending   bool          // raft has something to do
	hard      raftlog.State // the last that raft gave out
	unwritten bool          // it is not in the log yet

	queue    []*raftpb.Entry  // to be proposed with the next Ready
	tags     []Tag            // theirs
	refused  []Tag            // what raft would not take
	proposed []Tag            // taken by raft for this Ready, in order
	waiting  map[uint64]write // by index: in the log, not yet applied

	walkPause     int // ticks until the next step of the walk
	transferPause int // ticks until the leadership may be handed over
}

type write struct {
	term uint64
	tag  Tag
}

// New starts a replica from what its log and state machine hold.
func New(c Config) (*Replica, error) {
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 15
	}
	if c.HeartbeatTicks == 0 {
		c.HeartbeatTicks = 5
	}
	r := &Replica{
		group: c.Group, id: c.ID,
		applied: c.Applied, appliedTerm: c.AppliedTerm,
		waiting: make(map[uint64]write),
	}
	conf, err := DecodeConf(c.Conf)
	if err != nil {
		return nil, fmt.Errorf("group %d: %w", c.Group, err)
	}
	r.conf = conf
	r.view = &logView{group: c.Group, log: c.Log, r: r}
	if c.Applied > 0 && c.Applied > c.Log.LastIndex(c.Group) {
		return nil, fmt.Errorf("group %d: state machine at index %d is ahead of the log's last index %d", c.Group, c.Applied, c.Log.LastIndex(c.Group))
	}
	if first := c.Log.FirstIndex(c.Group); c.Applied+1 < first {
		return nil, fmt.Errorf("group %d: state machine at index %d, but the log begins at %d: entries between are lost; empty this node's data directory to refill it from the others",
			c.Group, c.Applied, first)
	}
	raw, err := raft.NewRawNode(r.raftConfig(c))
	if err != nil {
		return nil, fmt.Errorf("group %d: %w", c.Group, err)
	}
	r.raw = raw
	r.term = raw.BasicStatus().GetTerm()
	return r, nil
}

func (r *Replica) raftConfig(c Config) *raft.Config {
	return &raft.Config{
		ID:                        uint64(c.ID),
		ElectionTick:              c.ElectionTicks,
		HeartbeatTick:             c.HeartbeatTicks,
		Storage:                   r.view,
		Applied:                   c.Applied,
		MaxSizePerMsg:             maxMessageBytes,
		MaxCommittedSizePerReady:  maxCommittedBytes,
		MaxUncommittedEntriesSize: maxUncommittedBytes,
		MaxInflightMsgs:           maxInflightMsgs,
		MaxInflightBytes:          maxInflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		Logger:                    c.Logger,
	}
}

// Group is the group's number.
func (r *Replica) Group() ring.PartitionID { return r.group }

// ID is this replica's own.
func (r *Replica) ID() ID { return r.id }

// Leader is the replica that this one believes leads, 0 if it knows none.
func (r *Replica) Leader() ID { return r.lead }

// Term is the group's term as known here.
func (r *Replica) Term() uint64 { return r.term }

// Leading reports whether this replica leads its group.
func (r *Replica) Leading() bool { return r.role == raft.StateLeader }

// Latest is the leader and the term as of the last message; Leader and Term are as of the last Ready.
func (r *Replica) Latest() (leader ID, term uint64) {
	s := r.raw.BasicStatus()
	return ID(s.Lead), s.GetTerm()
}

// Serving reports whether this replica leads and has applied an entry of its own term: only then does it know every
// write that was ever acknowledged.
func (r *Replica) Serving() bool { return r.Leading() && r.appliedTerm == r.term }

// Told is the commit index that other members may have heard of, with the Readys so far, and may have applied.
func (r *Replica) Told() uint64 { return r.hard.Commit }

// AppliedIndex is the index of the last entry that the state machine holds.
func (r *Replica) AppliedIndex() uint64 { return r.applied }

// Conf is the group's configuration as applied here. The caller must not change it.
func (r *Replica) Conf() *raftpb.ConfState { return r.conf }

// Tick tells the replica that one tick of time has passed.
func (r *Replica) Tick() {
	r.raw.Tick()
	r.walkPause = max(0, r.walkPause-1)
	r.transferPause = max(0, r.transferPause-1)
}

// Step hands a message of another member over. Messages to other replicas (former lives of this one) are ignored. A
// *RolledBackError, which is final, says that this replica has lost what it had acknowledged.
func (r *Replica) Step(m *raftpb.Message) error {
	if ID(m.GetTo()) != r.id {
		return nil
	}
	switch m.GetType() {
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		return nil // nobody of this version sends them: reads are confirmed elsewhere, and raft panics at some of them
	case raftpb.MsgHeartbeat:
		if err := r.rolledBack(m); err != nil {
			return err
		}
	}
	// An error says that the message is of no use here, such as an answer from a replica that was removed.
	_ = r.raw.Step(m)
	return nil
}

// rolledBack finds what raft would answer with a panic. A heartbeat's commit index is at most what its sender, the leader,
// was told that this replica has on disk, so a log that ends before it has lost what was promised.
func (r *Replica) rolledBack(m *raftpb.Message) error {
	last := r.view.log.LastIndex(r.group)
	if m.GetCommit() <= last || m.GetTerm() < r.raw.BasicStatus().GetTerm() {
		return nil
	}
	return &RolledBackError{Partition: r.group, Acknowledged: m.GetCommit(), Last: last}
}

// Campaign starts an election at once instead of after the election timeout, and an own one that is under way anew. It is
// for the sole voter, and for owners who were told that the leader's node is gone: this replica forgets its leader.
func (r *Replica) Campaign() { _ = r.raw.Campaign() }

// ForgetLeader makes this replica ready to vote for another leader at once, after its owner was told that the
// leader's node is gone.
func (r *Replica) ForgetLeader() { _ = r.raw.ForgetLeader() }

// Unreachable tells that messages to a member are being lost.
func (r *Replica) Unreachable(to ID) { r.raw.ReportUnreachable(uint64(to)) }

// SnapshotSent tells how the transfer of a snapshot to a member ended; every MsgSnap must get one.
func (r *Replica) SnapshotSent(to ID, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	r.raw.ReportSnapshot(uint64(to), status)
}

// Propose asks the group to append one entry. What is proposed between two Readys goes to raft together, as one
// message to each member. The tag comes back from Applied, or in Dropped or Lost of a Ready; on an error nothing was
// done and it does not come back. The replica keeps data, which must not be empty.
func (r *Replica) Propose(data []byte, tag Tag) error {
	if !r.Leading() {
		return &NotLeaderError{Partition: r.group, Leader: r.lead}
	}
	r.queue = append(r.queue, &raftpb.Entry{Data: data})
	r.tags = append(r.tags, tag)
	return nil
}

// propose hands the queue to raft. It is all or nothing; what raft refuses (too much is uncommitted, or the leadership
// is being handed over) is dropped.
func (r *Replica) propose() {
	if len(r.queue) == 0 {
		return
	}
	m := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(uint64(r.id)), Entries: r.queue}
	if err := r.raw.Step(m); err != nil {
		r.refused = append(r.refused, r.tags...)
	} else {
		r.proposed = append(r.proposed, r.tags...)
	}
	clear(r.tags)
	r.queue, r.tags = nil, r.tags[:0] // raft keeps the slice of entries
}

// EncodeConf is a configuration's form in the state machine.
func EncodeConf(cs *raftpb.ConfState) []byte {
	b, err := proto.Marshal(cs)
	if err != nil {
		panic(fmt.Sprintf("encode raft configuration: %v", err)) // four lists of integers always encode
	}
	return b
}

// DecodeConf reads what EncodeConf wrote; nil stands for no configuration.
func DecodeConf(b []byte) (*raftpb.ConfState, error) {
	cs := &raftpb.ConfState{}
	if err := proto.Unmarshal(b, cs); err != nil {
		return nil, fmt.Errorf("decode raft configuration: %w", err)
	}
	return cs, nil
}

// stateOf converts raft's hard state for the log.
func (r *Replica) stateOf(hs *raftpb.HardState) raftlog.State {
	return raftlog.State{Replica: uint64(r.id), Term: hs.GetTerm(), Vote: hs.GetVote(), Commit: hs.GetCommit()}
}
