package systemtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// op is what a client asked of one key.
type op struct {
	kind  byte // p put, d delete, g get
	key   string
	value string
	match uint64 // If-Match; 0: unconditional
}

// outcome is what it was told.
type outcome struct {
	unknown bool
	failed  bool // condition did not hold
	found   bool // get
	value   string
	version uint64 // of a get or a put; 0: not told
}

// keyState is one key in the model. version is 0 while the value was written by someone who was not told it; it is
// above floor, the highest version ever seen.
type keyState struct {
	exists  bool
	value   string
	version uint64
	floor   uint64
}

// model is one key under put, delete and get, with the versions that a real store gives. An operation of unknown
// outcome is in the history with an open end: the checker may place it anywhere after its call, also behind
// everything, where it has no effect.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		var order []string
		for _, o := range history {
			k := o.Input.(op).key
			if byKey[k] == nil {
				order = append(order, k)
			}
			byKey[k] = append(byKey[k], o)
		}
		out := make([][]porcupine.Operation, len(order))
		for i, k := range order {
			out[i] = byKey[k]
		}
		return out
	},
	Init: func() any { return keyState{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(keyState), input.(op), output.(outcome)
		if in.kind == 'g' {
			return s.get(out)
		}
		return s.write(in, out)
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

func (s keyState) get(out outcome) (bool, any) {
	if out.found != s.exists || out.found && out.value != s.value {
		return false, s
	}
	if !out.found {
		return true, s
	}
	if s.version != 0 {
		return s.version == out.version, s
	}
	if out.version <= s.floor {
		return false, s
	}
	s.version, s.floor = out.version, out.version
	return true, s
}

func (s keyState) write(in op, out outcome) (bool, any) {
	holds := in.match == 0 || s.exists && (s.version == in.match || s.version == 0 && in.match > s.floor)
	if out.failed {
		return !holds || s.version == 0, s
	}
	if !holds {
		return out.unknown, s
	}
	if in.kind == 'd' {
		s.exists, s.value, s.version = false, "", 0
		return true, s
	}
	if out.version != 0 && (out.version <= s.floor || out.version <= s.version) {
		return false, s
	}
	s.floor = max(s.floor, s.version, out.version)
	s.exists, s.value, s.version = true, in.value, out.version
	return true, s
}

// history records what clients did.
type history struct {
	begun time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// begin records the call and returns what to call with the outcome.
func (h *history) begin(client int, in op) func(outcome) {
	call := time.Since(h.begun).Nanoseconds()
	return func(out outcome) {
		o := porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: time.Since(h.begun).Nanoseconds()}
		if out.unknown {
			o.Return = int64(1) << 62
		}
		h.mu.Lock()
		h.ops = append(h.ops, o)
		h.mu.Unlock()
	}
}

func (h *history) check(t *testing.T) {
	t.Helper()
	res, info := porcupine.CheckOperationsVerbose(model, h.ops, time.Minute)
	unknown := 0
	for _, o := range h.ops {
		if o.Output.(outcome).unknown {
			unknown++
		}
	}
	t.Logf("history: %d operations, %d of unknown outcome: %s", len(h.ops), unknown, res)
	if res == porcupine.Ok {
		return
	}
	path := t.Name() + ".html"
	if err := porcupine.VisualizePath(model, info, path); err == nil {
		t.Logf("the history is drawn in %s", path)
	}
	t.Fatalf("the history is not linearizable: %s", res)
}

// TestModel convicts histories that are wrong, so that the check above means something.
func TestModel(t *testing.T) {
	put := func(v string, version uint64) [2]any {
		return [2]any{op{kind: 'p', key: "k", value: v}, outcome{version: version}}
	}
	get := func(v string, version uint64) [2]any {
		return [2]any{op{kind: 'g', key: "k"}, outcome{found: true, value: v, version: version}}
	}
	gone := [2]any{op{kind: 'g', key: "k"}, outcome{}}
	lost := [2]any{op{kind: 'p', key: "k", value: "u"}, outcome{unknown: true}}
	for name, c := range map[string]struct {
		ops [][2]any
		ok  bool
	}{
		"read your write":             {[][2]any{put("a", 1), get("a", 1)}, true},
		"lost write":                  {[][2]any{put("a", 1), gone}, false},
		"stale read":                  {[][2]any{put("a", 1), put("b", 2), get("a", 1)}, false},
		"wrong version":               {[][2]any{put("a", 1), get("a", 2)}, false},
		"version goes back":           {[][2]any{put("a", 2), put("b", 1)}, false},
		"unknown took effect":         {[][2]any{put("a", 1), lost, get("u", 2)}, true},
		"unknown had none":            {[][2]any{put("a", 1), lost, get("a", 1)}, true},
		"unknown came and went":       {[][2]any{put("a", 1), lost, get("u", 2), get("a", 1)}, false},
		"unknown reuses a version":    {[][2]any{put("a", 5), lost, get("u", 5)}, false},
		"condition on what is not so": {[][2]any{put("a", 1), {op{kind: 'p', key: "k", value: "b", match: 7}, outcome{version: 8}}}, false},
	} {
		h := &history{}
		for i, o := range c.ops {
			end := int64(10*i + 5)
			if o[1].(outcome).unknown {
				end = 1 << 62
			}
			h.ops = append(h.ops, porcupine.Operation{ClientId: i, Input: o[0], Output: o[1], Call: int64(10 * i), Return: end})
		}
		if got := porcupine.CheckOperations(model, h.ops); got != c.ok {
			t.Errorf("%s: linearizable = %v, want %v", name, got, c.ok)
		}
	}
}
