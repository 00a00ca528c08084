package wire

import (
	"encoding/binary"

	"go.etcd.io/raft/v3/raftpb"
)

// The bits of a message's mask: which fields are set. A field that is set to zero is not the same as one that is not
// set, because proto2 tells them apart.
const (
	hasType       = 1 << 0
	hasTo         = 1 << 1
	hasFrom       = 1 << 2
	hasTerm       = 1 << 3
	hasLogTerm    = 1 << 4
	hasIndex      = 1 << 5
	hasCommit     = 1 << 6
	hasVote       = 1 << 7
	hasReject     = 1 << 8
	rejectIsTrue  = 1 << 9
	hasRejectHint = 1 << 10
	hasContext    = 1 << 11
	hasEntries    = 1 << 12
	hasSnapshot   = 1 << 13

	messageMask = 1<<14 - 1
)

// The bits of an entry's mask. The entry's type stands in the two bits from entryTypeShift on.
const (
	entryHasTerm  = 1 << 0
	entryHasIndex = 1 << 1
	entryHasType  = 1 << 2
	entryHasData  = 1 << 3

	entryTypeShift = 4
	entryMask      = 1<<6 - 1
)

// The bits of a snapshot's mask.
const (
	snapHasData      = 1 << 0
	snapHasMeta      = 1 << 1
	snapHasIndex     = 1 << 2
	snapHasTerm      = 1 << 3
	snapHasConf      = 1 << 4
	snapHasAutoLeave = 1 << 5
	snapAutoLeave    = 1 << 6

	snapMask     = 1<<7 - 1
	snapMetaOnly = snapHasIndex | snapHasTerm | snapHasConf
	snapConfOnly = snapHasAutoLeave | snapAutoLeave
)

// The largest known values; a decoder refuses larger ones.
const (
	maxMessageType = raftpb.MsgForgetLeader
	maxEntryType   = raftpb.EntryConfChangeV2
)

// AppendRaft appends the encoding of one message of a raft group. All fields that travel between nodes are kept
// exactly, set or not set; Responses and unknown protobuf fields are local and left out. The types of the message and
// of its entries must be ones that raft 3.7 knows.
func AppendRaft(dst []byte, group uint16, m *raftpb.Message) []byte {
	mask := maskOf(m)
	dst = binary.LittleEndian.AppendUint16(dst, group)
	dst = binary.LittleEndian.AppendUint16(dst, mask)
	if mask&hasType != 0 {
		dst = append(dst, byte(*m.Type))
	}
	for _, p := range [...]*uint64{m.To, m.From, m.Term, m.LogTerm, m.Index, m.Commit, m.Vote, m.RejectHint} {
		dst = appendSet(dst, p)
	}
	if mask&hasContext != 0 {
		dst = appendBytes(dst, m.Context)
	}
	if mask&hasSnapshot != 0 {
		dst = appendSnapshot(dst, m.Snapshot)
	}
	if mask&hasEntries != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(m.Entries)))
		for _, e := range m.Entries {
			dst = appendEntry(dst, e)
		}
	}
	return dst
}

// RaftSize is an upper bound of the bytes that AppendRaft appends for m.
func RaftSize(m *raftpb.Message) int {
	const fixed, perEntry = 2 + 2 + 1 + 8*binary.MaxVarintLen64 + 2*binary.MaxVarintLen64, 1 + 3*binary.MaxVarintLen64
	n := fixed + len(m.Context)
	for _, e := range m.Entries {
		n += perEntry + len(e.GetData())
	}
	if s := m.Snapshot; s != nil {
		conf := s.GetMetadata().GetConfState()
		ids := len(conf.GetVoters()) + len(conf.GetLearners()) + len(conf.GetVotersOutgoing()) + len(conf.GetLearnersNext())
		n += 1 + len(s.Data) + (7+ids)*binary.MaxVarintLen64
	}
	return n
}

func maskOf(m *raftpb.Message) uint16 {
	var mask uint16
	set := func(present bool, bit uint16) {
		if present {
			mask |= bit
		}
	}
	set(m.Type != nil, hasType)
	set(m.To != nil, hasTo)
	set(m.From != nil, hasFrom)
	set(m.Term != nil, hasTerm)
	set(m.LogTerm != nil, hasLogTerm)
	set(m.Index != nil, hasIndex)
	set(m.Commit != nil, hasCommit)
	set(m.Vote != nil, hasVote)
	set(m.Reject != nil, hasReject)
	set(m.GetReject(), rejectIsTrue)
	set(m.RejectHint != nil, hasRejectHint)
	set(m.Context != nil, hasContext)
	set(len(m.Entries) != 0, hasEntries)
	set(m.Snapshot != nil, hasSnapshot)
	return mask
}

func appendSet(dst []byte, p *uint64) []byte {
	if p == nil {
		return dst
	}
	return binary.AppendUvarint(dst, *p)
}

func appendEntry(dst []byte, e *raftpb.Entry) []byte {
	var mask byte
	if e.Term != nil {
		mask |= entryHasTerm
	}
	if e.Index != nil {
		mask |= entryHasIndex
	}
	if e.Type != nil {
		mask |= entryHasType | byte(*e.Type)<<entryTypeShift
	}
	if e.Data != nil {
		mask |= entryHasData
	}
	dst = append(dst, mask)
	dst = appendSet(dst, e.Term)
	dst = appendSet(dst, e.Index)
	if e.Data != nil {
		dst = appendBytes(dst, e.Data)
	}
	return dst
}

func appendSnapshot(dst []byte, s *raftpb.Snapshot) []byte {
	mask := snapshotMask(s)
	dst = append(dst, mask)
	if s.Data != nil {
		dst = appendBytes(dst, s.Data)
	}
	if s.Metadata == nil {
		return dst
	}
	dst = appendSet(dst, s.Metadata.Index)
	dst = appendSet(dst, s.Metadata.Term)
	conf := s.Metadata.ConfState
	if conf == nil {
		return dst
	}
	for _, ids := range [...][]uint64{conf.Voters, conf.Learners, conf.VotersOutgoing, conf.LearnersNext} {
		dst = binary.AppendUvarint(dst, uint64(len(ids)))
		for _, id := range ids {
			dst = binary.AppendUvarint(dst, id)
		}
	}
	return dst
}

func snapshotMask(s *raftpb.Snapshot) byte {
	var mask byte
	set := func(present bool, bit byte) {
		if present {
			mask |= bit
		}
	}
	meta := s.Metadata
	conf := meta.GetConfState()
	set(s.Data != nil, snapHasData)
	set(meta != nil, snapHasMeta)
	set(meta != nil && meta.Index != nil, snapHasIndex)
	set(meta != nil && meta.Term != nil, snapHasTerm)
	set(conf != nil, snapHasConf)
	set(conf != nil && conf.AutoLeave != nil, snapHasAutoLeave)
	set(conf.GetAutoLeave(), snapAutoLeave)
	return mask
}
