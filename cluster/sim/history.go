package sim

import (
	"fmt"
	"hash/fnv"
	"math"

	"github.com/anishathalye/porcupine"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// history is what the clients asked and heard, key by key, in the order in which it happened.
type history struct {
	moment int64 // counts calls and returns
	values int
	open   int // requests that have not ended
	keys   []*keyHistory
}

// keyHistory is one key's part.
type keyHistory struct {
	group   ring.PartitionID
	key     string
	first   cell // before anything happened
	ops     []porcupine.Operation
	unknown int // writes whose outcome nobody knows
}

// entry is an operation that has not ended.
type entry struct {
	key *keyHistory
	op  porcupine.Operation
}

func (h *history) of(p ring.PartitionID, key string) *keyHistory {
	for _, k := range h.keys {
		if k.group == p && k.key == key {
			return k
		}
	}
	k := &keyHistory{group: p, key: key}
	h.keys = append(h.keys, k)
	return k
}

// initial notes that a key was there before the first request: the cluster's description.
func (h *history) initial(p ring.PartitionID, key string, s *meta.State) {
	b, err := s.Encode()
	if err != nil {
		panic(err) // Form gave it
	}
	h.of(p, key).first = cell{exists: true, value: short(string(b)), version: 1, floor: 1}
}

func (h *history) begin(client int, p ring.PartitionID, key string, in input) *entry {
	h.moment++
	k := h.of(p, key)
	h.open++
	in.value = short(in.value)
	return &entry{k, porcupine.Operation{ClientId: client, Input: in, Call: h.moment}}
}

// end notes how an operation ended. What certainly had no effect is left out: if it had one after all, somebody sees
// a value that nobody wrote. What is not known stays open for ever.
func (h *history) end(w *world, e *entry, rep reply) {
	h.moment++
	h.open--
	in, _ := e.op.Input.(input)
	e.op.Return = h.moment
	switch {
	case rep.outcome == noEffect, rep.outcome == unknown && in.kind == get:
		w.stats.Failed++
		return
	case rep.outcome == unknown:
		w.stats.Unknown++
		e.key.unknown++
		e.op.Output, e.op.Return = output{}, math.MaxInt64
	case in.kind == get:
		e.op.Output = output{known: true, at: w.now, found: rep.found, value: short(string(rep.item.Value)), version: rep.item.Version}
	default:
		e.op.Output = output{known: true, at: w.now, status: rep.result.Status, version: rep.result.Version}
	}
	w.note("answer", uint64(e.op.Call), uint64(e.op.Return))
	e.key.ops = append(e.key.ops, e.op)
}

// short stands for a long value, such as the cluster's description.
func short(v string) string {
	if len(v) <= 16 {
		return v
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(v)) // never fails
	return fmt.Sprintf("#%016x", h.Sum64())
}

// check judges every key.
func (h *history) check() error {
	for _, k := range h.keys {
		if !porcupine.CheckOperations(k.model(), k.ops) {
			return fmt.Errorf("key %q of partition %d: %d operations are not linearizable:\n%s", k.key, k.group, len(k.ops), k.describe())
		}
	}
	return nil
}

func (k *keyHistory) describe() string {
	var s string
	for _, op := range k.ops {
		end := fmt.Sprint(op.Return)
		if op.Return == math.MaxInt64 {
			end = "?"
		}
		in, _ := op.Input.(input)
		out, _ := op.Output.(output)
		s += fmt.Sprintf("  client %d [%d, %s] %v → %v\n", op.ClientId, op.Call, end, in, out)
	}
	return s
}

// command is the input as a leader's log holds it.
func (in input) command(key string) []byte {
	c := storage.Command{Kind: storage.KindPut, Key: []byte(key), Value: []byte(in.value)}
	if in.ttl > 0 {
		c.TTL = storage.Millis(in.ttl.Milliseconds()) + 1 // as cluster does it
	}
	if in.kind == del {
		c.Kind = storage.KindDelete
	}
	switch in.demand {
	case ifAbsent:
		c.Cond.IfNoneMatchAny = true
	case ifPresent:
		c.Cond.IfMatchAny = true
	case ifVersion:
		c.Cond.IfMatch = []storage.Version{in.version}
	}
	return storage.AppendCommand(nil, &c)
}
