package storage_test

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// compare looks at everything that a partition shows.
func (m *participant) compare(t *rapid.T, r *replica) {
	t.Helper()
	items, _ := r.scan(storage.ScanOptions{})
	if got, want := render(items), render(m.sorted()); got != want {
		t.Fatalf("items\n%s, want\n%s", got, want)
	}
	m.compareMeta(t, r, false)
	if got, want := renderLocks(r.p.Locks()), m.renderLocks(); got != want {
		t.Fatalf("locks\n%s, want\n%s", got, want)
	}
	m.compareOpen(t, r)
	v := r.e.View()
	defer v.Close()
	for id := range m.txns {
		got, err := storage.ReadTxn(v, theirs, id)
		r.must(err)
		if want := m.status(id); renderStatus(got) != want && !(want == "gone or forgotten\n" && got.State == storage.TxnGone) {
			t.Fatalf("status of %v is %s, want %s", id, renderStatus(got), want)
		}
	}
}

func (m *participant) compareOpen(t *rapid.T, r *replica) {
	var got, want []storage.TxnID
	for _, o := range r.p.Open() {
		got = append(got, o.ID)
	}
	for id, x := range m.txns {
		if x.state == storage.TxnYes {
			want = append(want, id)
		}
	}
	slices.SortFunc(want, func(a, b storage.TxnID) int { return int(m.txns[a].order) - int(m.txns[b].order) })
	if !slices.Equal(got, want) {
		t.Fatalf("open %v, want %v", got, want)
	}
}

// renderLocks is renderLocks of what the YES records imply (I12).
func (m *participant) renderLocks() string {
	held := map[lockName]bool{}
	by := map[lockName][]string{}
	for id, x := range m.txns {
		if x.state != storage.TxnYes {
			continue
		}
		for n, exclusive := range locksOfPart(x.part) {
			held[n] = exclusive
			by[n] = append(by[n], id.String())
		}
	}
	var out strings.Builder
	var exclusive []string
	for _, space := range []storage.LockSpace{storage.ItemSpace, storage.NameSpace, storage.TokenSpace} {
		var names []string
		for n := range held {
			if n.space == space {
				names = append(names, n.name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			n := lockName{space, name}
			mode := "S"
			if held[n] {
				mode = "X"
				if space == storage.ItemSpace {
					exclusive = append(exclusive, name)
				}
			}
			slices.Sort(by[n])
			fmt.Fprintf(&out, "%s %s %s by %s\n", [...]string{"item", "lock", "token"}[space], strings.TrimRight(name, "\x00"), mode, strings.Join(by[n], ", "))
		}
	}
	fmt.Fprintf(&out, "%d locked, X %q\n", len(held), exclusive)
	return out.String()
}

// status is what ReadTxn has to say of a transaction that was met.
func (m *participant) status(id storage.TxnID) string {
	x := m.txns[id]
	s := storage.TxnStatus{State: x.state, Attempt: x.attempt, Reason: x.reason, Decision: x.decision}
	gone := m.gone(id)
	if x.state == storage.TxnNo && (gone || x.attempt == storage.Sealed) {
		s.Decision = storage.DecideAbort
	}
	switch {
	case x.state == storage.TxnYes:
		s.Open = &storage.OpenTxn{
			ID: id, Attempt: x.attempt, Protocol: x.protocol, Home: x.home, Participants: x.part.Participants, Token: x.part.Token != nil,
		}
	case gone && (x.home != theirs || x.final+storage.StubTTL <= m.clock):
		return "gone or forgotten\n"
	case gone:
		s.State, s.Attempt, s.Reason = storage.TxnGone, 0, 0
	}
	return renderStatus(s)
}
