package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

// keepDead is for how long a dead member is listed and looked for at its last address.
const keepDead = 24 * time.Hour

// rejoin looks for nodes that are not alive as far as is known, for ever: memberlist joins once, and forgets the dead,
// so two halves of a cluster that were apart for long would never meet again. A node that was found but is not alive
// after one round often is after the next: in the first both learn that they were thought dead, and say otherwise.
func (g *Gossip) rejoin() {
	pause := g.cfg.RejoinMin
	missing := -1
	for {
		found := g.look()
		if found != missing { // something changed: look again soon
			pause = g.cfg.RejoinMin
		}
		missing = found
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-g.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = min(2*pause, g.cfg.RejoinMax)
	}
}

// look tries every address where a node may be and none is known to be alive. It returns how many there were.
func (g *Gossip) look() (missing int) {
	g.forget()
	for _, addr := range g.candidates() {
		if g.ctx.Err() != nil || g.answered(addr) {
			continue
		}
		missing++
		if _, err := g.list.Join([]string{addr}); err != nil {
			g.cfg.Logger.Debug("no gossip at an address", "addr", addr, "error", err)
		}
	}
	return missing
}

// candidates are all addresses worth a try, each once.
func (g *Gossip) candidates() []string {
	var all []string
	seen := make(map[string]bool)
	add := func(addr string) {
		if addr != "" && !seen[addr] {
			seen[addr] = true
			all = append(all, addr)
		}
	}
	for _, addr := range g.cfg.Join {
		add(addr)
	}
	for _, addr := range g.cfg.KnownAddrs() {
		add(addr)
	}
	for _, m := range g.Members() {
		if !m.Alive {
			add(m.Addr)
		}
	}
	return all
}

// answered reports whether a node that is known to be alive, such as this one, has that address.
func (g *Gossip) answered(addr string) bool {
	alive := map[string]bool{g.Addr(): true}
	for _, m := range g.Members() {
		if m.Alive {
			alive[m.Addr] = true
		}
	}
	if alive[addr] {
		return true
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.StreamTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return false
	}
	for _, ip := range ips {
		if alive[net.JoinHostPort(ip, port)] {
			return true
		}
	}
	return false
}

// forget drops members that are dead for long.
func (g *Gossip) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, m := range g.members {
		if !m.Alive && time.Since(m.Since) > keepDead {
			delete(g.members, name)
		}
	}
}
