package readindex

import (
	"maps"
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// Standing is where a node's replica of a group stands. Before a leader sends anything that tells what is committed, its
// Commit is published; before it sends anything in a new configuration, that is.
type Standing struct {
	Group   ring.PartitionID
	Replica replica.ID
	Term    uint64
	Leading bool
	// Serving: it leads and has applied an entry of its own term, and with it all that was acknowledged before.
	Serving  bool
	Commit   uint64   // index that other members may have applied
	Applied  uint64   // index that the engine shows
	Voters   []uint64 // replica.IDs; never changed once published
	Outgoing []uint64 // the other half of a joint configuration
}

// Tag is the owner's handle of a read.
type Tag any

// Ask is a question to send.
type Ask struct {
	To ring.NodeID
	Question
}

// Ended is a read that is over.
type Ended struct {
	Tag  Tag
	Term uint64 // of the leadership that has granted it
	// Err is nil where the state, as the engine shows it now, may be read: it holds everything that was acknowledged before
	// the read began. Else replica.ErrDropped: the leadership is over.
	Err error
}

// Effects are what Reads wants done, in any order.
type Effects struct {
	Asks  []Ask
	Ended []Ended
}

// A question without an answer is given up after askAgain ticks at least, and after up to maxTicks where answers are slow.
// Others are asked after patience at the latest.
const (
	askAgain = 2
	patience = 16
	maxTicks = 256
)

// Reads are the reads of the groups that a node leads. It is not safe for concurrent use. After each call, Ask if questions
// should leave now, and Take what it has led to.
type Reads struct {
	number  uint64 // of the newest question
	waiting int
	led     map[ring.PartitionID]*led
	open    []*led // with reads that are not confirmed, in no order
	peers   map[ring.NodeID]*peer
	chosen  []*peer
	effects Effects
}

// peer is another node that is asked.
type peer struct {
	id     ring.NodeID
	number uint64 // of the last question
	claims []Claim
	waits  bool // for its answer
	since  int  // ticks
	most   int  // after so many ticks it waits no longer

	silent bool   // a question had no answer in time: others are preferred
	barred bool   // it cannot be reached before the next tick
	newest uint64 // number of its newest answer
	moment Moment // of that
}

// New makes the reads of a node that leads nothing yet.
func New() *Reads {
	return &Reads{led: make(map[ring.PartitionID]*led), peers: make(map[ring.NodeID]*peer)}
}

// Take returns what is to be done since the last Take.
func (r *Reads) Take() Effects {
	e := r.effects
	r.effects = Effects{}
	return e
}

// Stand takes in where a replica stands.
func (r *Reads) Stand(s *Standing) {
	l := r.led[s.Group]
	if l != nil && (!s.Leading || s.Term != l.Term || s.Replica != l.Replica) {
		r.end(l)
		l = nil
	}
	if !s.Leading {
		return
	}
	if l == nil {
		l = &led{}
		r.led[s.Group] = l
	}
	if !slices.Equal(l.Voters, s.Voters) || !slices.Equal(l.Outgoing, s.Outgoing) {
		l.others = othersOf(s)
	}
	l.Standing = *s
	r.grant(l)
}

// Leave takes in that a group's replica is gone.
func (r *Reads) Leave(p ring.PartitionID) {
	if l := r.led[p]; l != nil {
		r.end(l)
	}
}

// end gives up a leadership with its reads.
func (r *Reads) end(l *led) {
	for _, reads := range [...][]read{l.granted, l.asked} {
		for i := range reads {
			r.finish(&reads[i], Ended{Err: replica.ErrDropped})
		}
	}
	delete(r.led, l.Group)
	if len(l.asked) > 0 {
		r.shut(l)
	}
}

func (r *Reads) finish(q *read, e Ended) {
	e.Tag = q.tag
	r.effects.Ended = append(r.effects.Ended, e)
	r.waiting--
}

// shut takes a group out of the open ones.
func (r *Reads) shut(l *led) {
	r.open = slices.DeleteFunc(r.open, func(o *led) bool { return o == l })
}

// Read asks for the right to read. It returns false, and does nothing, where this node does not lead the group.
func (r *Reads) Read(p ring.PartitionID, tag Tag) bool {
	l := r.led[p]
	if l == nil {
		return false
	}
	if len(l.asked) == 0 {
		r.open = append(r.open, l)
	}
	l.asked = append(l.asked, read{tag: tag, after: r.number, index: l.Commit})
	r.waiting++
	r.grant(l) // a sole voter asks nobody
	return true
}

// Waiting is how many reads have not ended.
func (r *Reads) Waiting() int { return r.waiting }

// Ask puts the questions that waiting reads need, one at a time to each node: those that come meanwhile wait for the next.
// The owner calls it after whatever may have brought reads or ended a question; what gathers before is asked together.
func (r *Reads) Ask() {
	for _, l := range r.open {
		r.choose(l, l.Voters)
		r.choose(l, l.Outgoing)
	}
	for _, p := range r.chosen {
		r.ask(p)
	}
	r.chosen = r.chosen[:0]
}

// choose sees to it that enough voters of one half are asked: as few as make a majority, and for all groups the same ones as
// far as that goes. Who was silent is not counted on: where the others do not suffice, all who were are asked.
func (r *Reads) choose(l *led, voters []uint64) {
	need := len(voters)/2 + 1
	if slices.Contains(voters, uint64(l.Replica)) {
		need--
	}
	last := l.asked[len(l.asked)-1].after
	for _, silent := range [...]bool{false, true} {
		for _, id := range l.others {
			v, p := l.find(id), r.peer(id.Node())
			if need <= 0 || p.silent != silent || !slices.Contains(voters, uint64(id)) || v != nil && v.denied {
				continue
			}
			answered := v != nil && v.number > last
			if !answered && !p.waits && !p.barred && !slices.Contains(r.chosen, p) {
				r.chosen = append(r.chosen, p)
			}
			if answered || !silent {
				need--
			}
		}
	}
}

func (r *Reads) peer(id ring.NodeID) *peer {
	p := r.peers[id]
	if p == nil {
		p = &peer{id: id, most: askAgain}
		r.peers[id] = p
	}
	return p
}

// ask asks a node on behalf of all reads that wait for it.
func (r *Reads) ask(p *peer) {
	r.number++
	p.number, p.claims, p.waits, p.since = r.number, nil, true, 0
	for _, l := range r.open {
		for _, id := range l.others {
			if id.Node() == p.id && !l.knownAt(id, p) {
				p.claims = append(p.claims, Claim{Group: l.Group, Replica: id, Term: l.Term})
			}
		}
	}
	r.effects.Asks = append(r.effects.Asks, Ask{To: p.id, Question: Question{Number: p.number, Claims: p.claims}})
}

// Answer takes a node's answer in. It may come late, twice, or after a newer one.
func (r *Reads) Answer(from ring.NodeID, a *Answer) {
	p := r.peers[from]
	if p == nil || a.Number > r.number {
		return
	}
	if a.Number == p.number {
		r.learn(p, a)
	}
	if a.Number > p.newest {
		p.newest, p.moment = a.Number, a.Moment
	}
	for i := len(r.open) - 1; i >= 0; i-- { // grant takes groups out
		if l := r.open[i]; l.vouch(from, a) {
			r.grant(l)
		}
	}
}

// learn takes in the answer to a node's last question.
func (r *Reads) learn(p *peer, a *Answer) {
	if p.waits {
		p.most = min(max(askAgain, 2*p.since), maxTicks)
	}
	p.waits, p.silent, p.barred = false, false, false
	for i, c := range p.claims {
		l := r.led[c.Group]
		if l == nil || l.Term != c.Term {
			continue
		}
		v := l.voucher(c.Replica)
		if v.denied = slices.Contains(a.Denied, i); !v.denied {
			v.known, v.moment = true, a.Moment
		}
	}
}

// Lost takes in that a question will have no answer. That node is not asked again before the next tick; others are.
func (r *Reads) Lost(to ring.NodeID, number uint64) {
	if p := r.peers[to]; p != nil && p.number == number {
		p.waits, p.silent, p.barred = false, true, true
	}
}

// Tick counts the time that answers take. A question without one is given up, and others are asked instead.
func (r *Reads) Tick() {
	for _, p := range r.peers {
		p.barred = false
		p.since++
		p.silent = p.silent || p.waits && p.since >= min(p.most, patience)
		if p.waits && p.since >= p.most {
			p.waits, p.most = false, min(2*p.most, maxTicks)
		}
	}
	for _, l := range r.open {
		for i := range l.vouchers {
			l.vouchers[i].denied = false
		}
	}
}

// Forget lets go of the reads that nobody waits for any more. They do not end.
func (r *Reads) Forget(gone func(Tag) bool) {
	for _, l := range r.led {
		before := len(l.asked) + len(l.granted)
		if before == 0 {
			continue
		}
		isOpen := len(l.asked) > 0
		drop := func(q read) bool { return gone(q.tag) }
		l.asked, l.granted = slices.DeleteFunc(l.asked, drop), slices.DeleteFunc(l.granted, drop)
		r.waiting -= before - len(l.asked) - len(l.granted)
		if isOpen && len(l.asked) == 0 {
			r.shut(l)
		}
	}
}

// Close gives up all reads.
func (r *Reads) Close() {
	for _, p := range slices.Sorted(maps.Keys(r.led)) {
		r.end(r.led[p])
	}
}

// grant ends the reads that may be served now.
func (r *Reads) grant(l *led) {
	n := 0
	for n < len(l.asked) && l.confirmed(l.Voters, l.asked[n].after) &&
		(len(l.Outgoing) == 0 || l.confirmed(l.Outgoing, l.asked[n].after)) {
		n++
	}
	if n > 0 {
		l.granted = append(l.granted, l.asked[:n]...)
		if l.asked = slices.Delete(l.asked, 0, n); len(l.asked) == 0 {
			r.shut(l)
		}
	}
	if !l.Serving {
		return
	}
	for n = 0; n < len(l.granted) && l.granted[n].index <= l.Applied; n++ {
		r.finish(&l.granted[n], Ended{Term: l.Term})
	}
	l.granted = slices.Delete(l.granted, 0, n)
}
