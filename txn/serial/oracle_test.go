package serial_test

import (
	"slices"
	"testing"

	"github.com/ringkv/ringkv/txn/serial"
)

// oracle judges a history of a few transactions by trying every order in which they may have taken effect.
type oracle struct {
	txns     []serial.Txn // those that may have
	realtime bool         // orders must agree with it
	done     []bool
	lists    lists
}

// possible says whether there is a serial order that explains every read.
func possible(h []serial.Txn, realtime bool) bool {
	o := &oracle{realtime: realtime, lists: lists{}}
	for _, t := range h {
		if t.Outcome != serial.Aborted {
			o.txns = append(o.txns, t)
		}
	}
	o.done = make([]bool, len(o.txns))
	return o.search()
}

// search goes on from the state reached. Of unknown outcomes any number may stay away.
func (o *oracle) search() bool {
	left := false
	for i, t := range o.txns {
		if o.done[i] {
			continue
		}
		left = left || t.Outcome == serial.Committed
		if o.mayBeNext(t) && o.try(i) {
			return true
		}
	}
	return !left
}

func (o *oracle) mayBeNext(t serial.Txn) bool {
	return !o.realtime || !slices.ContainsFunc(o.txns, func(u serial.Txn) bool {
		i := slices.IndexFunc(o.txns, func(v serial.Txn) bool { return v.ID == u.ID })
		return !o.done[i] && u.Outcome == serial.Committed && u.Returned < t.Invoked
	})
}

// try lets transaction i take effect, goes on, and takes it back.
func (o *oracle) try(i int) bool {
	before := lists{}
	for key, l := range o.lists {
		before[key] = l
	}
	o.done[i] = true
	ok := o.explain(o.txns[i]) && o.search()
	o.done[i], o.lists = false, before
	return ok
}

func (o *oracle) explain(t serial.Txn) bool {
	for _, op := range t.Ops {
		switch {
		case op.Kind == serial.OpAppend:
			o.lists.append(op.Key, op.Value)
		case t.Outcome == serial.Committed && !slices.Equal(op.Seen, o.lists[op.Key]):
			return false
		}
	}
	return true
}

// TestOracle holds the oracle itself to a few histories that are judged by hand.
func TestOracle(t *testing.T) {
	stale := []serial.Txn{
		{ID: 1, Invoked: 0, Returned: 1, Outcome: serial.Committed, Ops: []serial.Op{serial.Append("x", 1)}},
		{ID: 2, Invoked: 2, Returned: 3, Outcome: serial.Committed, Ops: []serial.Op{serial.Read("x")}},
	}
	skew := []serial.Txn{
		{ID: 1, Returned: 9, Outcome: serial.Committed, Ops: []serial.Op{serial.Read("x"), serial.Append("y", 1)}},
		{ID: 2, Returned: 9, Outcome: serial.Committed, Ops: []serial.Op{serial.Read("y"), serial.Append("x", 2)}},
	}
	if possible(stale, true) || !possible(stale, false) {
		t.Error("a stale read is serializable, but not strictly")
	}
	if possible(skew, false) {
		t.Error("write skew is not serializable")
	}
	stale[0].Outcome = serial.Unknown
	if !possible(stale, true) {
		t.Error("an unknown append may come later")
	}
}
