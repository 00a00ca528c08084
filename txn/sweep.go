package txn

import (
	"slices"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// sweepPause is after what time a Sweep looks again at a group where transactions were still open.
const sweepPause = time.Second

// Sweep forgets the incarnations of a node that are dead (R11): close them in every group, recover what is still in doubt,
// and when each group was seen, after its own Close, without anything in doubt, forget them in every group. All steps are
// idempotent; any number of sweepers may run, and one that stops leaves nothing undone that another could not do. It is a
// pure state machine; one goroutine uses it.
type Sweep struct {
	dead    storage.TxnID // Node, and the first Incarnation that lives
	roster  roster        // acked: seen clean after its Close; filled: forgotten
	opens   [][]key       // beside roster.groups: what its last Close listed
	started bool
	over    bool
	running map[key]bool // recoveries that the owner was asked for
	now     time.Time
	effects Effects
}

// key is an attempt of a transaction.
type key struct {
	id      storage.TxnID
	attempt storage.Attempt
}

// NewSweep returns a sweep of node's incarnations below first, in all groups there are; it waits for Start.
func NewSweep(node ring.NodeID, first uint32, groups []storage.PartitionID) *Sweep {
	return &Sweep{
		dead:    storage.TxnID{Node: node, Incarnation: first},
		roster:  newRoster(groups),
		opens:   make([][]key, len(groups)),
		running: make(map[key]bool),
	}
}

// Step takes one event. The effects are valid until the next Step.
func (s *Sweep) Step(now time.Time, ev Event) *Effects {
	s.now = now
	s.effects.reset()
	switch ev := ev.(type) {
	case Start:
		s.started = true
	case *Reply:
		s.reply(ev)
	case Failed:
		if i := s.roster.find(ev.From); i >= 0 {
			s.roster.groups[i].failed(ev.Ref, now)
		}
	case Recovered:
		s.recovered(key{ev.ID, ev.Attempt})
	}
	if s.started && !s.over {
		s.send()
	}
	return &s.effects
}

func (s *Sweep) reply(ev *Reply) {
	i := s.roster.find(ev.From)
	if i < 0 || ev.Reply == nil || !s.started || s.over {
		return
	}
	g := &s.roster.groups[i]
	s.effects.Alarm = ev.Reply.Alarm
	switch r := ev.Reply; {
	case r.Kind == storage.ReplyOpen: // of Close; of a Forget that came too early as well
		s.listed(i, r.Open)
	case r.Kind == storage.ReplyAck && ev.Ref.Kind == storage.KindForget:
		g.filled = true
		s.over = s.roster.all(func(g *group) bool { return g.filled })
		s.effects.Finished = s.over
	}
}

// listed takes what Close has listed. An empty list is final, since nothing of these incarnations is prepared after it.
func (s *Sweep) listed(i int, open []*storage.OpenTxn) {
	g := &s.roster.groups[i]
	g.acked = len(open) == 0
	g.due = s.now.Add(sweepPause)
	s.opens[i] = s.opens[i][:0]
	for _, o := range open {
		k := key{o.ID, o.Attempt}
		s.opens[i] = append(s.opens[i], k)
		if !s.running[k] {
			s.running[k] = true
			s.effects.Recover = append(s.effects.Recover, *o)
		}
	}
}

// recovered looks at once at the groups that had listed k; where it is still in doubt it is recovered again.
func (s *Sweep) recovered(k key) {
	delete(s.running, k)
	for i := range s.opens {
		if slices.Contains(s.opens[i], k) {
			s.roster.groups[i].due = s.now
		}
	}
}

func (s *Sweep) send() {
	clean := s.roster.allAcked()
	for i := range s.roster.groups {
		g := &s.roster.groups[i]
		if ref := s.wants(g, clean); g.ask(ref, s.now) {
			s.effects.Send = append(s.effects.Send, Send{
				To:    g.id,
				Ref:   ref,
				Kind:  ref.Kind,
				Txn:   storage.TxnCommand{ID: s.dead},
				Until: s.now.Add(answerLimit),
			})
		}
	}
	s.effects.Wake = s.roster.wake(time.Time{})
}

func (s *Sweep) wants(g *group, clean bool) Ref {
	switch {
	case !g.acked:
		return Ref{Kind: storage.KindClose}
	case clean && !g.filled:
		return Ref{Kind: storage.KindForget}
	}
	return Ref{}
}
