package txn_test

import (
	"slices"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn/serial"
)

// reader is a GET of one key, or a read-only transaction of several: read all, then check that nothing has changed and
// nothing is X-locked (section 7). One group is asked at a time.
type reader struct {
	entry   *serial.Txn
	keys    []string
	got     map[string]modelItem
	checked map[string]bool
	rounds  int
}

func (c *clients) read() {
	r := &reader{keys: c.some(3), entry: c.w.judge.begin(nil)}
	r.begin()
	c.readers = append(c.readers, r)
	r.step(c.w)
}

func (r *reader) begin() {
	r.got, r.checked = map[string]modelItem{}, map[string]bool{}
	r.rounds++
}

// step asks one group, any of those that are due.
func (r *reader) step(w *world) {
	keys := slices.Clone(r.keys)
	w.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, key := range keys {
		_, read := r.got[key]
		if !read {
			if it, free := w.keyGroup(key).get(key); free {
				w.logf("reader of %v reads %s %q", r.keys, key, it.value)
				r.got[key] = it
			}
			break
		}
		mayCheck := len(r.got) == len(r.keys) || w.faults.has(checkEarly)
		if mayCheck && !r.checked[key] {
			r.check(w, key)
			break
		}
	}
	if len(r.got) == len(r.keys) && (len(r.checked) == len(r.keys) || len(r.keys) == 1 || w.faults.has(onePassReads)) {
		r.end(w)
	}
}

func (r *reader) check(w *world, key string) {
	it, free := w.keyGroup(key).get(key)
	if w.faults.has(versionsNotLocks) {
		it, free = w.keyGroup(key).items[key], true
	}
	if free && it.version == r.got[key].version {
		r.checked[key] = true
		return
	}
	if r.begin(); r.rounds > 3 { // the real one takes S locks now
		w.clients.readers = slices.DeleteFunc(w.clients.readers, func(x *reader) bool { return x == r })
	}
}

func (r *reader) end(w *world) {
	var ops []serial.Op
	for _, key := range r.keys {
		ops = append(ops, serial.Read(serial.Key(key), listOf(r.got[key].value)...))
	}
	w.logf("reader of %v ends", r.keys)
	w.judge.seen["read"]++
	w.judge.end(r.entry, serial.Committed, ops)
	w.clients.readers = slices.DeleteFunc(w.clients.readers, func(x *reader) bool { return x == r })
}

// status is GET /v1/txn/{id}: asks home, and recovers where that does not know.
func (c *clients) status() {
	if len(c.ids) == 0 {
		return
	}
	w := c.w
	t := c.ids[w.rng.IntN(len(c.ids))]
	g := w.group(c.homes[t])
	r := g.recs[t]
	switch {
	case r == nil && g.gone(t):
		if d, known := g.stubs[t]; known {
			w.judge.seen["status: stub"]++
			w.judge.told("status", t, d)
		}
	case r == nil:
		w.refuse(g, t, 1)
	case r.state == storage.TxnCommitted:
		w.judge.seen["status: committed"]++
		w.judge.told("status", t, r.decision)
	case r.sealed, r.state == storage.TxnNo && w.faults.has(statusUnsealed):
		w.judge.seen["status: aborted"]++
		w.judge.told("status", t, storage.DecideAbort)
	case r.state == storage.TxnNo:
		w.refuse(g, t, r.attempt)
	default:
		open := g.open(func(id storage.TxnID) bool { return id == t })
		w.recover(*open[0], nil)
	}
}

// refuse seals a home that has no YES, if it still has none.
func (w *world) refuse(g *modelGroup, t storage.TxnID, a storage.Attempt) {
	w.judge.seen["status: refused"]++
	c := storage.TxnCommand{ID: t, Attempt: a, Home: g.id}
	r := g.apply(storage.KindRefuse, &c)
	w.logf("status: refuse(%d) %v at %d: %s", a, t, g.id, replyString(r))
	if w.shadow != nil {
		if err := w.shadow.apply(g.id, &storage.Command{Kind: storage.KindRefuse, Txn: &c}, r); err != nil {
			w.judge.convict(err.Error())
		}
	}
	switch {
	case r.Kind == storage.ReplyNo && r.Sealed:
		w.judge.told("status", t, storage.DecideAbort)
	case r.Kind == storage.ReplyCommitted:
		w.judge.told("status", t, r.Decision)
	}
}
