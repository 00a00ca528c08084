package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// Log is what a replica reads of its node's shared log.
type Log interface {
	Entries(g ring.PartitionID, lo, hi, maxBytes uint64) ([]raftlog.Entry, error)
	Term(g ring.PartitionID, index uint64) (uint64, error)
	FirstIndex(g ring.PartitionID) uint64
	LastIndex(g ring.PartitionID) uint64
	State(g ring.PartitionID) (raftlog.State, bool)
}

// logView shows one group's part of the shared log to raft, with the newest entries kept in memory so that applying
// and sending them does not read the disk.
type logView struct {
	group ring.PartitionID
	log   Log
	r     *Replica

	recent      []*raftpb.Entry // contiguous, ends at the last stable entry
	recentBytes int
}

// What a group keeps in memory beside what raft itself holds: over either bound everything applied goes, but for the
// newest keepRecent entries while they are small; followers are seldom further behind.
const (
	maxRecent      = 64
	keepRecent     = 8
	maxRecentBytes = 256 << 10
)

func (v *logView) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	s, _ := v.log.State(v.group)
	last := v.log.LastIndex(v.group)
	commit := min(max(s.Commit, v.r.applied, v.log.FirstIndex(v.group)-1), last)
	hs := &raftpb.HardState{Term: new(s.Term), Vote: new(s.Vote), Commit: new(commit)}
	return hs, v.r.conf, nil
}

func (v *logView) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if n := len(v.recent); n > 0 && lo >= v.recent[0].GetIndex() {
		base := v.recent[0].GetIndex()
		return limit(v.recent[lo-base:min(hi-base, uint64(n))], maxSize), nil
	}
	ents, err := v.log.Entries(v.group, lo, hi, maxSize)
	if err != nil {
		return nil, raftError(err)
	}
	return fromLog(ents), nil
}

func (v *logView) Term(i uint64) (uint64, error) {
	if n := len(v.recent); n > 0 && i >= v.recent[0].GetIndex() && i <= v.recent[n-1].GetIndex() {
		return v.recent[i-v.recent[0].GetIndex()].GetTerm(), nil
	}
	t, err := v.log.Term(v.group, i)
	return t, raftError(err)
}

func (v *logView) LastIndex() (uint64, error)  { return v.log.LastIndex(v.group), nil }
func (v *logView) FirstIndex() (uint64, error) { return v.log.FirstIndex(v.group), nil }

// Snapshot names the state as it is applied now. It carries no data: the worker streams the data apart, from an
// engine view that it opens before anything more is applied.
func (v *logView) Snapshot() (*raftpb.Snapshot, error) {
	if v.r.applied == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index:     new(v.r.applied),
		Term:      new(v.r.appliedTerm),
		ConfState: v.r.conf,
	}}, nil
}

// appended takes over entries that are now in the shared log.
func (v *logView) appended(ents []*raftpb.Entry) {
	if len(ents) == 0 {
		return
	}
	if n := len(v.recent); n > 0 {
		first, base := ents[0].GetIndex(), v.recent[0].GetIndex()
		switch {
		case first < base || first > base+uint64(n):
			v.forget()
		case first < base+uint64(n):
			for _, e := range v.recent[first-base:] {
				v.recentBytes -= len(e.GetData())
			}
			v.recent = v.recent[: first-base : first-base]
		}
	}
	if !v.r.Leading() {
		ents = detach(ents)
	}
	v.recent = append(v.recent, ents...)
	for _, e := range ents {
		v.recentBytes += len(e.GetData())
	}
}

// detach copies entries out of the frame that they came in, which they would otherwise keep in memory as a whole.
func detach(ents []*raftpb.Entry) []*raftpb.Entry {
	size := 0
	for _, e := range ents {
		size += len(e.GetData())
	}
	slab := make([]byte, 0, size)
	own := make([]raftlog.Entry, len(ents))
	for i, e := range ents {
		from := len(slab)
		slab = append(slab, e.GetData()...)
		own[i] = raftlog.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Type: uint8(e.GetType()), Data: slab[from:len(slab):len(slab)]}
	}
	return fromLog(own)
}

// trim drops applied entries from memory once a bound is passed.
func (v *logView) trim(applied uint64) {
	keep := keepRecent
	if v.recentBytes > maxRecentBytes {
		keep = 0
	} else if len(v.recent) <= maxRecent {
		return
	}
	drop := 0
	for drop < len(v.recent)-keep && v.recent[drop].GetIndex() <= applied {
		v.recentBytes -= len(v.recent[drop].GetData())
		drop++
	}
	if drop > 0 {
		v.recent = append(make([]*raftpb.Entry, 0, maxRecent), v.recent[drop:]...)
	}
}

func (v *logView) forget() { v.recent, v.recentBytes = nil, 0 }

// limit cuts ents to maxSize bytes of data, but not below one entry, and protects the rest from appends.
func limit(ents []*raftpb.Entry, maxSize uint64) []*raftpb.Entry {
	var size uint64
	for i, e := range ents {
		size += uint64(len(e.GetData())) + 24
		if i > 0 && size > maxSize {
			return ents[:i:i]
		}
	}
	return ents[:len(ents):len(ents)]
}

// stableEntry is a raft entry with the scalars that its pointers need, in one allocation.
type stableEntry struct {
	pb          raftpb.Entry
	index, term uint64
	kind        raftpb.EntryType
}

func fromLog(ents []raftlog.Entry) []*raftpb.Entry {
	out := make([]*raftpb.Entry, len(ents))
	boxes := make([]stableEntry, len(ents))
	for i := range ents {
		b := &boxes[i]
		b.index, b.term, b.kind = ents[i].Index, ents[i].Term, raftpb.EntryType(ents[i].Type)
		b.pb.Index, b.pb.Term, b.pb.Type, b.pb.Data = &b.index, &b.term, &b.kind, ents[i].Data
		out[i] = &b.pb
	}
	return out
}

// ToLog converts entries for the shared log; the data is shared, not copied.
func ToLog(dst []raftlog.Entry, ents []*raftpb.Entry) []raftlog.Entry {
	for _, e := range ents {
		dst = append(dst, raftlog.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Type: uint8(e.GetType()), Data: e.GetData()})
	}
	return dst
}

// raftError turns the log's sentinels into those that raft knows.
func raftError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raftlog.ErrCompacted):
		return raft.ErrCompacted
	case errors.Is(err, raftlog.ErrUnavailable):
		return raft.ErrUnavailable
	}
	return fmt.Errorf("read raft log: %w", err)
}
