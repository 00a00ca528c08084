package replica

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// Reads. A leader may look at its state for a read once a majority of voters has said, after the read began, that it knows
// of no later term: then no later leader had been elected before, and every write acknowledged until then was acknowledged
// by this leader or its predecessors. It has applied all of those: its own, since nobody hears of a write that is not
// applied, and the others, which its log had before the first entry of its term (Raft thesis, 6.4).
//
// That is raft's ReadIndex with two differences. Rounds are messages of their own, not heartbeats: behind the answer to one of
// those raft sends an append where anything is under way. And the answers leave before the fsync: all they say is that their
// sender has not voted in a later term yet, and a vote leaves after it.
type reads struct {
	gathered []Tag       // asked since the last Ready
	asked    []readBatch // not confirmed yet, in order
	granted  []readBatch // confirmed, waiting for the state machine to reach their index
	round    uint64      // number of the newest; no two rounds of a term have the same
	acked    []ack       // who has answered what of this leadership
	pause    int         // ticks until what is unanswered is asked again
	out      []*raftpb.Message
}

// readBatch are the reads that began before one round. What they see is at least what any member may have applied by then,
// which is more than what was acknowledged where more is committed than a turn applies.
type readBatch struct {
	round uint64
	index uint64 // the commit index that the others had been told
	tags  []Tag
}

// ack is the newest round that a voter has answered: it has then answered for all before.
type ack struct {
	voter, round uint64
}

// Read asks for the right to read: the tag comes back in Readable of a later Ready once the state machine holds
// everything that was acknowledged before now, or in Dropped.
func (r *Replica) Read(tag Tag) error {
	if !r.Leading() {
		return &NotLeaderError{Partition: r.group, Leader: r.lead}
	}
	r.reads.gathered = append(r.reads.gathered, tag)
	return nil
}

// askReads begins a round for the reads that gathered.
func (r *Replica) askReads() {
	l := &r.reads
	if len(l.gathered) == 0 || !r.Serving() {
		return
	}
	l.round++
	l.asked = append(l.asked, readBatch{round: l.round, index: r.hard.Commit, tags: l.gathered})
	l.gathered = nil
	r.ask()
	r.grant() // a sole voter asks nobody
}

// ask sends the newest round to all voters that have not answered it.
func (r *Replica) ask() {
	r.reads.pause = r.heartbeatTicks
	voters, outgoing := r.conf.GetVoters(), r.conf.GetVotersOutgoing()
	for _, v := range voters {
		r.askVoter(v)
	}
	for _, v := range outgoing {
		if !slices.Contains(voters, v) {
			r.askVoter(v)
		}
	}
}

func (r *Replica) askVoter(v uint64) {
	if v != uint64(r.id) && r.reads.answered(v) < r.reads.round {
		r.reads.out = append(r.reads.out, r.roundMessage(raftpb.MsgReadIndex, v, r.reads.round))
	}
}

// roundMessage makes a question or an answer.
func (r *Replica) roundMessage(kind raftpb.MessageType, to, round uint64) *raftpb.Message {
	m := &struct {
		raftpb.Message
		kind                  raftpb.MessageType
		from, to, term, round uint64
	}{kind: kind, from: uint64(r.id), to: to, term: r.term, round: round}
	m.Type, m.From, m.To, m.Term, m.Index = &m.kind, &m.from, &m.to, &m.term, &m.round
	return &m.Message
}

// answerRound says that this member knows of no term later than the one that asks. If it does, raft's own messages will
// tell the leader; if it does not even know this term, it is not among those who made the leader one.
func (r *Replica) answerRound(m *raftpb.Message) {
	if m.GetTerm() == r.term && m.GetTerm() == r.raw.BasicStatus().GetTerm() {
		r.reads.out = append(r.reads.out, r.roundMessage(raftpb.MsgReadIndexResp, m.GetFrom(), m.GetIndex()))
	}
}

// noteAnswer takes an answer in.
func (r *Replica) noteAnswer(m *raftpb.Message) {
	if !r.Leading() || m.GetTerm() != r.term || m.GetIndex() > r.reads.round {
		return
	}
	r.reads.note(m.GetFrom(), m.GetIndex())
	r.grant()
}

// grant gives the right to read to all batches that a majority has confirmed.
func (r *Replica) grant() {
	l := &r.reads
	for len(l.asked) > 0 && r.confirmed(r.conf.GetVoters(), l.asked[0].round) && r.confirmed(r.conf.GetVotersOutgoing(), l.asked[0].round) {
		l.granted = append(l.granted, l.asked[0])
		l.asked = l.asked[1:]
	}
}

// confirmed reports whether a majority of voters has answered a round, this replica included if it is one of them. Where there
// are none, as in the outgoing half of a configuration that is not joint, nobody has to.
func (r *Replica) confirmed(voters []uint64, round uint64) bool {
	n := 0
	for _, v := range voters {
		if v == uint64(r.id) || r.reads.answered(v) >= round {
			n++
		}
	}
	return n > len(voters)/2 || len(voters) == 0
}

// Readable returns the reads that the state machine, as applied now, may serve.
func (r *Replica) Readable(dst []Tag) []Tag {
	l := &r.reads
	for len(l.granted) > 0 && l.granted[0].index <= r.applied {
		dst = append(dst, l.granted[0].tags...)
		l.granted = l.granted[1:]
	}
	return dst
}

// tickReads asks again where messages may have been lost.
func (r *Replica) tickReads() {
	l := &r.reads
	if len(l.asked) == 0 || !r.Leading() {
		return
	}
	if l.pause--; l.pause <= 0 {
		r.ask()
	}
}

func (l *reads) answered(voter uint64) uint64 {
	for i := range l.acked {
		if l.acked[i].voter == voter {
			return l.acked[i].round
		}
	}
	return 0
}

func (l *reads) note(voter, round uint64) {
	for i := range l.acked {
		if l.acked[i].voter == voter {
			l.acked[i].round = max(l.acked[i].round, round)
			return
		}
	}
	l.acked = append(l.acked, ack{voter, round})
}

// ready reports whether a Ready would have something of the reads.
func (l *reads) ready(serving bool, applied uint64) bool {
	return len(l.out) > 0 || len(l.gathered) > 0 && serving || len(l.granted) > 0 && l.granted[0].index <= applied
}

// giveUp ends all reads: the leadership that they were asked of is over. It returns their tags.
func (l *reads) giveUp() []Tag {
	tags := l.gathered
	for _, b := range l.asked {
		tags = append(tags, b.tags...)
	}
	for _, b := range l.granted {
		tags = append(tags, b.tags...)
	}
	l.gathered, l.asked, l.granted, l.acked = nil, nil, nil, nil
	return tags
}
