package systemtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ringkv/ringkv/api/client"
)

// The history that TestWatch judges: what writers did, key by key, and what a watcher was told of it. Each key has one
// writer, which asks for one thing at a time and leaves the key alone for good once an outcome is unknown. So a key's events
// follow from its story but for two questions: whether a time to live was over before the next write came, and whether the
// last write was done.

// fate is what became of a write.
type fate uint8

const (
	done    fate = iota
	undone       // the answer says that nothing was done
	unknown      // it may have been done, or be done later
)

func (f fate) String() string { return [...]string{"done", "undone", "unknown"}[f] }

// deed is what a writer asked of one key.
type deed struct {
	remove  bool
	value   string
	large   bool // its event may come without the value
	ttl     bool
	keepTTL bool
	fate    fate
	version uint64   // of a put that was done; 0: not told
	found   presence // what it met, if it was done
	txn     *transaction
}

// presence is whether a key was there.
type presence uint8

const (
	eitherWay presence = iota // not told
	absent
	present
)

func (p presence) String() string { return [...]string{"either way", "absent", "present"}[p] }

func (d *deed) String() string {
	what := "put " + d.value
	if d.remove {
		what = "delete"
	}
	if d.txn != nil {
		what += fmt.Sprintf(" by transaction %q", d.txn.id)
	}
	return fmt.Sprintf("%s (ttl %v, keep %v): %v, version %d, found %v", what, d.ttl, d.keepTTL, d.fate, d.version, d.found)
}

// transaction is what several deeds have in common.
type transaction struct {
	id   string // "": not told
	puts []string
}

// told is one event as a watcher got it.
type told struct {
	kind    client.EventKind
	version uint64
	value   string
	large   bool // it has none
	txn     string
}

func (e told) String() string { return fmt.Sprintf("%s %d %s%s", e.kind, e.version, e.value, e.by()) }

func (e told) by() string {
	if e.txn == "" {
		return ""
	}
	return fmt.Sprintf(" by transaction %q", e.txn)
}

// deeds is what all writers did.
type deeds struct {
	mu  sync.Mutex
	all map[string][]*deed // by key, in order
}

// add is called once the fate is known, or taken as unknown.
func (ds *deeds) add(key string, d *deed) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.all == nil {
		ds.all = make(map[string][]*deed)
	}
	ds.all[key] = append(ds.all[key], d)
}

// afterAll counts the puts of unknown outcome that were done, as the events say, and the expiries of these.
func (ds *deeds) afterAll(events map[string][]told) (done, expired int) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for key, story := range ds.all {
		last := story[len(story)-1]
		i := slices.IndexFunc(events[key], func(e told) bool { return !last.remove && e.value == last.value })
		if last.fate != unknown || i < 0 {
			continue
		}
		done++
		if i+1 < len(events[key]) {
			expired++
		}
	}
	return done, expired
}

// errMissing is wrapped where events may still be on their way: nothing that was told is wrong.
var errMissing = errors.New("not told")

// judge compares what a watcher of a prefix was told with what was done. If anything told is wrong, it says so before it
// speaks of what is missing.
func (ds *deeds) judge(prefix string, events map[string][]told) error {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ids := make(transactionIDs)
	var missing error
	for _, key := range slices.Sorted(maps.Keys(events)) {
		if len(ds.all[key]) == 0 || !strings.HasPrefix(key, prefix) {
			return fmt.Errorf("key %s: %v: nobody wrote that under %q", key, events[key], prefix)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ds.all)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		err := judgeKey(ds.all[key], events[key], ids)
		switch {
		case errors.Is(err, errMissing):
			missing = withStory(key, err, ds.all[key], events[key])
		case err != nil:
			return withStory(key, err, ds.all[key], events[key])
		}
	}
	if missing != nil {
		return missing
	}
	return ids.judge(prefix)
}

func withStory(key string, err error, story []*deed, events []told) error {
	var b strings.Builder
	for _, d := range story {
		fmt.Fprintf(&b, "\n  did  %v", d)
	}
	for _, e := range events {
		fmt.Fprintf(&b, "\n  told %v", e)
	}
	return fmt.Errorf("key %s: %w%s", key, err, b.String())
}

// judgeKey walks along a key's story and its events at the same time.
func judgeKey(story []*deed, events []told, ids transactionIDs) error {
	for i := 1; i < len(events); i++ {
		if events[i].version <= events[i-1].version {
			return fmt.Errorf("event %d, %v: not after %v", i, events[i], events[i-1])
		}
	}
	w := walk{events: events, ids: ids, state: absent}
	for _, d := range story {
		w.expire()
		if err := w.step(d); err != nil {
			return err
		}
	}
	w.expire()
	switch {
	case w.at < len(events):
		return fmt.Errorf("event %d, %v: nothing of the kind was done", w.at, events[w.at])
	case w.state == present && w.mortal:
		return fmt.Errorf("the expiry: %w", errMissing)
	}
	return nil
}

// walk is how far the events of a key are explained, and what state they leave it in.
type walk struct {
	events []told
	ids    transactionIDs
	at     int
	state  presence
	mortal bool
}

// expire passes an expiry, if that comes next and can be.
func (w *walk) expire() {
	if w.at < len(w.events) && w.state == present && w.mortal {
		if e := w.events[w.at]; e.kind == client.EventExpire && e.txn == "" && e.value == "" {
			w.at, w.state, w.mortal = w.at+1, absent, false
		}
	}
}

// step passes the event of d, if there has to be one.
func (w *walk) step(d *deed) error {
	switch {
	case d.fate == undone:
		return nil
	case d.fate == done && d.found != eitherWay && d.found != w.state:
		if w.at == len(w.events) {
			return fmt.Errorf("%v: what came before it: %w", d, errMissing)
		}
		return fmt.Errorf("%v: the events before say that the key was %v: next was %v", d, w.state, w.events[w.at])
	case d.remove && w.state == absent:
		return nil // it changes nothing
	case w.at == len(w.events):
		if d.fate == done {
			return fmt.Errorf("%v: %w", d, errMissing)
		}
		return nil
	}
	e := w.events[w.at]
	if err := d.differs(e); err != nil {
		if d.fate == unknown {
			return nil // not done, then; what e is about is for others to say
		}
		return fmt.Errorf("event %d, %v: %w: next was %v", w.at, e, err, d)
	}
	if d.txn != nil {
		if err := w.ids.note(d, e.txn); err != nil {
			return fmt.Errorf("event %d, %v: %w", w.at, e, err)
		}
	}
	w.at++
	w.mortal = d.ttl || d.keepTTL && w.mortal
	if w.state = present; d.remove {
		w.state, w.mortal = absent, false
	}
	return nil
}

// differs tells why e is not what d did.
func (d *deed) differs(e told) error {
	switch {
	case d.remove != (e.kind == client.EventDelete) || e.kind == client.EventExpire:
		return errors.New("another kind")
	case e.value != d.value && !(d.large && e.large):
		return errors.New("another value")
	case d.version != 0 && d.version != e.version:
		return errors.New("another version")
	case (d.txn != nil) != (e.txn != ""):
		return errors.New("with a transaction's id, or without one, wrongly")
	}
	return nil
}

// transactionIDs is what transactions were called by the events of one watcher, and which of their puts were told.
type transactionIDs map[*transaction]*transactionID

type transactionID struct {
	id   string
	told int
}

func (ids transactionIDs) note(d *deed, id string) error {
	known := ids[d.txn]
	if known == nil {
		known = &transactionID{id: d.txn.id}
		if known.id == "" {
			known.id = id
		}
		ids[d.txn] = known
	}
	if known.id != id {
		return fmt.Errorf("the transaction is %q", known.id)
	}
	if !d.remove {
		known.told++
	}
	return nil
}

// judge finds transactions of which only a part was told, and different ones under one name.
func (ids transactionIDs) judge(prefix string) error {
	names := make(map[string]*transaction, len(ids))
	for t, known := range ids {
		if other := names[known.id]; other != nil {
			return fmt.Errorf("two transactions are called %q: puts of %v, of %v", known.id, t.puts, other.puts)
		}
		names[known.id] = t
	}
	for t, known := range ids {
		want := 0
		for _, key := range t.puts {
			if strings.HasPrefix(key, prefix) {
				want++
			}
		}
		if known.told != want {
			return fmt.Errorf("transaction %q: %d of the puts of %v: the others %w", known.id, known.told, t.puts, errMissing)
		}
	}
	return nil
}

// agree finds a key of which two watchers were told different things. Only what the prefix of both has counts.
func agree(prefix string, a, b map[string][]told) error {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if strings.HasPrefix(key, prefix) && !slices.EqualFunc(a[key], b[key], told.same) {
			return fmt.Errorf("key %s: one watcher was told %v, another %v", key, a[key], b[key])
		}
	}
	return nil
}

// matches compares what a watcher was told in the end with what is stored under its prefix: the versions of all keys.
func matches(events map[string][]told, stored map[string]uint64) error {
	left := maps.Clone(stored)
	for key, es := range events {
		last := es[len(es)-1]
		if version := left[key]; last.kind != client.EventPut && version != 0 || last.kind == client.EventPut && version != last.version {
			return fmt.Errorf("key %s: the last event is %v, what is stored has version %d (0: nothing is)", key, last, version)
		}
		delete(left, key)
	}
	for key, version := range left {
		return fmt.Errorf("key %s is stored with version %d, and no event told of it", key, version)
	}
	return nil
}

// same tells whether two events are of one change: a value may have gone meanwhile.
func (e told) same(other told) bool {
	return e.kind == other.kind && e.version == other.version && e.txn == other.txn &&
		(e.value == other.value || e.large || other.large)
}
