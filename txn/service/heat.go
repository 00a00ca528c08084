package service

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/ringkv/ringkv/txn"
)

// heat remembers for a moment which keys transactions have met each other on. One that touches such a key takes its
// groups one after another at once: sent to all in parallel, its prepares would most likely be refused, and each
// refusal is an entry of the log. Wrong either way it costs time, never correctness.
type heat struct {
	mu   sync.Mutex // guards keys
	keys map[uint64]time.Time
	seed maphash.Seed
}

const (
	heatTime = 2 * time.Second // after the last conflict
	maxHeat  = 4096            // keys
)

// note says that a transaction needed more than one attempt: one of its keys is contended.
func (h *heat) note(p *txn.Plan, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil {
		h.keys, h.seed = make(map[uint64]time.Time), maphash.MakeSeed()
	}
	if len(h.keys) > maxHeat {
		clear(h.keys)
	}
	h.visit(p, func(key uint64) bool {
		h.keys[key] = now
		return true
	})
}

// has reports whether a key of p was contended a moment ago.
func (h *heat) has(p *txn.Plan, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.keys) == 0 {
		return false
	}
	hot := false
	h.visit(p, func(key uint64) bool {
		at, noted := h.keys[key]
		if noted && now.Sub(at) > heatTime {
			delete(h.keys, key)
			noted = false
		}
		hot = noted
		return !hot
	})
	return hot
}

// visit calls fn for every key that p may write, until it returns false.
func (h *heat) visit(p *txn.Plan, fn func(key uint64) bool) {
	for i := range p.Request.Then {
		if !fn(maphash.Bytes(h.seed, p.Request.Then[i].Key)) {
			return
		}
	}
	for i := range p.Request.Else {
		if !fn(maphash.Bytes(h.seed, p.Request.Else[i].Key)) {
			return
		}
	}
}
