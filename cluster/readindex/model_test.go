package readindex_test

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// world is some nodes with replicas of some groups, and what is under way between them.
type world struct {
	t      *rapid.T
	nodes  []*node
	groups []*group
	bag    []letter
	now    int // counts ticks of all nodes, once the world is at peace
}

// node is a process and what survives it.
type node struct {
	w       *world
	id      ring.NodeID
	run     uint64
	dead    bool // for good: it neither hears nor says anything
	witness *readindex.Witness
	reads   *readindex.Reads
	eager   bool // it asks at once, otherwise when it is told to
}

// letter is a question or the answer to it.
type letter struct {
	asker  *node
	run    uint64 // of the asker
	asked  *node
	number uint64
	body   []byte
	answer bool
	since  int
}

// began is a read, and what was so when it began.
type began struct {
	member    *member
	run, term uint64
	elected   uint64
	committed int
	over      bool
}

// start makes a world in which each group has a leader.
func start(t *rapid.T) *world {
	w := &world{t: t}
	for i := range 2 + evenly(t, 4, "nodes but two") {
		n := &node{w: w, id: ring.NodeID(i + 1)}
		w.nodes = append(w.nodes, n)
		n.restart()
	}
	for i := range 1 + evenly(t, 3, "groups but one") {
		g := &group{id: ring.PartitionID(i)}
		w.groups = append(w.groups, g)
		first := entry{voters: w.drawVoters(t, g)}
		if evenly(t, 4, "joint") == 0 {
			first.outgoing = w.drawVoters(t, g)
		}
		for _, m := range g.members {
			m.log, m.commit, m.applied = []entry{first}, 1, 1
		}
		g.committed = 1
		g.elect(g.members[0])
	}
	return w
}

func (w *world) drawVoters(t *rapid.T, g *group) []uint64 {
	var ids []uint64
	for _, n := range rapid.Permutation(w.nodes).Draw(t, "voters")[:1+evenly(t, len(w.nodes), "voters but one")] {
		ids = append(ids, uint64(g.on(n).id))
	}
	return ids
}

// elect has a candidate ask all who live, and if it wins bring all of them up to date.
func (g *group) elect(c *member) bool {
	c.campaign()
	for _, m := range g.members {
		if !m.node.dead {
			m.vote(c)
		}
	}
	for range 4 { // commit, apply, and again in the configuration that has brought
		for _, m := range g.members {
			if !m.node.dead {
				c.replicate(m)
				m.apply()
			}
		}
	}
	lives := func(id replica.ID) bool { return !c.node.w.nodes[id.Node()-1].dead }
	return c.leading && c.applied == len(c.log) && c.conf().majority(lives)
}

// restart makes a new process, of which nobody is told.
func (n *node) restart() {
	n.run++
	n.witness, n.reads = readindex.NewWitness(n.run), readindex.New()
	for _, g := range n.w.groups {
		for _, m := range g.members {
			if m.node == n {
				m.term, m.leading, m.votes = m.durable, false, nil // what it knows to be committed is stored with the log
				m.publish()
			}
		}
	}
}

// read begins one at what is a leader as far as it knows.
func (m *member) read() {
	b := &began{member: m, run: m.node.run, term: m.term, elected: m.group.elected, committed: m.group.committed}
	if !m.node.reads.Read(m.group.id, b) {
		m.node.w.t.Fatalf("node %d does not lead group %d", m.node.id, m.group.id)
	}
	m.node.act()
}

// act does what a node's reads want done.
func (n *node) act() {
	if n.eager {
		n.reads.Ask()
	}
	e := n.reads.Take()
	for i := range e.Asks {
		n.w.bag = append(n.w.bag, letter{
			asker: n, run: n.run, asked: n.w.nodes[e.Asks[i].To-1], number: e.Asks[i].Number,
			body: readindex.AppendQuestion(nil, &e.Asks[i].Question), since: n.w.now,
		})
	}
	for _, end := range e.Ended {
		b, _ := end.Tag.(*began)
		n.w.judge(b, end)
	}
}

// judge is the law of what may be read.
func (w *world) judge(b *began, end readindex.Ended) {
	m := b.member
	leads := m.leading && m.term == b.term && m.node.run == b.run
	switch {
	case b.over:
		w.t.Fatalf("a read ends twice")
	case end.Err == replica.ErrDropped && leads:
		w.t.Fatalf("group %d: node %d drops a read of term %d, which it still leads", m.group.id, m.node.id, b.term)
	case end.Err == replica.ErrDropped:
	case end.Err != nil:
		w.t.Fatalf("a read ends with %v", end.Err)
	case !leads || end.Term != b.term:
		w.t.Fatalf("group %d: a read that began in term %d is granted in term %d", m.group.id, b.term, end.Term)
	case b.elected > b.term:
		w.t.Fatalf("group %d: node %d reads in term %d, but had been followed in term %d", m.group.id, m.node.id, b.term, b.elected)
	case m.applied < b.committed:
		w.t.Fatalf("group %d: node %d reads at index %d, but %d was acknowledged", m.group.id, m.node.id, m.applied, b.committed)
	}
	b.over = true
}

// deliver hands a letter over. A process that has ended hears nothing.
func (w *world) deliver(l letter) {
	if !l.answer {
		q, err := readindex.DecodeQuestion(l.body)
		if err != nil {
			w.t.Fatal(err)
		}
		a := l.asked.witness.Answer(&q)
		l.body, l.answer, l.since = readindex.AppendAnswer(nil, &a), true, w.now
		w.bag = append(w.bag, l)
		return
	}
	a, err := readindex.DecodeAnswer(l.body)
	if err != nil {
		w.t.Fatal(err)
	}
	if l.run == l.asker.run {
		l.asker.reads.Answer(l.asked.id, &a)
		l.asker.act()
	}
}

// lose takes a letter away. Its asker may learn of that.
func (w *world) lose(l letter, told bool) {
	if told && l.run == l.asker.run {
		l.asker.reads.Lost(l.asked.id, l.number)
		l.asker.act()
	}
}

// leaders are all who believe to be one.
func (w *world) leaders() []*member {
	var out []*member
	for _, m := range w.members() {
		if m.leading {
			out = append(out, m)
		}
	}
	return out
}

func (w *world) members() []*member {
	var out []*member
	for _, g := range w.groups {
		out = append(out, g.members...)
	}
	return out
}

// peace ends all elections, with a leader for each group: one that all who live follow, and are a majority.
func (w *world) peace() {
	for _, g := range w.groups {
		var last uint64
		for _, m := range g.members {
			last = max(last, m.term)
		}
		ok := slices.ContainsFunc(slices.Clone(g.members), func(m *member) bool {
			if m.node.dead {
				return false
			}
			m.move(last)
			m.apply()
			won := g.elect(m)
			last = max(last, m.term)
			return won
		})
		if ok {
			continue
		}
		for _, n := range w.nodes { // too many are dead
			if n.dead {
				n.dead = false
				w.peace()
				return
			}
		}
		w.t.Fatalf("group %d: nobody can be elected", g.id)
	}
}

// pass lets a tick pass in which every letter arrives that is older than delay.
func (w *world) pass(delay int) {
	for i := 0; i < len(w.bag); i++ {
		l := w.bag[i]
		if w.now-l.since < delay {
			continue
		}
		w.bag = slices.Delete(w.bag, i, i+1)
		i--
		if !l.asker.dead && !l.asked.dead {
			w.deliver(l)
		}
	}
	w.now++
	for _, n := range w.nodes {
		n.reads.Tick()
		n.act()
	}
}
