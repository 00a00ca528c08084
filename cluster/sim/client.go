package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// client does one request after the other, each through any node, and notes what it asked and what it heard.
type client struct {
	w    *world
	id   int
	seen map[string]storage.Version // the newest version heard of, by key
}

func (w *world) startClients() {
	for i := range w.cfg.Clients {
		c := &client{w: w, id: i, seen: make(map[string]storage.Version)}
		w.after(w.between(0, time.Second), c.next)
	}
}

// key is the i-th key in use. One whose history has many open ends is not used any more: to judge it would take for ever.
func (w *world) key(i int) string {
	for generation := 0; ; generation++ {
		key := "key/" + strconv.Itoa(i) + strings.Repeat("+", generation)
		if w.history.of(w.ring.Partition([]byte(key)), key).unknown < maxUnknown {
			return key
		}
	}
}

// The TTLs of keys that have one: some expire while the next requests for them are under way.
const minTTL, maxTTL = 20 * time.Millisecond, 1500 * time.Millisecond

// maxUnknown is how many writes of unknown outcome one key's history may have before its successor takes over.
const maxUnknown = 8

func (c *client) next() {
	if c.w.closed {
		return
	}
	key := c.w.key(c.w.rng.IntN(c.w.cfg.Keys))
	in := c.draw(key)
	c.do(c.w.anyNode(), c.w.ring.Partition([]byte(key)), key, in, func(rep reply) {
		if in.kind != get && rep.outcome == answered {
			c.lookEverywhere(key)
		}
		c.w.after(c.w.between(time.Millisecond, 100*time.Millisecond), c.next)
	})
}

// lookEverywhere reads a key at once through some other nodes: whoever still believes in the past is found out.
func (c *client) lookEverywhere(key string) {
	for i, n := range c.w.up() {
		if c.w.chance(0.5) {
			reader := &client{w: c.w, id: operators + i, seen: c.seen}
			reader.do(n, c.w.ring.Partition([]byte(key)), key, input{kind: get}, func(reply) {})
		}
	}
}

// draw chooses what to do with a key.
func (c *client) draw(key string) input {
	rng := c.w.rng
	in := input{kind: get}
	switch n := rng.IntN(10); {
	case n < 5:
		in.kind, in.value = put, c.w.history.newValue(c.w)
		if c.w.cfg.Mortal && c.w.chance(0.3) {
			in.ttl = c.w.between(minTTL, maxTTL).Truncate(time.Millisecond)
		}
	case n < 6:
		in.kind = del
	}
	if in.kind == get {
		return in
	}
	switch n := rng.IntN(6); {
	case n == 0 && in.kind == put:
		in.demand = ifAbsent
	case n == 1:
		in.demand = ifPresent
	case n <= 3 && c.seen[key] != 0:
		in.demand, in.version = ifVersion, c.seen[key]
	}
	return in
}

// do carries an input out through a gateway and notes it. With a gateway that is down nothing happens.
func (c *client) do(gate *node, p ring.PartitionID, key string, in input, then func(reply)) {
	if gate == nil || gate.worker == nil {
		then(reply{outcome: noEffect})
		return
	}
	h := &c.w.history
	in.at = c.w.now
	entry := h.begin(c.id, p, key, in)
	r := &request{ask: askWrite, group: p, key: []byte(key), data: in.command(key)}
	if in.kind == get {
		r.ask, r.data = askRead, nil
	}
	r.done = func(rep reply) {
		c.heard(key, in, rep)
		h.end(c.w, entry, rep)
		if rep.outcome == unknown && c.w.cfg.Sabotage.Repeat {
			repeat := *r
			repeat.over, repeat.done = false, func(reply) {}
			c.w.send(gate, &repeat)
		}
		then(rep)
	}
	c.w.send(gate, r)
}

// heard keeps what the next If-Match may name.
func (c *client) heard(key string, in input, rep reply) {
	if rep.outcome != answered {
		return
	}
	c.w.stats.Acked++
	switch {
	case in.kind == get:
		c.w.stats.Reads++
		if !rep.found && c.seen[key] != 0 {
			c.w.stats.Vanished++
		}
		c.seen[key] = rep.item.Version
	case rep.result.Version != 0:
		c.seen[key] = rep.result.Version
	}
}

// anyNode is a node that runs, nil if none does.
func (w *world) anyNode() *node {
	up := w.up()
	if len(up) == 0 {
		return nil
	}
	return up[w.rng.IntN(len(up))]
}

// newValue is one that no other put writes, now and then a long one.
func (h *history) newValue(w *world) string {
	h.values++
	v := fmt.Sprintf("v%d", h.values)
	if w.chance(0.05) {
		v = fmt.Sprintf("%s%0*d", v, 1+w.rng.IntN(2000), 0)
	}
	return v
}
