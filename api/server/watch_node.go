package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/txn"
)

// nodeWatches is a cluster node as Watches.
type nodeWatches struct{ n *cluster.Node }

// WatchesOf returns n as Watches.
func WatchesOf(n *cluster.Node) Watches { return nodeWatches{n} }

func (w nodeWatches) Watch(ctx context.Context, prefix []byte, cursor string) (Watch, error) {
	watcher, err := w.n.Watch(ctx, prefix, cursor)
	if err != nil {
		return nil, watchError(err)
	}
	return watcher, nil
}

func (w nodeWatches) TxnID(e *watch.Event) string {
	return txn.FormatID(e.Txn, e.Home, w.n.ClusterID())
}

func (w nodeWatches) WatchStats() watch.Stats { return w.n.WatchStats() }

// watchError is why a watch could not begin, as clients know it.
func watchError(err error) error {
	var limit *watch.LimitError
	switch {
	case errors.Is(err, watch.ErrBadCursor):
		return &api.InvalidError{Where: "header Last-Event-ID", Detail: "is " + watch.ErrBadCursor.Error()}
	case errors.Is(err, watch.ErrTooOld):
		return fmt.Errorf("%w: changes since then are no longer kept; read what you need, and watch from then on", api.ErrCursorTooOld)
	case errors.Is(err, watch.ErrLagged): // behind the history, before it began
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	case errors.As(err, &limit):
		return &api.QuotaError{What: limit.What, Limit: int64(limit.Limit)}
	}
	return nodeError(err)
}
