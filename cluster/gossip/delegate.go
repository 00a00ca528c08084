package gossip

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// The types below are memberlist's callbacks. It calls them under its own locks: they take only g.mu, for a moment,
// and leave everything else to the owned goroutines.

// delegate hands out this node's metadata.
type delegate struct{ g *Gossip }

func (d delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.encoded
}

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(_, _ int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// events keeps the members.
type events struct{ g *Gossip }

func (e events) NotifyJoin(n *memberlist.Node)   { e.g.observe(n, true) }
func (e events) NotifyUpdate(n *memberlist.Node) { e.g.observe(n, true) }
func (e events) NotifyLeave(n *memberlist.Node)  { e.g.observe(n, false) }

// observe notes what memberlist found out about a node.
func (g *Gossip) observe(n *memberlist.Node, alive bool) {
	meta, err := decodeMeta(n.Meta)
	if err != nil {
		return // it was not admitted
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	next := Member{Meta: meta, Addr: n.Address(), Alive: alive, Since: time.Now()}
	if old, ok := g.members[n.Name]; ok && old.Alive == alive {
		next.Since = old.Since
	}
	g.members[n.Name] = next
	signal(g.changed)
}

// admission decides whose messages count.
type admission struct{ g *Gossip }

var errForeign = errors.New("another cluster's node")

// NotifyAlive refuses a node of another cluster, or one that does not speak as ringkv nodes do.
func (a admission) NotifyAlive(n *memberlist.Node) error {
	meta, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	if meta.name() != n.Name {
		return fmt.Errorf("%w: name and UUID differ", errMalformed)
	}
	if a.g.foreign(meta) {
		a.g.logForeign(meta, n.Address())
		return errForeign
	}
	return nil
}

// NotifyMerge refuses a node that knows only nodes of another cluster. One that knows both (it belongs to none yet
// and was told to join both) is let in: NotifyAlive picks out the right ones.
func (a admission) NotifyMerge(nodes []*memberlist.Node) error {
	var last *Meta
	for _, n := range nodes {
		meta, err := decodeMeta(n.Meta)
		if err != nil {
			continue
		}
		if !a.g.foreign(meta) {
			return nil
		}
		last = &meta
		a.g.logForeign(meta, n.Address())
	}
	if last != nil {
		return errForeign
	}
	return nil
}

func (g *Gossip) foreign(m Meta) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.foreignTo(m)
}

// foreignTo reports whether both nodes belong to a cluster and not to the same one. The caller holds mu.
func (g *Gossip) foreignTo(m Meta) bool {
	var none [16]byte
	return m.Cluster != none && g.self.Cluster != none && m.Cluster != g.self.Cluster
}

// maxForeign bounds how many foreign clusters are remembered, and logged.
const maxForeign = 64

func (g *Gossip) logForeign(m Meta, addr string) {
	g.mu.Lock()
	fresh := !g.refused[m.Cluster] && len(g.refused) < maxForeign
	if fresh {
		g.refused[m.Cluster] = true
	}
	own := g.self.Cluster
	g.mu.Unlock()
	if fresh {
		g.cfg.Logger.Warn("refused the gossip of another cluster; a node joins only with an empty data directory",
			"addr", addr, "name", m.Name, "cluster", hex.EncodeToString(m.Cluster[:]), "own", hex.EncodeToString(own[:]))
	}
}
