package systemtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api/client"
)

// trueHistory is a history with everything in it, all of it known, and exactly the events that belong to it.
func trueHistory() (*deeds, map[string][]told) {
	ds := &deeds{}
	sale := &transaction{id: "T1", puts: []string{"w/order", "w/stock"}}
	refund := &transaction{id: "T2", puts: []string{"w/order", "w/brief"}}
	for _, d := range []struct {
		key string
		deed
	}{
		{"w/plain", deed{value: "a", version: 3}},
		{"w/plain", deed{value: "b", version: 4}},
		{"w/plain", deed{value: "refused", fate: undone}},
		{"w/plain", deed{remove: true}},
		{"w/plain", deed{remove: true}}, // nothing was there
		{"w/plain", deed{value: "c", version: 9}},
		{"w/order", deed{value: "o1", version: 2, txn: sale}},
		{"w/stock", deed{value: "s1", version: 7, txn: sale}},
		{"w/order", deed{value: "o2", version: 5, txn: refund}},
		{"w/stock", deed{remove: true, found: present, txn: refund}},
		{"w/brief", deed{value: "x", version: 11, ttl: true, txn: refund}},   // expires
		{"w/brief", deed{value: "y", version: 13, ttl: true, found: absent}}, // is overwritten
		{"w/brief", deed{value: "z", version: 14, keepTTL: true, found: present}},
	} {
		ds.add(d.key, &d.deed)
	}
	return ds, map[string][]told{
		"w/plain": {put("a", 3, ""), put("b", 4, ""), {kind: client.EventDelete, version: 6}, put("c", 9, "")},
		"w/order": {put("o1", 2, "T1"), put("o2", 5, "T2")},
		"w/stock": {put("s1", 7, "T1"), {kind: client.EventDelete, version: 8, txn: "T2"}},
		"w/brief": {
			put("x", 11, "T2"), {kind: client.EventExpire, version: 12}, put("y", 13, ""), put("z", 14, ""),
			{kind: client.EventExpire, version: 15},
		},
	}
}

func put(value string, version uint64, txn string) told {
	return told{kind: client.EventPut, value: value, version: version, txn: txn}
}

// TestJudgeAcceptsTheTruth, or what follows would mean nothing.
func TestJudgeAcceptsTheTruth(t *testing.T) {
	ds, events := trueHistory()
	if err := ds.judge("w/", events); err != nil {
		t.Error(err)
	}
	some := map[string][]told{"w/stock": events["w/stock"]}
	if err := ds.judge("w/s", some); err != nil {
		t.Errorf("one key of two in a transaction: %v", err)
	}
	if err := agree("w/s", events, some); err != nil {
		t.Error(err)
	}
}

// lies are the ways to falsify the i-th of a key's events; ok is false where a lie cannot be told there.
func lies() map[string]func(events []told, i int) (_ []told, ok bool) {
	change := func(lie func(e *told)) func([]told, int) ([]told, bool) {
		return func(events []told, i int) ([]told, bool) { lie(&events[i]); return events, true }
	}
	return map[string]func([]told, int) ([]told, bool){
		"dropped": func(events []told, i int) ([]told, bool) { return slices.Delete(events, i, i+1), true },
		"doubled": func(events []told, i int) ([]told, bool) { return slices.Insert(events, i, events[i]), true },
		"told again at the end": func(events []told, i int) ([]told, bool) {
			return append(events, events[i]), i < len(events)-1
		},
		"doubled under a new version": func(events []told, i int) ([]told, bool) {
			again := events[i]
			again.version++
			return slices.Insert(events, i+1, again), true
		},
		"swapped with the next": func(events []told, i int) ([]told, bool) {
			if i+1 == len(events) {
				return nil, false
			}
			events[i], events[i+1] = events[i+1], events[i]
			return events, true
		},
		"swapped with the next, but for the versions": func(events []told, i int) ([]told, bool) {
			if i+1 == len(events) {
				return nil, false
			}
			a, b := &events[i], &events[i+1]
			*a, *b = *b, *a
			a.version, b.version = b.version, a.version
			return events, true
		},
		"an invented put behind it": func(events []told, i int) ([]told, bool) {
			return slices.Insert(events, i+1, put("invented", events[i].version+1, "")), true
		},
		"a refused put behind it": func(events []told, i int) ([]told, bool) {
			return slices.Insert(events, i+1, put("refused", events[i].version+1, "")), true
		},
		"an invented delete behind it": func(events []told, i int) ([]told, bool) {
			return slices.Insert(events, i+1, told{kind: client.EventDelete, version: events[i].version + 1}), true
		},
		"an invented expiry behind it": func(events []told, i int) ([]told, bool) {
			return slices.Insert(events, i+1, told{kind: client.EventExpire, version: events[i].version + 1}), true
		},
		"another value":       change(func(e *told) { e.value += "?" }),
		"another transaction": change(func(e *told) { e.txn += "?" }),
		"no transaction": func(events []told, i int) ([]told, bool) {
			was := events[i].txn
			events[i].txn = ""
			return events, was != ""
		},
		"version of its own": func(events []told, i int) ([]told, bool) {
			events[i].version += 100
			return events[:i+1], events[i].kind == client.EventPut
		},
		"a delete for an expiry": func(events []told, i int) ([]told, bool) {
			return recast(events, i, client.EventExpire, client.EventDelete)
		},
		"an expiry for a delete": func(events []told, i int) ([]told, bool) {
			return recast(events, i, client.EventDelete, client.EventExpire)
		},
		"a delete for a put": func(events []told, i int) ([]told, bool) {
			return recast(events, i, client.EventPut, client.EventDelete)
		},
	}
}

func recast(events []told, i int, from, to client.EventKind) ([]told, bool) {
	was := events[i].kind
	events[i].kind = to
	return events, was == from
}

// TestJudgeConvictsEveryLie falsifies every single event of a true history in every way.
func TestJudgeConvictsEveryLie(t *testing.T) {
	told, _ := 0, 0
	for name, lie := range lies() {
		_, truth := trueHistory()
		for key := range truth {
			for i := range truth[key] {
				ds, events := trueHistory()
				falsified, ok := lie(slices.Clone(events[key]), i)
				if !ok {
					continue
				}
				told++
				honest := maps.Clone(events)
				events[key] = falsified
				if err := ds.judge("w/", events); err == nil {
					t.Errorf("%s: event %d of %s: nobody minds: %v", name, i, key, falsified)
				}
				if strings.Contains(name, "invented") || name == "dropped" {
					if err := agree("w/", honest, events); err == nil {
						t.Errorf("%s: event %d of %s: the watchers agree", name, i, key)
					}
				}
			}
		}
	}
	t.Logf("%d lies", told)
}

// TestJudgeOfUnknownOutcomes: what may or may not have been done is told once or not at all, and a transaction as a whole.
func TestJudgeOfUnknownOutcomes(t *testing.T) {
	lost := &transaction{puts: []string{"a", "b"}}
	expired := told{kind: client.EventExpire, version: 6}
	deleted := told{kind: client.EventDelete, version: 6}
	both := []*deed{{value: "1", version: 5, ttl: true}, {value: "2", fate: unknown, ttl: true}}
	end := []*deed{{value: "1", version: 5, ttl: true}, {remove: true, fate: unknown}}
	in := []*deed{{value: "t", fate: unknown, txn: lost}}
	for name, c := range map[string]struct {
		stories map[string][]*deed
		events  map[string][]told
		want    string // "": right; "not told": wait
	}{
		"not done":              {of(both), of([]told{put("1", 5, ""), expired}), ""},
		"done":                  {of(both), of([]told{put("1", 5, ""), put("2", 6, ""), {kind: client.EventExpire, version: 7}}), ""},
		"done after the expiry": {of(both), of([]told{put("1", 5, ""), expired, put("2", 7, ""), {kind: client.EventExpire, version: 8}}), ""},
		"done twice":            {of(both), of([]told{put("1", 5, ""), put("2", 6, ""), put("2", 7, "")}), "nothing of the kind"},
		"both expiries":         {of(both), of([]told{put("1", 5, ""), expired, {kind: client.EventExpire, version: 7}}), "nothing of the kind"},
		"not expired yet":       {of(both), of([]told{put("1", 5, ""), put("2", 6, "")}), "not told"},
		"delete done":           {of(end), of([]told{put("1", 5, ""), deleted}), ""},
		"delete not done":       {of(end), of([]told{put("1", 5, ""), expired}), ""},
		"neither, so far":       {of(end), of([]told{put("1", 5, "")}), "not told"},
		"delete and expiry":     {of(end), of([]told{put("1", 5, ""), deleted, {kind: client.EventExpire, version: 7}}), "nothing of the kind"},
		"transaction done":      {map[string][]*deed{"a": in, "b": in}, map[string][]told{"a": {put("t", 5, "T")}, "b": {put("t", 5, "T")}}, ""},
		"transaction not done":  {map[string][]*deed{"a": in, "b": in}, nil, ""},
		"half a transaction":    {map[string][]*deed{"a": in, "b": in}, map[string][]told{"a": {put("t", 5, "T")}}, "not told"},
		"two names":             {map[string][]*deed{"a": in, "b": in}, map[string][]told{"a": {put("t", 5, "T")}, "b": {put("t", 5, "U")}}, "the transaction is"},
		"no name":               {map[string][]*deed{"a": in, "b": in}, map[string][]told{"a": {put("t", 5, "")}}, "nothing of the kind"},
		"nobody's":              {nil, map[string][]told{"a": {put("t", 5, "")}}, "nobody wrote that"},
		"beyond the prefix":     {map[string][]*deed{"b": in}, map[string][]told{"b": {put("t", 5, "T")}}, "nobody wrote that"},
		"one name for two": {
			map[string][]*deed{"a/1": {{value: "1", version: 1, txn: &transaction{id: "T", puts: []string{"a/1"}}}}, "a/2": {{value: "2", version: 2, txn: &transaction{id: "T", puts: []string{"a/2"}}}}},
			map[string][]told{"a/1": {put("1", 1, "T")}, "a/2": {put("2", 2, "T")}}, "two transactions are called",
		},
		"must have been there": {
			of([]*deed{{value: "1", version: 5, ttl: true}, {remove: true, found: present}}), of([]told{put("1", 5, ""), expired, put("2", 7, "")}), "say that the key was absent",
		},
	} {
		prefix := ""
		if name == "beyond the prefix" {
			prefix = "a"
		}
		err := (&deeds{all: c.stories}).judge(prefix, c.events)
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if errors.Is(err, errMissing) != (c.want == "not told") {
			t.Errorf("%s: %v: to be waited for, or not?", name, err)
		}
	}
}

func of[T any](list []T) map[string][]T { return map[string][]T{"a": list} }

// TestMatches: what is stored is what the last events say.
func TestMatches(t *testing.T) {
	_, events := trueHistory()
	truth := map[string]uint64{"w/plain": 9, "w/order": 5}
	for name, c := range map[string]struct {
		change func(stored map[string]uint64)
		ok     bool
	}{
		"the same":              {func(map[string]uint64) {}, true},
		"another version":       {func(s map[string]uint64) { s["w/plain"] = 10 }, false},
		"not stored":            {func(s map[string]uint64) { delete(s, "w/order") }, false},
		"stored though deleted": {func(s map[string]uint64) { s["w/stock"] = 7 }, false},
		"stored though expired": {func(s map[string]uint64) { s["w/brief"] = 14 }, false},
		"never told":            {func(s map[string]uint64) { s["w/silent"] = 1 }, false},
	} {
		stored := maps.Clone(truth)
		c.change(stored)
		if err := matches(events, stored); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJudgeOfLargeValues: an event may come without a long value that was replaced meanwhile, and without no other.
func TestJudgeOfLargeValues(t *testing.T) {
	ds := &deeds{}
	ds.add("a", &deed{value: "1", version: 5, large: true})
	without := of([]told{{kind: client.EventPut, version: 5, large: true}})
	with := of([]told{put("1", 5, "")})
	for name, events := range map[string]map[string][]told{"with": with, "without": without} {
		if err := ds.judge("", events); err != nil {
			t.Errorf("%s its value: %v", name, err)
		}
	}
	if err := agree("", with, without); err != nil {
		t.Error(err)
	}
	if err := ds.judge("", of([]told{{kind: client.EventPut, version: 5}})); err == nil {
		t.Error("an empty value passes for a missing one")
	}
	ds.all["a"][0].large = false
	if err := ds.judge("", without); err == nil {
		t.Error("a short value may be missing")
	}
}
