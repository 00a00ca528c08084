package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
	"github.com/ringkv/ringkv/txn/serial"
)

// conclude notes in the history of lists how a deed ended, as its client knows it.
func (d *deed) conclude() {
	w := d.c.w
	switch o := d.answer; {
	case o == nil && d.doubt:
		w.stats.TxnUnknown++
		d.main.Unknown()
		d.look.Abort()
	case o == nil:
		w.stats.TxnAborted++
		d.main.Abort()
		d.look.Abort()
	case o.Decision == storage.DecideThen:
		w.stats.TxnCommitted++
		d.main.Commit(d.reads(o.Results, d.req.Then)...)
		d.look.Abort()
		w.load.snapshot(o.Results, d.placed)
		w.load.placed = w.load.placed || moves(d.req)
	case o.Decision == storage.DecideElse:
		w.stats.TxnElse++
		d.main.Abort()
		d.look.Commit(d.reads(o.Results, d.req.Else)...)
	default:
		w.stats.TxnNothing++
		d.main.Abort()
		d.refused(o)
	}
}

// moves tells whether r puts the item somewhere.
func moves(r *txn.Request) bool {
	return len(r.If) > 0 && strings.HasPrefix(string(r.If[0].Key), "item/")
}

// reads are the lists that the gets among ops have seen; puts of lists teach what they made.
func (d *deed) reads(results []storage.OpResult, ops []storage.TxnOp) [][]serial.Value {
	w := d.c.w
	if len(results) != len(ops) {
		w.violate("%d results of %d operations", len(results), len(ops))
		return nil
	}
	var out [][]serial.Value
	for i := range results {
		r := &results[i]
		key := string(r.Key)
		switch {
		case !strings.HasPrefix(key, "list/"):
		case r.Kind == storage.OpGet:
			list := w.load.seenList(key, r.Value, r.Version)
			d.c.seen[key] = sighting{r.Version, list}
			out = append(out, list)
		case r.Kind == storage.OpPut:
			made := d.expected[key].list
			w.load.learn(key, r.Version, made)
			d.c.seen[key] = sighting{r.Version, made}
		}
	}
	return out
}

// refused takes in a 412: it tells the versions of all lists that its conditions are about, as of one moment (R6). What
// these lists were will be known in the end.
func (d *deed) refused(o *txn.Outcome) {
	if len(o.Failed) == 0 {
		d.c.w.violate("a transaction did nothing and does not say why")
	}
	failed := make(map[string]storage.Version)
	byOp := false
	for _, f := range o.Failed {
		byOp = byOp || f.In != txn.InIf
		failed[string(f.Key)] = f.Version
	}
	if !byOp && moves(d.req) {
		d.itemSeen(failed)
	}
	g := gap{handle: d.lookAt}
	for i := range d.req.If {
		c := &d.req.If[i]
		key := string(c.Key)
		if !strings.HasPrefix(key, "list/") {
			continue
		}
		v, wrong := failed[key]
		if wrong && c.Test != storage.TestValue {
			if v == d.expected[key].version && c.Test == storage.TestVersion {
				d.c.w.violate("a condition on version %d of %s failed although it held", v, key)
			}
			if d.c.seen[key].version != v {
				delete(d.c.seen, key)
			}
		} else if !wrong {
			v = d.expected[key].version
		}
		g.keys, g.versions = append(g.keys, key), append(g.versions, v)
	}
	d.look.Commit(make([][]serial.Value, len(d.looked))...)
	if byOp {
		g.keys = nil // nothing is said of the conditions
	}
	d.c.w.load.gaps = append(d.c.w.load.gaps, g)
}

// itemSeen: the conditions, false and true, tell where the item is.
func (d *deed) itemSeen(failed map[string]storage.Version) {
	there := 0
	for i := range d.req.If {
		_, wrong := failed[string(d.req.If[i].Key)]
		if wrong != (d.req.If[i].Test == storage.TestExists) {
			there++
		}
	}
	d.c.w.load.oneItem(there, d.placed)
}

// plainTime is how long plain requests to keys of transactions wait for an answer: locks may be in their way.
const plainTime = time.Second

// plainGet reads one list.
func (c *txnClient) plainGet(then func()) {
	key := listKey(c.w.rng.IntN(listKeys))
	gate := c.w.anyNode()
	if gate == nil {
		then()
		return
	}
	h, _ := c.w.load.begin(c.id, []serial.Op{serial.Read(serial.Key(key))})
	c.w.send(gate, &request{
		ask: askRead, group: c.w.ring.Partition([]byte(key)), key: []byte(key), ungated: c.w.cfg.Sabotage.DirtyReads,
		done: func(rep reply) {
			if rep.outcome != answered {
				h.Abort()
				then()
				return
			}
			list := c.w.load.seenList(key, rep.item.Value, rep.item.Version)
			c.seen[key] = sighting{rep.item.Version, list}
			h.Commit(list)
			then()
		},
	})
}

// plainPut appends to one list, provided that it is as it was last seen.
func (c *txnClient) plainPut(then func()) {
	key := listKey(c.w.rng.IntN(listKeys))
	was := c.seen[key]
	gate := c.w.anyNode()
	if gate == nil {
		then()
		return
	}
	l := &c.w.load
	v := l.newValue()
	list := slices.Concat(was.list, []serial.Value{v})
	in := input{kind: put, value: string(l.encodeList(list)), demand: ifVersion, version: was.version}
	if was.version == 0 {
		in.demand = ifAbsent
	}
	h, _ := l.begin(c.id, []serial.Op{serial.Read(serial.Key(key)), serial.Append(serial.Key(key), v)})
	c.w.send(gate, &request{
		ask: askWrite, group: c.w.ring.Partition([]byte(key)), data: in.command(key), wait: plainTime,
		done: func(rep reply) {
			c.putEnded(key, was.list, list, h, rep)
			then()
		},
	})
}

func (c *txnClient) putEnded(key string, was, list []serial.Value, h *serial.Handle, rep reply) {
	switch {
	case rep.outcome == unknown:
		h.Unknown()
		delete(c.seen, key)
	case rep.outcome == noEffect, rep.result.Status == storage.StatusConditionFailed:
		h.Abort()
		delete(c.seen, key)
	default:
		c.w.load.learn(key, rep.result.Version, list)
		c.seen[key] = sighting{rep.result.Version, list}
		h.Commit(was)
	}
}

// askStatus asks what became of some transaction, at times of one that still runs.
func (c *txnClient) askStatus(then func()) {
	all := c.w.txns.all
	gate := c.w.anyNode()
	if len(all) == 0 || gate == nil || gate.side == nil {
		then()
		return
	}
	f := all[len(all)-1-c.w.rng.IntN(min(len(all), 8))]
	over := false
	end := func() {
		if !over {
			over = true
			then()
		}
	}
	c.w.after(defaultTimeout+2*time.Second, end) // the node may die
	gate.side.status(f.name, func(st txn.Status) {
		f.answeredStatus(c.w, st)
		end()
	})
}

func (f *fate) answeredStatus(w *world, st txn.Status) {
	w.stats.Statuses++
	switch st {
	case txn.StatusCommitted:
		f.tell(w, tellCommitted)
	case txn.StatusAborted:
		f.tell(w, tellAborted)
	}
}
