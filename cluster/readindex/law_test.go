package readindex_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// evenly draws from 0 to n-1, each as likely as the other: rapid's own numbers are small ones mostly.
func evenly(t *rapid.T, n int, what string) int {
	return rapid.Custom(func(t *rapid.T) int {
		u := 0
		for range 10 {
			if u *= 2; rapid.Bool().Draw(t, "bit") {
				u++
			}
		}
		return u % n
	}).Draw(t, what)
}

// pick draws one of those there are, if any.
func pick[T any](t *rapid.T, from []T, what string) (one T, ok bool) {
	if len(from) == 0 {
		return one, false
	}
	return from[evenly(t, len(from), what)], true
}

// open takes or copies a letter out of the bag.
func (w *world) open(t *rapid.T) (letter, bool) {
	if len(w.bag) == 0 {
		return letter{}, false
	}
	i := evenly(t, len(w.bag), "letter")
	l := w.bag[i]
	if len(w.bag) > 30 || evenly(t, 4, "keep a copy") > 0 {
		w.bag = slices.Delete(w.bag, i, i+1)
	}
	return l, true
}

// step does something. The larger an action's share, the more often.
func (w *world) step(t *rapid.T) {
	leads := func(m *member) bool { return m.leading }
	actions := []struct {
		share int
		do    func()
	}{
		{40, func() {
			if m, ok := pick(t, w.leaders(), "reader"); ok {
				m.read()
			}
		}},
		{40, func() {
			if l, ok := w.open(t); ok {
				w.deliver(l)
			}
		}},
		{3, func() {
			if l, ok := w.open(t); ok {
				w.lose(l, rapid.Bool().Draw(t, "told"))
			}
		}},
		{10, func() {
			n, _ := pick(t, w.nodes, "node")
			n.reads.Tick()
			n.act()
		}},
		{10, func() {
			n, _ := pick(t, w.nodes, "node")
			n.reads.Ask()
			n.act()
		}},
		{8, func() {
			c, ok := pick(t, slices.DeleteFunc(w.members(), leads), "candidate")
			if !ok {
				return
			}
			c.campaign()
			for _, m := range c.group.members { // whoever led before hears of it later
				if !m.leading && evenly(t, 4, "votes later") > 0 {
					m.vote(c)
				}
			}
		}},
		{15, func() {
			candidates := slices.DeleteFunc(w.members(), func(m *member) bool { return m.votes == nil })
			if c, ok := pick(t, candidates, "candidate"); ok {
				m, _ := pick(t, c.group.members, "voter")
				m.vote(c)
			}
		}},
		{12, func() {
			if m, ok := pick(t, w.leaders(), "leader"); ok {
				to, _ := pick(t, m.group.members, "follower")
				m.replicate(to)
			}
		}},
		{4, func() {
			if m, ok := pick(t, w.leaders(), "leader"); ok {
				m.propose(*m.last())
			}
		}},
		{6, func() {
			if m, ok := pick(t, w.members(), "applies"); ok {
				m.apply()
			}
		}},
		{5, func() {
			if m, ok := pick(t, w.leaders(), "leader"); ok {
				m.reconfigure(t, w)
			}
		}},
		{2, func() {
			m, _ := pick(t, w.members(), "leaves")
			m.leave()
		}},
		{2, func() {
			n, _ := pick(t, w.nodes, "node")
			n.restart()
		}},
	}
	all := 0
	for _, a := range actions {
		all += a.share
	}
	n := evenly(t, all, "action")
	for _, a := range actions {
		if n -= a.share; n < 0 {
			a.do()
			return
		}
	}
}

// TestReadsObeyTheLaw: a read is granted only where no other leader of a later term had been elected before it began, and where
// the engine shows all that was acknowledged by then. Once nobody is elected any more and nothing is lost, all reads end, even
// though a minority says nothing.
func TestReadsObeyTheLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := start(t)
		for _, n := range w.nodes {
			n.eager = evenly(t, 4, "lazy") > 0
		}
		for range 1000 {
			w.step(t)
		}
		for i, n := range rapid.Permutation(w.nodes).Draw(t, "survivors") {
			n.eager, n.dead = true, i < 2
		}
		w.peace()
		if rapid.Bool().Draw(t, "all is lost") {
			w.bag = nil
		}
		for _, m := range w.leaders() {
			if !m.node.dead {
				m.read()
			}
		}
		const bound = 400
		delay := evenly(t, 5, "delay")
		waits := func(n *node) bool { return !n.dead && n.reads.Waiting() > 0 }
		for slices.ContainsFunc(w.nodes, waits) {
			if w.pass(delay); w.now > bound {
				t.Fatalf("reads wait after %d ticks of peace", bound)
			}
		}
	})
}
