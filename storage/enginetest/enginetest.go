// Package enginetest is the one conformance suite of storage.Engine. Every implementation runs it.
package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// TB is what *testing.T and *rapid.T share.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Fixture is one engine's storage, which outlives the engine. Each call of the functions that a suite is given makes a
// new, empty one.
type Fixture interface {
	// Open opens the storage; the engine that was open before has been closed or crashed.
	Open() (storage.Engine, error)
	// Crash leaves the storage as a kill of the process would, at this moment. The engine is not used afterwards.
	Crash(e storage.Engine) error
	// PowerCut leaves it as the loss of power would: of what was not synced any part may be missing. The engine is not used
	// afterwards.
	PowerCut(e storage.Engine) error
	// Remove ends the fixture. No engine is open on it.
	Remove()
}

// Forgetful is a Fixture of engines that keep in their process what was not synced: Crash takes it as PowerCut does.
type Forgetful interface {
	Fixture
	// ForgetsInCrash does nothing.
	ForgetsInCrash()
}

// keep syncs where a crash would take what was not.
func keep(t TB, f Fixture, e storage.Engine) {
	t.Helper()
	if _, ok := f.(Forgetful); ok {
		check(t, "sync", e.Sync())
	}
}

// Run checks that what fixtures hold is an Engine. The property test runs as often as rapid's flags say.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	t.Helper()
	cases := []struct {
		name string
		run  func(t *testing.T, f Fixture)
	}{
		{"empty", testEmpty},
		{"read your writes", testReadYourWrites},
		{"scan", testScan},
		{"scan inside scan", testNestedScan},
		{"views are moments", testViewIsolation},
		{"batch keeps no slices", testNoAliasing},
		{"create", testCreate},
		{"empty values", testEmptyValues},
		{"limits", testLimits},
		{"largest batch", testLargestBatch},
		{"most writes", testMostWrites},
		{"discard", testDiscard},
		{"ended", testEnded},
		{"reopen", testReopen},
		{"crash", testCrash},
		{"sync", testSync},
		{"power cut", testPowerCut},
		{"what open found is durable", testOpenIsDurable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := fixture(t)
			defer f.Remove()
			c.run(t, f)
		})
	}
	t.Run("model", func(t *testing.T) { testModel(t, fixture) })
}

func open(t TB, f Fixture) storage.Engine {
	t.Helper()
	e, err := f.Open()
	check(t, "open", err)
	return e
}

func check(t TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// write commits one batch; an empty value deletes nothing, nil deletes.
func write(t TB, e storage.Engine, kv ...string) {
	t.Helper()
	b := e.Batch()
	defer b.Discard()
	for i := 0; i < len(kv); i += 2 {
		check(t, "set", b.Set([]byte(kv[i]), []byte(kv[i+1])))
	}
	check(t, "commit", b.Commit())
}

// contents renders a range as "key=value key=value".
func contents(t TB, r storage.Reader, start, end []byte) string {
	t.Helper()
	var buf bytes.Buffer
	err := r.Scan(start, end, false, func(k, v []byte) (bool, error) {
		fmt.Fprintf(&buf, " %s=%s", k, v)
		return true, nil
	})
	check(t, "scan", err)
	return string(bytes.TrimPrefix(buf.Bytes(), []byte(" ")))
}

func expect(t TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

func expectGet(t TB, r storage.Reader, key, want string) {
	t.Helper()
	v, err := r.Get([]byte(key))
	check(t, "get "+key, err)
	expect(t, "get "+key, string(v), want)
}

func expectAbsent(t TB, r storage.Reader, key string) {
	t.Helper()
	if v, err := r.Get([]byte(key)); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("get %s: got %q, %v, want ErrNotFound", key, v, err)
	}
}

// model is what an engine should hold.
type model map[string]string

func (m model) contents() string {
	var buf bytes.Buffer
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&buf, " %s=%s", k, m[k])
	}
	return string(bytes.TrimPrefix(buf.Bytes(), []byte(" ")))
}

// testModel runs random batches, discards, views, reopens and crashes against a map.
func testModel(t *testing.T, fixture func(t *testing.T) Fixture) {
	rapid.Check(t, func(rt *rapid.T) {
		f := fixture(t)
		defer f.Remove()
		m := &machine{t: rt, f: f, e: open(rt, f), want: model{}}
		defer func() { _ = m.e.Close() }()
		defer m.closeViews()
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			m.step()
		}
		m.compare()
	})
}

type machine struct {
	t     *rapid.T
	f     Fixture
	e     storage.Engine
	want  model
	lazy  []model // the states, oldest first, that a power cut may leave instead
	views []moment
}

type moment struct {
	view storage.View
	want string
}

func (m *machine) step() {
	switch rapid.IntRange(0, 12).Draw(m.t, "step") {
	case 0:
		m.views = append(m.views, moment{m.e.View(), m.want.contents()})
	case 1:
		m.closeViews()
		check(m.t, "close", m.e.Close())
		m.reopen()
	case 2:
		m.closeViews()
		check(m.t, "crash", m.f.Crash(m.e))
		if _, forgets := m.f.(Forgetful); forgets {
			m.survive()
		} else {
			m.reopen()
		}
	case 3:
		m.batch(false)
	case 4:
		check(m.t, "sync", m.e.Sync())
		m.lazy = nil
	case 5:
		m.closeViews()
		check(m.t, "power cut", m.f.PowerCut(m.e))
		m.survive()
	default:
		m.batch(true)
	}
	m.compare()
}

func (m *machine) reopen() {
	m.e = open(m.t, m.f)
	m.lazy = nil
}

// survive opens what a power cut left: the state after some commit, not before the last sync.
func (m *machine) survive() {
	may := slices.Concat(m.lazy, []model{m.want})
	m.reopen()
	v := m.e.View()
	defer v.Close()
	got := contents(m.t, v, []byte("aa"), nil)
	i := slices.IndexFunc(may, func(s model) bool { return s.contents() == got })
	if i < 0 {
		m.t.Fatalf("a power cut left %q, which is the state after no commit since the last sync; it was %q", got, m.want.contents())
	}
	m.want = may[i]
}

func (m *machine) batch(commit bool) {
	b := m.e.Batch()
	defer b.Discard()
	next := maps.Clone(m.want)
	for range rapid.IntRange(1, 8).Draw(m.t, "writes") {
		key := rapid.StringMatching(`[abc]{2,3}`).Draw(m.t, "key")
		_, there := next[key]
		if rapid.Bool().Draw(m.t, "read first") {
			if there {
				expectGet(m.t, b, key, next[key])
			} else {
				expectAbsent(m.t, b, key)
			}
		}
		if rapid.IntRange(0, 3).Draw(m.t, "delete") == 0 {
			check(m.t, "delete", b.Delete([]byte(key)))
			delete(next, key)
			expectAbsent(m.t, b, key)
			continue
		}
		value := rapid.StringN(0, 20, 80).Draw(m.t, "value")
		set := b.Set
		if !there && rapid.Bool().Draw(m.t, "create") {
			set = b.Create
		}
		check(m.t, "set", set([]byte(key), []byte(value)))
		next[key] = value
		expectGet(m.t, b, key, value)
	}
	expect(m.t, "the batch", contents(m.t, b, []byte("aa"), nil), next.contents())
	if commit {
		check(m.t, "commit", b.Commit())
		m.lazy = append(m.lazy, m.want)
		m.want = next
	}
}

func (m *machine) compare() {
	v := m.e.View()
	expect(m.t, "the engine", contents(m.t, v, []byte("aa"), nil), m.want.contents())
	v.Close()
	for _, old := range m.views {
		expect(m.t, "an old view", contents(m.t, old.view, []byte("aa"), nil), old.want)
	}
}

func (m *machine) closeViews() {
	for _, v := range m.views {
		v.view.Close()
	}
	m.views = nil
}
