package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Hooks are what a cluster node calls of its service, which is begun after the node. Until ForNode they do nothing.
type Hooks struct {
	service atomic.Pointer[Service]
}

// OnStuck is cluster.Config.OnStuck.
func (h *Hooks) OnStuck(_ ring.PartitionID, o storage.OpenTxn) {
	if s := h.service.Load(); s != nil {
		s.Suspect(o)
	}
}

// OnTxn is cluster.Config.OnTxn.
func (h *Hooks) OnTxn(ctx context.Context, from ring.NodeID, body []byte) ([]byte, error) {
	s := h.service.Load()
	if s == nil {
		return nil, cluster.ErrNotMember
	}
	return s.HandlePeer(ctx, from, body)
}

// ForNode starts the service of a cluster node that was given hooks.
func ForNode(n *cluster.Node, hooks *Hooks, logger *slog.Logger) *Service {
	g := nodeGroups{n}
	s := New(Config{Groups: g, Identify: g.identify, Logger: logger})
	hooks.service.Store(s)
	return s
}

// nodeGroups is a cluster node as Groups.
type nodeGroups struct{ *cluster.Node }

func (g nodeGroups) identify(ctx context.Context, above uint32) (Identity, error) {
	next := g.AwaitIncarnation
	if above > 0 {
		next = g.RenewIncarnation
	}
	number, err := next(ctx)
	if err != nil {
		return Identity{}, err
	}
	if number > 1<<32-1 {
		return Identity{}, fmt.Errorf("start number %d: the node has no more incarnations; give it an empty directory", number)
	}
	return Identity{Node: g.ID(), Incarnation: uint32(number), ClusterID: g.ClusterID(), Ring: g.Ring()}, nil
}

// NotSent implements Groups.
func (g nodeGroups) NotSent(err error) bool { return !errors.Is(err, cluster.ErrUnknownOutcome) }

// DeadIncarnations implements Groups.
func (g nodeGroups) DeadIncarnations() []Incarnations {
	if !g.LeadsMeta() {
		return nil
	}
	all, err := g.Incarnations()
	if err != nil {
		return nil
	}
	var dead []Incarnations
	for _, in := range all {
		if in.Swept < in.Live {
			dead = append(dead, Incarnations{Node: in.Node, First: uint32(in.Live)})
		}
	}
	return dead
}

// Swept implements Groups.
func (g nodeGroups) Swept(ctx context.Context, node ring.NodeID, first uint32) error {
	return g.SetSwept(ctx, node, uint64(first))
}
