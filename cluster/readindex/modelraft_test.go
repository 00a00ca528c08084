package readindex_test

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// entry is one of a replica's log. Each names the configuration that holds once it is applied.
type entry struct {
	term             uint64
	voters, outgoing []uint64
}

// member is a replica in an abstract raft: messages are steps that two of them take together, and a whole log is copied at once.
type member struct {
	node            *node
	group           *group
	id              replica.ID
	term            uint64
	durable         uint64     // term that a restart does not take away
	voted           replica.ID // in that
	log             []entry    // replaced, never changed
	commit, applied int
	leading         bool
	votes           map[replica.ID]bool // while it is a candidate
	match           map[replica.ID]int  // while it leads
}

// group is what the laws need to know of all its members.
type group struct {
	id        ring.PartitionID
	members   []*member
	epoch     uint32
	elected   uint64 // highest term in which an election was completed
	committed int    // largest index that was acknowledged
}

// conf is the configuration that a replica goes by, that of what it has applied, and last what its log ends with.
func (m *member) conf() *entry { return &m.log[m.applied-1] }
func (m *member) last() *entry { return &m.log[len(m.log)-1] }

// majority reports whether those who have it are one, of both halves.
func (e *entry) majority(has func(replica.ID) bool) bool {
	for i, half := range [...][]uint64{e.voters, e.outgoing} {
		n := 0
		for _, id := range half {
			if has(replica.ID(id)) {
				n++
			}
		}
		if n <= len(half)/2 && (i == 0 || len(half) > 0) {
			return false
		}
	}
	return true
}

func (e *entry) voter(id replica.ID) bool {
	return slices.Contains(e.voters, uint64(id)) || slices.Contains(e.outgoing, uint64(id))
}

// publish tells where a replica stands, before anything that the step sends counts.
func (m *member) publish() {
	s := readindex.Standing{Group: m.group.id, Replica: m.id, Term: m.term, Leading: m.leading}
	if m.leading {
		s.Serving = m.applied > 0 && m.log[m.applied-1].term == m.term
		s.Commit, s.Applied = uint64(m.commit), uint64(m.applied)
		s.Voters, s.Outgoing = m.conf().voters, m.conf().outgoing
	}
	m.node.witness.Stand(s.Group, s.Replica, s.Term)
	m.node.reads.Stand(&s)
	m.node.act()
}

// move brings a replica to a later term.
func (m *member) move(term uint64) {
	m.term, m.leading, m.votes = term, false, nil
	m.publish()
}

// keep makes the term durable, with or without a vote.
func (m *member) keep(voted replica.ID) {
	if m.durable != m.term {
		m.durable, m.voted = m.term, 0
	}
	if voted != 0 {
		m.voted = voted
	}
}

// campaign has a candidate begin an election. It may be one that is no voter: the only one perhaps that knows of it, and which
// others cannot outvote.
func (m *member) campaign() {
	if m.applied == 0 || m.applied < m.commit { // it might go by a configuration that is two steps behind
		return
	}
	m.move(m.term + 1)
	m.keep(m.id)
	m.votes = map[replica.ID]bool{m.id: true}
	m.count()
}

// vote has m vote for a candidate, unless it must not.
func (m *member) vote(c *member) {
	if c.votes == nil || c.term < m.term {
		return
	}
	if m.term < c.term {
		m.move(c.term)
	}
	if m.durable == m.term && m.voted != 0 && m.voted != c.id {
		return
	}
	if len(m.log) > 0 && (m.last().term > c.last().term || m.last().term == c.last().term && len(m.log) > len(c.log)) {
		return
	}
	m.keep(c.id)
	c.votes[m.id] = true
	c.count()
}

// count completes an election with the vote that makes a majority.
func (m *member) count() {
	if !m.conf().majority(func(id replica.ID) bool { return m.votes[id] }) {
		return
	}
	m.group.elected = max(m.group.elected, m.term)
	m.leading, m.votes, m.match = true, nil, make(map[replica.ID]int)
	m.propose(*m.last())
}

// propose appends an entry to a leader's log.
func (m *member) propose(e entry) {
	e.term = m.term
	m.log = append(slices.Clone(m.log), e)
	m.publish()
	m.match[m.id] = len(m.log)
	m.advance()
}

// advance acknowledges what a majority has, if it is of the leader's term.
func (m *member) advance() {
	for i := len(m.log); i > m.commit && m.log[i-1].term == m.term; i-- {
		if m.conf().majority(func(id replica.ID) bool { return m.match[id] >= i }) {
			m.commit = i
			m.publish()
			m.group.committed = max(m.group.committed, i)
		}
	}
}

func (m *member) apply() {
	m.applied = m.commit
	m.publish()
	if m.leading {
		m.advance()
	}
}

// replicate has another one store the leader's log. A leader that meets a later term is none any more.
func (m *member) replicate(to *member) {
	if to == m || !m.leading {
		return
	}
	if to.term > m.term {
		m.move(to.term)
		return
	}
	if to.term < m.term || to.votes != nil {
		to.move(m.term)
	}
	to.log, to.commit = m.log, max(to.commit, m.commit)
	to.keep(0)
	m.match[to.id] = len(m.log)
	m.advance()
}

// reconfigure takes the next step from one configuration to another, if the last is done.
func (m *member) reconfigure(t *rapid.T, w *world) {
	if m.last().term != m.term || m.applied < len(m.log) {
		return
	}
	next := entry{voters: m.conf().voters}
	if len(m.conf().outgoing) == 0 {
		next.outgoing = m.conf().voters
		next.voters = w.drawVoters(t, m.group)
	}
	m.propose(next)
}

// leave takes a replica away that is no voter to anybody's knowledge, nor will be. One that its node gets later is another one.
func (m *member) leave() {
	for _, o := range m.group.members {
		for i := max(o.applied-1, 0); i < len(o.log); i++ {
			if o.log[i].voter(m.id) {
				return
			}
		}
	}
	m.group.members = slices.DeleteFunc(m.group.members, func(o *member) bool { return o == m })
	m.leading = false
	m.node.witness.Leave(m.group.id)
	m.node.reads.Leave(m.group.id)
	m.node.act()
}

// on finds a group's replica on a node, or places one there.
func (g *group) on(n *node) *member {
	for _, m := range g.members {
		if m.node == n {
			return m
		}
	}
	g.epoch++
	m := &member{node: n, group: g, id: replica.MakeID(n.id, g.epoch)}
	g.members = append(g.members, m)
	m.publish()
	return m
}
