package writeback

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// watched is an engine that counts what is read of it.
type watched struct {
	storage.Engine
	gets int
}

func (w *watched) View() storage.View { return &watchedView{w.Engine.View(), w} }

type watchedView struct {
	storage.View
	engine *watched
}

func (v *watchedView) Get(key []byte) ([]byte, error) {
	v.engine.gets++
	return v.View.Get(key)
}

// TestCacheServes: what one reader has read of the engine below no other one looks for there, also after a change was written
// down. What is too long is not kept.
func TestCacheServes(t *testing.T) {
	under := &watched{Engine: memdb.New()}
	e := NewStepped(under, 1<<20, func() {})
	defer e.Close()
	read := func(name string, open func() storage.View, key, want string, gets int) {
		t.Helper()
		under.gets = 0
		v := open()
		defer v.Close()
		value, err := v.Get([]byte(key))
		if errors.Is(err, storage.ErrNotFound) {
			value, err = []byte("none"), nil
		}
		if err != nil || string(value) != want || under.gets != gets {
			t.Errorf("%s: %.20q, %v after %d reads below, want %.20q after %d", name, value, err, under.gets, want, gets)
		}
	}
	batch := func() storage.View { return batchView{e.Batch()} }
	long := string(make([]byte, maxCached+1))
	read("a view, at first", e.View, "ka", "none", 1)
	read("a view, again", e.View, "ka", "none", 0)
	read("a batch", batch, "ka", "none", 0)
	put(t, e, "ka", "1")
	put(t, e, "kb", "1")
	read("a view, of what is in the layer", e.View, "ka", "1", 0)
	sync1(t, e)
	read("a view, of what was written down", e.View, "ka", "1", 0)
	read("of what nobody had read before", batch, "kb", "1", 1)
	read("the same by a view", e.View, "kb", "1", 0)
	read("of who wants the engine below", e.UncachedView, "kb", "1", 1)
	put(t, e, "ka", long)
	sync1(t, e)
	read("what has become too long", e.View, "ka", long, 1)
	read("the same again", e.View, "ka", long, 1)
	if err := e.Exclusive(func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	read("after another writer", e.View, "kb", "1", 1)
}

// batchView is a batch that is discarded.
type batchView struct{ storage.Batch }

func (b batchView) Close() { b.Discard() }

func put(t *testing.T, e storage.Engine, key, value string) {
	t.Helper()
	b := e.Batch()
	if err := errors.Join(b.Set([]byte(key), []byte(value)), b.Commit()); err != nil {
		t.Fatal(err)
	}
}

func sync1(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Sync(); err != nil {
		t.Fatal(err)
	}
}

// cacheMachine compares an engine, its cache smaller than what there is, with maps: of the last commit and of each open view.
type cacheMachine struct {
	under  storage.Engine
	engine *Engine
	now    map[string]string
	views  []*momentView
	count  int
}

// momentView is a view, what it must see, and what was read of it.
type momentView struct {
	storage.View
	want  map[string]string
	given [][2][]byte // slices that were handed out, and copies of them
}

func cacheKey(t *rapid.T) string { return fmt.Sprintf("k%02d", rapid.IntRange(0, 40).Draw(t, "key")) }

// value returns one that nothing else has, of a length that is or is not cached.
func (m *cacheMachine) value(t *rapid.T) string {
	m.count++
	length := rapid.SampledFrom([]int{10, 10, 3000, maxCached, maxCached + 1}).Draw(t, "length")
	return fmt.Sprintf("%0*d", length, m.count)
}

func (m *cacheMachine) compare(t *rapid.T, r storage.Reader, key string, want map[string]string) []byte {
	value, err := r.Get([]byte(key))
	expected, ok := want[key]
	if errors.Is(err, storage.ErrNotFound) != !ok || err != nil && ok || string(value) != expected {
		t.Fatalf("%s is %.20q, %v, want %.20q, %t", key, value, err, expected, ok)
	}
	return value
}

func (m *cacheMachine) Commit(t *rapid.T) {
	b := m.engine.Batch()
	next := maps.Clone(m.now)
	for range rapid.IntRange(1, 6).Draw(t, "cells") {
		key := cacheKey(t)
		if rapid.Bool().Draw(t, "reads") {
			m.compare(t, b, key, next)
		}
		if _, ok := next[key]; ok && rapid.Bool().Draw(t, "deletes") {
			m.must(t, b.Delete([]byte(key)))
			delete(next, key)
			continue
		}
		value, set := m.value(t), b.Set
		if _, ok := next[key]; !ok {
			set = b.Create
		}
		m.must(t, set([]byte(key), []byte(value)))
		next[key] = value
	}
	m.must(t, b.Commit())
	m.now = next
}

func (m *cacheMachine) must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (m *cacheMachine) Step(*rapid.T)   { m.engine.Step() }
func (m *cacheMachine) Sync(t *rapid.T) { _, err := m.engine.StartSync()(); m.must(t, err) }
func (m *cacheMachine) Open(*rapid.T) {
	m.views = append(m.views, &momentView{View: m.engine.View(), want: m.now})
}

// WriteBelow is what Exclusive lets others do.
func (m *cacheMachine) WriteBelow(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		t.Skip()
	}
	key, value := cacheKey(t), m.value(t)
	m.now = maps.Clone(m.now)
	m.now[key] = value
	m.must(t, m.engine.Exclusive(func() error {
		b := m.under.Batch()
		return errors.Join(b.Set([]byte(key), []byte(value)), b.Commit())
	}))
}

func (m *cacheMachine) Read(t *rapid.T) {
	if len(m.views) == 0 {
		t.Skip()
	}
	v := rapid.SampledFrom(m.views).Draw(t, "view")
	for range 10 {
		value := m.compare(t, v, cacheKey(t), v.want)
		v.given = append(v.given, [2][]byte{value, bytes.Clone(value)})
	}
}

func (m *cacheMachine) Close(t *rapid.T) {
	if len(m.views) == 0 {
		t.Skip()
	}
	at := rapid.IntRange(0, len(m.views)-1).Draw(t, "view")
	m.end(t, m.views[at])
	m.views = append(m.views[:at:at], m.views[at+1:]...)
}

func (m *cacheMachine) end(t *rapid.T, v *momentView) {
	for _, g := range v.given {
		if !bytes.Equal(g[0], g[1]) {
			t.Fatalf("%.20q has become %.20q while the view was open", g[1], g[0])
		}
	}
	v.Close()
}

// Check looks at the cells of now, which are all.
func (m *cacheMachine) Check(t *rapid.T) {
	v := &momentView{View: m.engine.View()}
	defer m.end(t, v)
	got := make(map[string]string)
	m.must(t, v.Scan([]byte("k\x00"), nil, false, func(key, value []byte) (bool, error) {
		got[string(key)] = string(value)
		return true, nil
	}))
	if !maps.Equal(got, m.now) {
		t.Fatalf("%d cells, want %d, or others", len(got), len(m.now))
	}
}

// TestCacheProperty: no reader sees through the cache a cell newer or older than its moment, and no slice that it was given
// changes, whatever is evicted and written down meanwhile.
func TestCacheProperty(t *testing.T) {
	for _, c := range []struct {
		name         string
		most, cells  int
		layer, batch int
	}{
		{"all fits", 1 << 10, 1 << 10, 1 << 20, 0},
		{"small pieces of memory", 1, 1 << 10, 16 << 10, 0},
		{"few cells", 1 << 10, 5, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := &cacheMachine{under: memdb.New(), now: make(map[string]string)}
				m.engine = NewStepped(m.under, c.layer, func() {})
				m.engine.cache.most, m.engine.cache.cells = c.most, c.cells
				t.Repeat(map[string]func(*rapid.T){
					"commit": m.Commit, "commit again": m.Commit, "step": m.Step, "sync": m.Sync, "open": m.Open, "read": m.Read,
					"read again": m.Read, "close": m.Close, "write below": m.WriteBelow, "": m.Check,
				})
				for _, v := range m.views {
					m.end(t, v)
				}
				m.must(t, m.engine.Close())
			})
		})
	}
}

// TestCacheBeside lets views be read by several goroutines while cells are changed and written down and the cache is far too
// small. Commit n writes n into cell n modulo their number, so a view knows what it must see.
func TestCacheBeside(t *testing.T) {
	const cells, commits = 50, 4000
	under, err := memdb.NewDisk().Open(memdb.Options{MaxBatchBytes: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	e := New(under)
	e.cache.most, e.cache.cells = 2, 40
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 0))
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					readCells(t, e, rng, cells)
				}
			}
		})
	}
	for n := 1; n <= commits; n++ {
		b := e.Batch()
		_, err := b.Get(besideKey(n % cells))
		if n <= cells == (err == nil) {
			t.Errorf("commit %d finds %v", n, err)
		}
		value := fmt.Appendf(nil, "%0*d", 8+n%1500, n)
		if err := errors.Join(b.Set(besideKey(n%cells), value), b.Set([]byte("last"), fmt.Append(nil, n)), b.Commit()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func besideKey(n int) []byte { return fmt.Appendf(nil, "cell%03d", n) }

func readCells(t *testing.T, e *Engine, rng *rand.Rand, cells int) {
	v := e.View()
	defer v.Close()
	last := 0
	if b, err := v.Get([]byte("last")); err == nil {
		fmt.Sscan(string(b), &last)
	}
	for range 20 {
		cell := rng.IntN(cells)
		want := last - (last-cell+cells)%cells // the last commit that wrote it
		got := 0
		b, err := v.Get(besideKey(cell))
		if err == nil {
			fmt.Sscan(string(bytes.TrimLeft(b, "0")), &got)
		}
		if want < 0 {
			want = 0
		}
		if got != want {
			t.Errorf("after commit %d cell %d is of commit %d, %v, want %d", last, cell, got, err, want)
		}
	}
}

// TestIndex compares it with a map, as searches see it: the slots of a tag from its home on.
func TestIndex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, want := newIndex(), make(map[ref]tag)
	var refs []ref
	for i := range 30000 {
		if len(refs) > 0 && rng.IntN(1+len(refs)) > 1+i/20 || i > 25000 && len(refs) > 0 {
			at := rng.IntN(len(refs))
			r := refs[at]
			refs[at] = refs[len(refs)-1]
			refs = refs[:len(refs)-1]
			x.remove(x.findRef(want[r], r))
			delete(want, r)
			continue
		}
		of := tag(rng.Uint32())
		if i%3 == 0 {
			of |= 0xfff << 20 // the last places: they wrap around
		}
		at := x.home(of)
		for x.slots[at].load() != 0 {
			at = x.after(at)
		}
		r := ref(i + 1)
		x.set(at, of, r)
		refs, want[r] = append(refs, r), of
		if i%500 == 0 {
			compareIndex(t, &x, want)
		}
	}
	compareIndex(t, &x, want)
}

func compareIndex(t *testing.T, x *index, want map[ref]tag) {
	t.Helper()
	if x.used != len(want) {
		t.Fatalf("%d slots are used, want %d", x.used, len(want))
	}
	for r, of := range want {
		if at := x.findRef(of, r); at < 0 || x.slots[at].tag != of {
			t.Fatalf("entry %d is not where the search for its tag %x goes", r, of)
		}
	}
}

// TestSameTag: keys whose tags agree are told apart, in layers and in the cache.
func TestSameTag(t *testing.T) {
	const shared tag = 7
	keys := [][]byte{[]byte("ka"), []byte("kb"), []byte("kc")}
	l, c := newLayer(0), newCache()
	for _, key := range keys {
		l.put(shared, key, version{value: key}, 0, false)
		c.add(shared, key, version{value: key})
	}
	l.put(shared, keys[1], version{value: keys[0]}, 0, false)
	c.update(l.arena.at(l.find(shared, keys[1], newest)))
	c.index.remove(c.find(shared, keys[0]))
	for i, want := range [][]byte{keys[0], keys[0], keys[2]} {
		if v, ok := l.get(shared, keys[i], newest); !ok || !bytes.Equal(v.value, want) {
			t.Errorf("%s in the layer is %q, %t, want %q", keys[i], v.value, ok, want)
		}
		if v, ok := c.get(shared, keys[i], newest); ok != (i > 0) || ok && !bytes.Equal(v.value, want) {
			t.Errorf("%s in the cache is %q, %t, want %q", keys[i], v.value, ok, want)
		}
	}
}
