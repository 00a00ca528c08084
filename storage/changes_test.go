package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// recorded is a replica whose changes somebody keeps.
type recorded struct {
	*replica
	kept []storage.Changes
}

func newRecorded(t tb, id storage.PartitionID) *recorded {
	r := &recorded{replica: newReplica(t, id)}
	r.p.RecordChanges()
	return r
}

// reopen is a restart: what is recorded goes on where it was.
func (r *recorded) reopen() {
	r.take()
	r.open()
	r.p.RecordChanges()
}

func (r *recorded) take() {
	c := r.p.TakeChanges()
	c.Data = bytes.Clone(c.Data)
	r.kept = append(r.kept, c)
}

// behind returns every change behind an index.
func (r *recorded) behind(after uint64) []storage.Change {
	r.t.Helper()
	var all []storage.Change
	from := uint64(0)
	for _, c := range r.kept {
		if c.From != from || c.Through < from {
			r.t.Fatalf("changes from %d through %d behind %d", c.From, c.Through, from)
		}
		from = c.Through
		changes, err := storage.DecodeChanges(c, after)
		r.must(err)
		all = append(all, changes...)
	}
	if from != r.p.Meta().Applied {
		r.t.Fatalf("changes up to %d, applied %d", from, r.p.Meta().Applied)
	}
	return all
}

func renderChange(c *storage.Change) string {
	out := fmt.Sprintf("%d.%d %v %q v%d", c.Index, c.Number, c.Kind, c.Key, c.Version)
	switch {
	case c.Value == nil && c.Kind == storage.ChangePut:
		out += " value gone"
	case len(c.Value) > 100:
		out += fmt.Sprintf(" %d bytes", len(c.Value))
	case c.Kind == storage.ChangePut:
		out += fmt.Sprintf(" %q", c.Value)
	}
	if !c.Txn.IsZero() {
		out += fmt.Sprintf(" txn=%v home=%d", c.Txn, c.Home)
	}
	if c.Last {
		out += " last"
	}
	return out + "\n"
}

// TestChangesScripts runs the scenarios of testdata/changes: the commands of TestTxnScripts and
//
//	changes [after=INDEX]: every change behind the index, with the values that can be had now
//	put key=K bytes=N: a value of so many bytes
func TestChangesScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/changes", func(t *testing.T, path string) {
		r := newRecorded(t, 1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r.t = t
			switch {
			case d.Cmd == "changes":
				r.take()
				return r.render(uint64(number(t, d, "after")))
			case d.Cmd == "reopen":
				r.reopen()
				return ""
			case d.Cmd == "put" && d.HasArg("bytes"):
				c := parseCommand(t, d)
				c.Value = bytes.Repeat([]byte("x"), number(t, d, "bytes"))
				return renderResult(r.apply(c))
			}
			return runTxnLine(t, r.replica, d)
		})
	})
}

func (r *recorded) render(after uint64) string {
	v := r.e.View()
	defer v.Close()
	var out strings.Builder
	for _, c := range r.behind(after) {
		r.must(c.FindValue(v, r.id))
		out.WriteString(renderChange(&c))
	}
	return out.String()
}

// replay is what a watcher makes of a partition: the version and value of each key.
type replay map[string]string

func (r *recorded) state() replay {
	items, _ := r.scan(storage.ScanOptions{})
	s := make(replay)
	for _, it := range items {
		s[string(it.Key)] = fmt.Sprintf("v%d %x", it.Version, it.Value)
	}
	return s
}

// follow applies changes, which must be numbered and have ascending versions.
func (s replay) follow(t *rapid.T, changes []storage.Change) {
	versions := make(map[string]storage.Version)
	index, number := uint64(0), uint32(0)
	for i, c := range changes {
		if c.Index != index {
			number = 0
		}
		last := i+1 == len(changes) || changes[i+1].Index != c.Index
		if c.Index < index || c.Number != number || c.Last != last || c.Version <= versions[string(c.Key)] {
			t.Fatalf("change %d of %d is %s", i, len(changes), renderChange(&c))
		}
		index, number = c.Index, c.Number+1
		versions[string(c.Key)] = c.Version
		s[string(c.Key)] = fmt.Sprintf("v%d %x", c.Version, c.Value)
		if c.Kind != storage.ChangePut {
			delete(s, string(c.Key))
		}
	}
}

// TestChangesTellEverything: the state as of any index, with the changes behind it applied, is the present state, whatever
// was done and however it was taken.
func TestChangesTellEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, w := newRecorded(t, theirs), newDrawer()
		states := []replay{{}}
		for range rapid.IntRange(1, 25).Draw(t, "commands") {
			r.apply(w.command(t))
			states = append(states, r.state())
			switch rapid.IntRange(0, 5).Draw(t, "between") {
			case 0:
				r.reopen()
			case 1:
				r.take()
			}
		}
		r.take()
		from := rapid.IntRange(0, len(states)-1).Draw(t, "from")
		got := maps.Clone(states[from])
		got.follow(t, r.behind(uint64(from)))
		if want := r.state(); !maps.Equal(got, want) {
			t.Fatalf("from index %d: got\n%v, want\n%v", from, got, want)
		}
	})
}

// TestChangesAreTheSameEverywhere: replicas that take their changes at different times record the same.
func TestChangesAreTheSameEverywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other, w := newRecorded(t, theirs), newRecorded(t, theirs), newDrawer()
		for range rapid.IntRange(1, 20).Draw(t, "commands") {
			data := storage.AppendCommand(nil, w.command(t))
			one.applyEntry(slices.Clone(data))
			other.applyEntry(data)
			one.take()
			if rapid.Bool().Draw(t, "take") {
				other.take()
			}
		}
		other.take()
		a, b := one.behind(0), other.behind(0)
		for i := range min(len(a), len(b)) {
			if renderChange(&a[i]) != renderChange(&b[i]) {
				t.Fatalf("change %d: %s, %s", i, renderChange(&a[i]), renderChange(&b[i]))
			}
		}
		if len(a) != len(b) {
			t.Fatalf("%d and %d changes", len(a), len(b))
		}
	})
}

// FuzzChanges: whatever stands there is read as changes in order that travel unharmed, or is ErrMalformed.
func FuzzChanges(f *testing.F) {
	r := newRecorded(f, 1)
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("k"), Value: []byte("v")})
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("l"), Value: make([]byte, storage.MaxChangeValue+1)})
	r.apply(&storage.Command{Kind: storage.KindDelete, Key: []byte("k")})
	f.Add(r.p.TakeChanges().Data)
	f.Add([]byte{17, 1, 1, 2, 3, 4, 3, 9, 1, 'k', 16, 2, 1, 1, 1, 'k', 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		changes, err := storage.DecodeChanges(storage.Changes{From: 5, Through: 1 << 20, Data: data}, 5)
		if err != nil {
			if !errors.Is(err, storage.ErrMalformed) {
				t.Fatalf("%v is no ErrMalformed", err)
			}
			return
		}
		at := uint64(5)
		for _, c := range changes {
			if c.Index < at || c.Index > 1<<20 || c.Kind == 0 {
				t.Fatalf("behind %d: %s", at, renderChange(&c))
			}
			at = c.Index
		}
		checkHistoryTravels(t, &storage.History{Changes: changes, Through: at})
	})
}

func checkHistoryTravels(t *testing.T, h *storage.History) {
	t.Helper()
	b := storage.AppendHistory(nil, h)
	again, err := storage.DecodeHistory(b)
	if err != nil || !bytes.Equal(storage.AppendHistory(nil, &again), b) || len(again.Changes) != len(h.Changes) {
		t.Fatalf("history does not travel: %v", err)
	}
}

// FuzzHistory: what decodes is the one encoding of its history.
func FuzzHistory(f *testing.F) {
	f.Add(storage.AppendHistory(nil, &storage.History{Through: 7}))
	f.Add(storage.AppendHistory(nil, &storage.History{Through: 9, Changes: []storage.Change{
		{Index: 8, Kind: storage.ChangePut, Key: []byte("k"), Version: 3, Value: []byte{}, Txn: storage.TxnID{Node: 1, Incarnation: 2, Seq: 3}, Home: 4},
		{Index: 8, Number: 1, Last: true, Kind: storage.ChangePut, Key: []byte("l"), Version: 3},
		{Index: 9, Last: true, Kind: storage.ChangeExpire, Key: []byte("m"), Version: 4},
	}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := storage.DecodeHistory(b)
		if err != nil {
			if !errors.Is(err, storage.ErrMalformed) {
				t.Fatalf("%v is no ErrMalformed", err)
			}
			return
		}
		if again := storage.AppendHistory(nil, &h); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to what encodes as %x", b, again)
		}
	})
}
