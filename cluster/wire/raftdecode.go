package wire

import "go.etcd.io/raft/v3/raftpb"

// messageBox is a message together with what its pointers point at: one allocation instead of ten.
type messageBox struct {
	m          raftpb.Message
	typ        raftpb.MessageType
	to         uint64
	from       uint64
	term       uint64
	logTerm    uint64
	index      uint64
	commit     uint64
	vote       uint64
	rejectHint uint64
	reject     bool
}

// entryBox is an entry together with what its pointers point at.
type entryBox struct {
	e     raftpb.Entry
	typ   raftpb.EntryType
	term  uint64
	index uint64
}

// appendBox is a message that has entries, with room for one: most bring one.
type appendBox struct {
	messageBox
	only entryBox
	list [1]*raftpb.Entry
}

// snapshotBox is a snapshot together with what its pointers point at.
type snapshotBox struct {
	s         raftpb.Snapshot
	meta      raftpb.SnapshotMetadata
	conf      raftpb.ConfState
	index     uint64
	term      uint64
	autoLeave bool
}

// DecodeRaft decodes what AppendRaft wrote; b must hold exactly that. The message's bytes (the data of its entries,
// context, snapshot data) alias b, and its entries share one allocation: keeping one of them keeps all, an only one the
// message.
// The error is ErrMalformed.
func DecodeRaft(b []byte) (group uint16, m *raftpb.Message, err error) {
	c := cursor{rest: b}
	group = c.u16()
	box := decodeMessage(&c)
	if err := c.done(); err != nil {
		return 0, nil, err
	}
	return group, &box.m, nil
}

func decodeMessage(c *cursor) *messageBox {
	mask := c.u16()
	if mask&hasEntries != 0 {
		box := &appendBox{}
		decodeFields(c, mask, &box.messageBox)
		box.m.Entries = decodeEntries(c, box)
		return &box.messageBox
	}
	box := &messageBox{}
	decodeFields(c, mask, box)
	return box
}

// decodeFields reads all of a message but its entries, which stand last.
func decodeFields(c *cursor, mask uint16, box *messageBox) {
	m := &box.m
	if mask&^messageMask != 0 {
		c.fail()
		return
	}
	if mask&hasType != 0 {
		box.typ = raftpb.MessageType(c.u8())
		m.Type = &box.typ
	}
	m.To = c.set(mask&hasTo != 0, &box.to)
	m.From = c.set(mask&hasFrom != 0, &box.from)
	m.Term = c.set(mask&hasTerm != 0, &box.term)
	m.LogTerm = c.set(mask&hasLogTerm != 0, &box.logTerm)
	m.Index = c.set(mask&hasIndex != 0, &box.index)
	m.Commit = c.set(mask&hasCommit != 0, &box.commit)
	m.Vote = c.set(mask&hasVote != 0, &box.vote)
	m.RejectHint = c.set(mask&hasRejectHint != 0, &box.rejectHint)
	m.Reject = c.flag(mask&hasReject != 0, mask&rejectIsTrue != 0, &box.reject)
	if mask&hasContext != 0 {
		m.Context = c.bytes()
	}
	if mask&hasSnapshot != 0 {
		m.Snapshot = decodeSnapshot(c)
	}
	if box.typ > maxMessageType {
		c.fail()
	}
}

// set reads a number into place if it is present, and returns where it lies, else nil.
func (c *cursor) set(present bool, place *uint64) *uint64 {
	if !present {
		return nil
	}
	*place = c.uvarint()
	return place
}

// flag puts value into place if it is present. A true value that is not present is malformed.
func (c *cursor) flag(present, value bool, place *bool) *bool {
	if !present {
		if value {
			c.fail()
		}
		return nil
	}
	*place = value
	return place
}

func decodeEntries(c *cursor, message *appendBox) []*raftpb.Entry {
	n := c.count(1)
	switch n {
	case 0: // an empty list has another encoding: its bit is not set
		c.fail()
		return nil
	case 1:
		decodeEntry(c, &message.only)
		message.list[0] = &message.only.e
		return message.list[:]
	}
	boxes := make([]entryBox, n)
	entries := make([]*raftpb.Entry, n)
	for i := range boxes {
		decodeEntry(c, &boxes[i])
		entries[i] = &boxes[i].e
	}
	return entries
}

func decodeEntry(c *cursor, box *entryBox) {
	mask := c.u8()
	if mask&^entryMask != 0 {
		c.fail()
		return
	}
	e := &box.e
	box.typ = raftpb.EntryType(mask >> entryTypeShift)
	if mask&entryHasType != 0 {
		e.Type = &box.typ
	} else if box.typ != 0 {
		c.fail()
	}
	if box.typ > maxEntryType {
		c.fail()
	}
	e.Term = c.set(mask&entryHasTerm != 0, &box.term)
	e.Index = c.set(mask&entryHasIndex != 0, &box.index)
	if mask&entryHasData != 0 {
		e.Data = c.bytes()
	}
}

func decodeSnapshot(c *cursor) *raftpb.Snapshot {
	box := &snapshotBox{}
	s := &box.s
	mask := c.u8()
	if !validSnapshotMask(mask) {
		c.fail()
		return s
	}
	if mask&snapHasData != 0 {
		s.Data = c.bytes()
	}
	if mask&snapHasMeta == 0 {
		return s
	}
	s.Metadata = &box.meta
	s.Metadata.Index = c.set(mask&snapHasIndex != 0, &box.index)
	s.Metadata.Term = c.set(mask&snapHasTerm != 0, &box.term)
	if mask&snapHasConf == 0 {
		return s
	}
	conf := &box.conf
	s.Metadata.ConfState = conf
	conf.Voters = c.ids()
	conf.Learners = c.ids()
	conf.VotersOutgoing = c.ids()
	conf.LearnersNext = c.ids()
	conf.AutoLeave = c.flag(mask&snapHasAutoLeave != 0, mask&snapAutoLeave != 0, &box.autoLeave)
	return s
}

// validSnapshotMask refuses unknown bits, and bits about a part that is not there.
func validSnapshotMask(mask byte) bool {
	if mask&^byte(snapMask) != 0 {
		return false
	}
	if mask&snapHasMeta == 0 && mask&snapMetaOnly != 0 {
		return false
	}
	return mask&snapHasConf != 0 || mask&snapConfOnly == 0
}

func (c *cursor) ids() []uint64 {
	n := c.count(1)
	if n == 0 {
		return nil
	}
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = c.uvarint()
	}
	return ids
}
