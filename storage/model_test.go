package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/memdb"
)

// model is what a partition should be: a map, a clock and a counter. What has expired is gone from it, and leaves its
// deadline behind until it is purged or overwritten.
type model struct {
	items    map[string]storage.Item
	stale    map[string]storage.Item
	horizon  storage.Horizon
	clock    storage.Millis
	revision storage.Version
	removal  storage.Version
}

func newModel() *model {
	return &model{items: map[string]storage.Item{}, stale: map[string]storage.Item{}}
}

func (m *model) apply(c *storage.Command) storage.Result {
	m.clock = max(m.clock, c.Clock)
	switch c.Kind {
	case storage.KindExpire:
		return m.expire(c, func(string) bool { return false })
	case storage.KindPurge:
		return m.purge(int(min(c.Limit, storage.MaxPurge)))
	}
	old, exists := m.items[string(c.Key)]
	if !holds(c.Cond, exists, old.Version) {
		return storage.Result{Status: storage.StatusConditionFailed, Version: old.Version}
	}
	if c.Kind == storage.KindDelete {
		if !exists {
			return storage.Result{Status: storage.StatusAbsent}
		}
		m.remove(string(c.Key))
		return storage.Result{Status: storage.StatusDeleted, Version: m.revision}
	}
	m.revision++
	it := storage.Item{Key: c.Key, Value: c.Value, ContentType: c.ContentType, Version: m.revision}
	switch {
	case c.KeepTTL:
		it.Deadline = old.Deadline
	case c.TTL > 0:
		it.Deadline = m.clock + c.TTL
	}
	m.set(it)
	if exists {
		return storage.Result{Status: storage.StatusReplaced, Version: m.revision}
	}
	return storage.Result{Status: storage.StatusCreated, Version: m.revision}
}

func holds(c storage.Condition, exists bool, v storage.Version) bool {
	ok := true
	if c.IfMatch != nil {
		ok = ok && exists && slices.Contains(c.IfMatch, v)
	}
	if c.IfMatchAny {
		ok = ok && exists
	}
	if c.IfNoneMatch != nil {
		ok = ok && !(exists && slices.Contains(c.IfNoneMatch, v))
	}
	if c.IfNoneMatchAny {
		ok = ok && !exists
	}
	return ok
}

func (m *model) remove(key string) {
	m.revision++
	m.removal = m.revision
	delete(m.items, key)
}

func (m *model) set(it storage.Item) {
	m.items[string(it.Key)] = it
	delete(m.stale, string(it.Key))
}

// due lists items by their deadlines and keys.
func due(items map[string]storage.Item, is func(storage.Item) bool) (due []storage.Item) {
	for _, it := range items {
		if it.Deadline != 0 && is(it) {
			due = append(due, it)
		}
	}
	slices.SortFunc(due, func(a, b storage.Item) int {
		if a.Deadline != b.Deadline {
			return int(a.Deadline) - int(b.Deadline)
		}
		return bytes.Compare(a.Key, b.Key)
	})
	return due
}

// behind tells whether the horizon has passed an item, which is there all the same if it is held.
func (m *model) behind(it storage.Item) bool {
	h := m.horizon
	return it.Deadline <= h.At || it.Deadline == h.At+1 && string(it.Key) <= string(h.Key) && len(h.Key) > 0
}

// expire moves the horizon. Those that are locked stay, and count to the limit.
func (m *model) expire(c *storage.Command, locked func(key string) bool) storage.Result {
	next := due(m.items, func(it storage.Item) bool { return it.Deadline <= c.Clock && !m.behind(it) })
	passed := next[:min(len(next), int(min(c.Limit, storage.MaxExpire)))]
	switch n := len(passed); {
	case n == len(next):
		if c.Clock > m.horizon.At {
			m.horizon = storage.Horizon{At: c.Clock}
		}
	case n > 0:
		m.horizon = storage.Horizon{At: passed[n-1].Deadline - 1, Key: passed[n-1].Key}
	}
	passed = slices.DeleteFunc(passed, func(it storage.Item) bool { return locked(string(it.Key)) })
	res := storage.Result{Status: storage.StatusExpired, Count: uint32(len(passed))}
	if len(passed) > 0 {
		m.revision++
		res.Version = m.revision
	}
	for _, it := range passed {
		m.lapse(it)
	}
	return res
}

// lapse lets an item expire at the newest version.
func (m *model) lapse(it storage.Item) {
	m.removal = m.revision
	delete(m.items, string(it.Key))
	m.stale[string(it.Key)] = it
}

func (m *model) purge(limit int) storage.Result {
	stale := due(m.stale, func(storage.Item) bool { return true })
	stale = stale[:min(limit, len(stale))]
	for _, it := range stale {
		delete(m.stale, string(it.Key))
	}
	return storage.Result{Status: storage.StatusPurged, Count: uint32(len(stale))}
}

func (m *model) sorted() []storage.Item {
	var items []storage.Item
	for _, k := range slices.Sorted(maps.Keys(m.items)) {
		items = append(items, m.items[k])
	}
	return items
}

// nextDeadline is the first deadline beyond the horizon, false if there is none.
func (m *model) nextDeadline() (storage.Millis, bool) {
	all := due(m.items, func(it storage.Item) bool { return !m.behind(it) })
	if len(all) == 0 {
		return 0, false
	}
	return all[0].Deadline, true
}

// oldest is the first deadline of what is to be purged, false if nothing is.
func (m *model) oldest() (storage.Millis, bool) {
	all := due(m.stale, func(storage.Item) bool { return true })
	if len(all) == 0 {
		return 0, false
	}
	return all[0].Deadline, true
}

func render(items []storage.Item) string {
	var b bytes.Buffer
	for _, it := range items {
		value := fmt.Sprintf("%q", it.Value)
		if len(it.Value) > 100 {
			value = fmt.Sprintf("%d bytes of %q", len(it.Value), it.Value[0])
		}
		fmt.Fprintf(&b, "%q=%s %q v%d @%d\n", it.Key, value, it.ContentType, it.Version, it.Deadline)
	}
	return b.String()
}

func drawVersions(t *rapid.T, name string) []storage.Version {
	if rapid.IntRange(0, 3).Draw(t, name+"?") != 0 {
		return nil
	}
	vs := rapid.SliceOfN(rapid.Uint64Range(1, 30), 0, 3).Draw(t, name)
	out := make([]storage.Version, 0, len(vs))
	for _, v := range vs {
		out = append(out, storage.Version(v))
	}
	return out
}

func drawCommand(t *rapid.T, clock storage.Millis) *storage.Command {
	c := &storage.Command{
		Kind: rapid.SampledFrom([]storage.Kind{
			storage.KindPut, storage.KindPut, storage.KindPut, storage.KindPut, storage.KindDelete, storage.KindExpire, storage.KindPurge,
		}).Draw(t, "kind"),
		Clock: storage.Millis(max(0, int(clock)+rapid.IntRange(-3, 6).Draw(t, "clock"))),
	}
	if c.Kind == storage.KindExpire || c.Kind == storage.KindPurge {
		c.Limit = rapid.Uint32Range(0, 4).Draw(t, "limit")
		return c
	}
	c.Key = rapid.SampledFrom([][]byte{[]byte("a"), []byte("ab"), {0}, {0xff, 0xff}, []byte("a\x00\x00\x00\x00")}).Draw(t, "key")
	c.Cond = storage.Condition{
		IfMatch:        drawVersions(t, "if-match"),
		IfNoneMatch:    drawVersions(t, "if-none-match"),
		IfMatchAny:     rapid.IntRange(0, 5).Draw(t, "if-match *") == 0,
		IfNoneMatchAny: rapid.IntRange(0, 5).Draw(t, "if-none-match *") == 0,
	}
	if c.Kind == storage.KindDelete {
		return c
	}
	size := rapid.IntRange(0, 9).Draw(t, "size")
	if rapid.IntRange(0, 14).Draw(t, "large") == 7 {
		size = rapid.SampledFrom([]int{storage.MaxCellBytes - 1100, storage.MaxCellBytes, storage.MaxCellBytes + 1}).Draw(t, "size")
	}
	c.Value = bytes.Repeat([]byte{'a' + byte(rapid.IntRange(0, 25).Draw(t, "byte"))}, size)
	c.ContentType = rapid.SampledFrom([]string{"", "text/plain"}).Draw(t, "type")
	switch rapid.IntRange(0, 3).Draw(t, "ttl?") {
	case 0:
		c.KeepTTL = true
	case 1:
		c.TTL = storage.Millis(rapid.IntRange(1, 8).Draw(t, "ttl"))
	}
	return c
}

// TestModel applies random commands to a partition and to the model, with restarts and moves by snapshot in between.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, m := newReplica(t, 7), newModel()
		for range rapid.IntRange(1, 30).Draw(t, "commands") {
			c := drawCommand(t, m.clock)
			if got, want := r.apply(c), m.apply(c); got != want {
				t.Fatalf("%+v: got %+v, want %+v", c, got, want)
			}
			r.verify()
			switch rapid.IntRange(0, 9).Draw(t, "between") {
			case 0:
				r.open()
			case 1:
				b := r.snapshot()
				r = newReplica(t, 7)
				r.must(r.install(b))
			}
			compare(t, r, m, c.Kind == storage.KindExpire)
		}
	})
}

func compare(t *rapid.T, r *replica, m *model, expired bool) {
	t.Helper()
	items, more := r.scan(storage.ScanOptions{})
	if got, want := render(items), render(m.sorted()); got != want || more {
		t.Fatalf("got\n%s(more %v), want\n%s", got, more, want)
	}
	for _, it := range items {
		got, err := r.get(string(it.Key))
		if err != nil || render([]storage.Item{got}) != render([]storage.Item{it}) {
			t.Fatalf("get %q: %v, %v", it.Key, got, err)
		}
	}
	for key := range m.stale {
		if got, err := r.get(key); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("get %q, which has expired: %v, %v", key, got, err)
		}
	}
	m.compareMeta(t, r, expired)
}

func (m *model) compareMeta(t *rapid.T, r *replica, expired bool) {
	t.Helper()
	meta := r.p.Meta()
	if meta.Revision != m.revision || meta.LastRemoval != m.removal || meta.Clock != m.clock {
		t.Fatalf("meta %+v, model at revision %d, removal %d, clock %d", meta, m.revision, m.removal, m.clock)
	}
	if meta.Horizon.At != m.horizon.At || !bytes.Equal(meta.Horizon.Key, m.horizon.Key) {
		t.Fatalf("horizon %v, want %v", meta.Horizon, m.horizon)
	}
	if live, _ := meta.Live(); live != uint64(len(m.items)) || meta.Expired != uint64(len(m.stale)) {
		t.Fatalf("%d keys and %d expired, want %d and %d", live, meta.Expired, len(m.items), len(m.stale))
	}
	got, ok := r.p.NextDeadline()
	want, wantOK := m.nextDeadline()
	if wantOK && (!ok || got > want) || expired && (ok != wantOK || ok && got != want) {
		t.Fatalf("next deadline %d %v, want %d %v", got, ok, want, wantOK)
	}
	keys, oldest := r.p.Purgeable()
	if want, ok := m.oldest(); ok && (keys == 0 || oldest > want) {
		t.Fatalf("%d to purge, the oldest at %d, want %d %v", keys, oldest, want, ok)
	}
}

// TestDeterminism applies the same entries to both engines, batched differently, and compares what they hold byte by
// byte.
func TestDeterminism(t *testing.T) {
	e, err := badgerdb.Open(badgerdb.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	id := storage.PartitionID(0)
	rapid.Check(t, func(t *rapid.T) {
		id++
		m := newModel()
		one, many := newReplicaOn(t, id, memdb.New()), newReplicaOn(t, id, e)
		var entries [][]byte
		for range rapid.IntRange(1, 25).Draw(t, "commands") {
			c := drawCommand(t, m.clock)
			m.apply(c)
			entries = append(entries, storage.AppendCommand(nil, c))
		}
		for _, data := range entries {
			one.applyEntry(data)
		}
		many.applyAll(entries)
		if !bytes.Equal(one.snapshot(), many.snapshot()) {
			t.Fatalf("the replicas differ")
		}
	})
}

// applyAll applies entries in as few batches as they fit.
func (r *replica) applyAll(entries [][]byte) {
	r.t.Helper()
	b := r.e.Batch()
	defer func() { b.Discard() }()
	commit := func() {
		r.must(r.p.Flush(b))
		r.must(b.Commit())
	}
	for _, data := range entries {
		if b.Size()+r.p.ApplyCost(data)+storage.FlushCost > r.e.MaxBatchBytes() {
			commit()
			b = r.e.Batch()
		}
		_, err := r.p.Apply(b, r.p.Meta().Applied+1, 1, data)
		r.must(err)
	}
	commit()
}

func TestGetOfAbsentKey(t *testing.T) {
	r := newReplica(t, 0)
	if _, err := r.get("nothing"); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
}
