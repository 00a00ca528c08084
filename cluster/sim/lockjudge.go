package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// locks is what the judge knows of all locks.
type locks struct {
	w    *world
	all  []*lock
	byID map[storage.WaiterID]*place
	open int // wishes that were not answered
}

// lock is one lock's name.
type lock struct {
	w       *world
	name    string
	group   storage.PartitionID
	top     storage.Version // the largest token that anybody was told
	tenures []*tenure       // in the order of being told
	places  []*place
	writes  []*guardedWrite
	seen    map[string]map[storage.Version]string // guarded keys: what they were at a version
	holder  storage.Version                       // the token that it was last seen held under, after the faults
	held    time.Duration                         // when that was first seen
	touched time.Duration                         // when a command that lets somebody have it was last brought to a worker
}

// tenure is one holder's time.
type tenure struct {
	l      *lock
	token  storage.Version
	ttl    time.Duration
	safe   time.Duration // until then it is nobody else's, unless it is given back
	given  bool          // its holder has asked to end it
	ended  time.Duration // when somebody first heard that it is over; 0: nobody has
	reason string
}

// place is one wish's place in the line, under one id.
type place struct {
	w        *world
	l        *lock
	id       storage.WaiterID
	begun    time.Duration
	until    time.Duration // before which its wait cannot be over
	ttl      time.Duration
	waits    bool
	ahead    []*place // who waited when it was first sent
	token    storage.Version
	told     time.Duration // when it was told of its end
	held     bool          // it was told that its wait is over
	present  time.Duration // when the leader last had its request
	gap      time.Duration // the longest time in which no leader had it
	unheard  bool          // an attempt, which a leader may have had, ended without an answer
	finished bool
}

func newLocks(w *world) locks { return locks{w: w, byID: make(map[storage.WaiterID]*place)} }

func (x *locks) form() {
	for i := range lockNames {
		name := lockName(i)
		x.all = append(x.all, &lock{w: x.w, name: name, group: x.w.ring.Partition([]byte(name)), seen: make(map[string]map[storage.Version]string)})
	}
}

// begin notes a wish that is about to be sent, and who is in the line already: they come first.
func (x *locks) begin(w *wish) *place {
	p := &place{w: x.w, l: w.l, id: w.id, begun: x.w.now, until: w.until, ttl: w.ttl, waits: w.wait > 0, present: x.w.now}
	if x.byID[w.id] != nil {
		x.w.violate("two wishes are called %v", w.id)
	}
	x.byID[w.id] = p
	w.l.places = append(w.l.places, p)
	part, err := x.w.partition(w.l.group)
	if err != nil {
		x.w.violate("open partition %d: %w", w.l.group, err)
	}
	if part != nil {
		for _, other := range part.Waiters() {
			if q := x.byID[other.Waiter]; other.Name == w.l.name && q != nil {
				p.ahead = append(p.ahead, q)
			}
		}
	}
	x.open++
	x.w.note("wish", uint64(w.id.Node)<<32|uint64(w.id.Incarnation), w.id.Number)
	p.watch()
	return p
}

// wait is how long it may wait at the most.
func (p *place) wait() time.Duration { return max(0, p.until-p.begun) }

// answerTime is how long after its wait, and the faults, a wish may be without an answer.
const answerTime = 8 * time.Second

// watch demands an answer in time: no waiter is lost. What is left of a wait begins anew with the calm at the worst, for
// the group's clock stands still while nobody leads.
func (p *place) watch() {
	p.w.after(p.wait()+answerTime, func() {
		switch {
		case p.finished:
		case !p.w.calm:
			p.w.after(time.Second, p.watchOn)
		default:
			p.watchOn()
		}
	})
}

func (p *place) watchOn() {
	due := p.w.calmAt + p.wait() + answerTime
	switch {
	case p.finished:
	case !p.w.calm:
		p.w.after(time.Second, p.watchOn)
	case p.w.now < due:
		p.w.after(due-p.w.now, p.watchOn)
	default:
		p.w.violate("lock %s: %v, sent at %v to wait until %v, was not answered", p.l.name, p.id, p.begun, p.until)
	}
}

// brought notes that a leader has the request.
func (p *place) brought(n *node) {
	if leader, _ := p.w.leaderOf(p.l.group); leader == n {
		p.gap = max(p.gap, p.w.now-p.present)
		p.present = p.w.now
	}
}

// missing is less than the time after which a leader takes a waiter for dead that nobody asks for.
const missing = 4500 * time.Millisecond

// cancelled is the group saying that the wish is over: its wait is, or the leader has taken it for dead, which takes a
// silence, or it had the lock until that lapsed and never got the answer that told it.
func (p *place) cancelled() {
	w := p.w
	w.stats.Cancelled++
	p.finish()
	p.gap = max(p.gap, w.now-p.present)
	lapsed := p.unheard && w.now-p.begun >= p.ttl
	if p.gap < missing && !lapsed && w.now < p.until {
		w.violate("lock %s: %v was given up although it was silent for no longer than %v", p.l.name, p.id, p.gap)
	}
}

func (p *place) finish() {
	if !p.finished {
		p.finished = true
		p.told = p.w.now
		p.w.locks.open--
	}
}

// conclude notes what a wish has come to; p is nil for one that was never sent.
func (p *place) conclude(r *storage.LeaseReply, err error) {
	if p == nil {
		return
	}
	p.finish()
	p.gap = max(p.gap, p.w.now-p.present)
	switch {
	case err != nil:
	case r.Kind == storage.LeaseHeld:
		p.held = p.waits
		if p.waits && p.w.now < p.until {
			p.w.violate("lock %s: the wait of %v is over at %v, not at %v", p.l.name, p.id, p.w.now, p.until)
		}
	case r.Kind == storage.LeaseGranted:
		p.token = r.Token
	}
}

// granted notes that somebody was told to have the lock, and counts from when it was asked for.
func (l *lock) granted(r *storage.LeaseReply, begun, ttl time.Duration) *tenure {
	w := l.w
	t := &tenure{l: l, token: r.Token, ttl: ttl, safe: begun + asked(r)}
	for _, old := range l.tenures {
		switch {
		case old.token == t.token:
			w.violate("lock %s: two were told that they have it under token %d", l.name, t.token)
		case old.token < t.token:
			old.lost("another's grant")
		default:
			t.lost("another's grant")
		}
	}
	if r.TTL > millis(ttl) {
		w.violate("lock %s: granted for %d ms instead of %v", l.name, r.TTL, ttl)
	}
	l.tenures = append(l.tenures, t)
	l.top = max(l.top, t.token)
	w.note("granted", uint64(l.group), uint64(t.token))
	return t
}

func asked(r *storage.LeaseReply) time.Duration { return time.Duration(r.TTL) * time.Millisecond }

func (t *tenure) renewed(r *storage.LeaseReply, sent time.Duration) {
	if r.Token != t.token || r.TTL != millis(t.ttl) {
		t.l.w.violate("lock %s, token %d, of %v: renewed as token %d for %d ms", t.l.name, t.token, t.ttl, r.Token, r.TTL)
	}
	t.safe = max(t.safe, sent+asked(r))
	t.check()
}

// lost notes that somebody heard that the tenure is over.
func (t *tenure) lost(reason string) {
	if t.ended == 0 && !t.given {
		t.ended, t.reason = t.l.w.now, reason
		t.check()
	}
}

// refused is lost by a transaction that found another token, 0 for none.
func (t *tenure) refused(found storage.Version) {
	if found != 0 && found <= t.token {
		t.l.w.violate("lock %s: a write with token %d finds token %d", t.l.name, t.token, found)
	}
	t.lost("a refused write")
}

func (t *tenure) check() {
	if t.ended != 0 && t.ended < t.safe {
		t.l.w.violate("lock %s: token %d was lost at %v, as %s shows, which it may not be before %v", t.l.name, t.token, t.ended, t.reason, t.safe)
	}
}

func (l *lock) guarded(i int) string { return "guarded/" + l.name + "/" + strconv.Itoa(i) }

// guardedWrite is a transaction that may only take effect while its token is the lock's.
type guardedWrite struct {
	deed  deed
	req   *txn.Request
	l     *lock
	token storage.Version
	top   storage.Version // the largest token that anybody had been told when it was sent
	seq   int
}

func (l *lock) begin(t *tenure) *guardedWrite {
	g := &guardedWrite{l: l, token: t.token, top: l.top, seq: len(l.writes), req: &txn.Request{}}
	l.writes = append(l.writes, g)
	return g
}

// value is one that nobody else writes.
func (g *guardedWrite) value() []byte { return fmt.Appendf(nil, "%d/%d", g.token, g.seq) }

// took notes an acknowledged write: what it put and what it found.
func (g *guardedWrite) took(results []storage.OpResult) {
	for i := range results {
		r := &results[i]
		switch {
		case r.Kind == storage.OpPut:
			g.l.sighted(string(r.Key), r.Version, string(g.value()))
		case r.Exists:
			g.l.sighted(string(r.Key), r.Version, string(r.Value))
		}
	}
	g.late()
}

// late is a write that took effect although its sender was not the newest holder any more when it was sent.
func (g *guardedWrite) late() {
	if g.token < g.top {
		g.l.w.violate("lock %s: a write with token %d, sent after token %d had been given out, took effect", g.l.name, g.token, g.top)
	}
}

// sighted notes what a guarded key was at a version.
func (l *lock) sighted(key string, v storage.Version, value string) {
	if l.seen[key] == nil {
		l.seen[key] = make(map[storage.Version]string)
	}
	if old, ok := l.seen[key][v]; ok && old != value {
		l.w.violate("key %s has two contents at version %d: %s and %s", key, v, old, value)
	}
	l.seen[key][v] = value
}

// judge compares, at the end, everything that is known of a lock; done tells which writes took effect.
func (l *lock) judge(done func(*deed) bool) error {
	for _, g := range l.writes {
		if done(&g.deed) {
			g.late()
		}
	}
	for i := range guardedKeys {
		key := l.guarded(i)
		if err := inOrder(l.seen[key]); err != nil {
			return fmt.Errorf("lock %s, key %s: %w", l.name, key, err)
		}
	}
	for _, p := range l.places {
		for _, q := range p.ahead {
			if err := p.behind(q); err != nil {
				return fmt.Errorf("lock %s: %w", l.name, err)
			}
		}
	}
	return nil
}

// inOrder demands that no write of an older holder stands behind one of a newer.
func inOrder(seen map[storage.Version]string) error {
	versions := make([]storage.Version, 0, len(seen))
	for v := range seen {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	newest := storage.Version(0)
	for _, v := range versions {
		text, _, _ := strings.Cut(seen[v], "/")
		n, err := strconv.ParseUint(text, 10, 64)
		token := storage.Version(n)
		if err != nil || token < newest {
			return fmt.Errorf("token %q writes version %d after token %d: %w", text, v, newest, err)
		}
		newest = token
	}
	return nil
}

// behind demands that q, which waited when p was sent, was served first. Where no leader heard of q for as long as the lock
// lasts, its turn may have come and gone without its hearing of it.
func (p *place) behind(q *place) error {
	switch {
	case p.token == 0 || q.gap >= q.ttl:
		return nil
	case q.token > p.token:
		return fmt.Errorf("%v got token %d before %v, which had waited when it came, got token %d", p.id, p.token, q.id, q.token)
	case q.held && p.told < q.until:
		return fmt.Errorf("%v got token %d while %v waited ahead of it", p.id, p.token, q.id)
	case q.token != 0 || q.held:
		p.w.stats.InLine++
	}
	return nil
}
