package sim

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ringkv/ringkv/storage"
)

// action is what is done with a key.
type action uint8

const (
	get action = iota + 1
	put
	del
)

func (a action) String() string { return [...]string{"nothing", "get", "put", "delete"}[a] }

// demand is what a write asks of the present state, after the HTTP headers.
type demand uint8

const (
	always    demand = iota
	ifAbsent         // If-None-Match: *
	ifPresent        // If-Match: *
	ifVersion        // If-Match: "17"
)

func (d demand) String() string { return [...]string{"", "if absent", "if present", "if version"}[d] }

// input and output are one operation.
type input struct {
	kind    action
	value   string // put: no other put writes it
	demand  demand
	version storage.Version
	ttl     time.Duration // put: 0 means for ever
	at      time.Duration // virtual time of the call
}

type output struct {
	known   bool          // else all below is empty
	at      time.Duration // virtual time of the return
	status  storage.Status
	found   bool // get
	value   string
	version storage.Version
}

func (in input) String() string {
	return fmt.Sprintf("%v %s %v %d ttl %v at %v", in.kind, in.value, in.demand, in.version, in.ttl, in.at)
}

func (o output) String() string {
	if !o.known {
		return "?"
	}
	return fmt.Sprintf("%v found=%t %s %d at %v", o.status, o.found, o.value, o.version, o.at)
}

// cell is one key's state. A write of unknown outcome gives the key a version that nobody was told: then version is 0,
// and the version is above floor. Otherwise floor is the last version that the key had. A key with a TTL may be gone at
// any time after ends, and then it stays so.
type cell struct {
	ends    time.Duration // 0: never
	exists  bool
	value   string
	version storage.Version
	floor   storage.Version
}

// model is the specification of a key: a register whose every change has a new, larger version.
func (k *keyHistory) model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{k.first} },
		Step: func(state, in, out any) []any {
			c, _ := state.(cell)
			i, _ := in.(input)
			o, _ := out.(output)
			var next []any
			for _, s := range c.step(i, o) {
				next = append(next, s)
			}
			if c.ends > 0 && (!o.known || o.at >= c.ends) {
				for _, s := range c.gone().step(i, o) {
					next = append(next, s)
				}
			}
			return next
		},
		Equal: func(a, b any) bool { return a == b },
	}
	return m.ToModel()
}

// step lists the states that the key may be in after an operation ended so; none if it cannot have ended so.
func (c cell) step(in input, out output) []cell {
	switch {
	case !out.known:
		return c.guess(in)
	case in.kind == get:
		return c.look(out.found, out.value, out.version)
	case out.status == storage.StatusConditionFailed:
		return c.refused(in, out.version)
	}
	return c.written(in, out)
}

// look is a read.
func (c cell) look(found bool, value string, version storage.Version) []cell {
	if !found || !c.exists {
		return one(c, found == c.exists)
	}
	return one(c.told(version), c.value == value && c.mayHave(version))
}

// refused is a write whose demand did not hold, which tells the present version.
func (c cell) refused(in input, version storage.Version) []cell {
	if version == 0 {
		return one(c, !c.exists && (in.demand == ifPresent || in.demand == ifVersion))
	}
	unmet := in.demand == ifAbsent || in.demand == ifVersion && in.version != version
	return one(c.told(version), c.exists && unmet && c.mayHave(version))
}

// written is a write that was acknowledged.
func (c cell) written(in input, out output) []cell {
	if out.status == storage.StatusAbsent {
		return one(c, in.kind == del && !c.exists && in.demand == always)
	}
	var fits bool
	switch out.status {
	case storage.StatusCreated:
		fits = in.kind == put && !c.exists
	case storage.StatusReplaced:
		fits = in.kind == put && c.exists
	case storage.StatusDeleted:
		fits = in.kind == del && c.exists
	}
	if met, _ := c.meets(in); !fits || !met {
		return nil
	}
	if in.demand == ifVersion {
		c = c.told(in.version)
	}
	return one(c.after(in, out.version), out.version > c.floor)
}

// guess is a write of unknown outcome: it took effect if its demand held.
func (c cell) guess(in input) []cell {
	met, sure := c.meets(in)
	if !met || in.kind == del && !c.exists {
		return []cell{c}
	}
	before := c
	if in.demand == ifVersion {
		before = c.told(in.version)
	}
	next := before.after(in, 0)
	if sure {
		return []cell{next}
	}
	return []cell{next, c}
}

// meets tells whether the key may be as a write demands, and whether that is sure.
func (c cell) meets(in input) (may, sure bool) {
	switch in.demand {
	case ifAbsent:
		return !c.exists, true
	case ifPresent:
		return c.exists, true
	case ifVersion:
		return c.exists && c.mayHave(in.version), c.version != 0
	}
	return true, true
}

// after is the key once a write took effect, with version 0 if that is not known.
func (c cell) after(in input, version storage.Version) cell {
	next := cell{floor: max(c.floor, version)}
	if in.kind == put {
		next.exists, next.value, next.version = true, in.value, version
		if in.ttl > 0 {
			next.ends = in.at + in.ttl
		}
	}
	return next
}

// gone is the key once it has expired.
func (c cell) gone() cell { return cell{floor: c.floor} }

func (c cell) mayHave(v storage.Version) bool {
	return v == c.version || c.version == 0 && v > c.floor
}

func (c cell) told(v storage.Version) cell {
	if c.exists {
		c.version, c.floor = v, v
	}
	return c
}

func one(c cell, possible bool) []cell {
	if !possible {
		return nil
	}
	return []cell{c}
}
