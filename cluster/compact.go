package cluster

import (
	"context"
	"math"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
)

const (
	compactEvery = 5 * time.Second // between two looks whether it is worth it
	compactPause = 10 * time.Second
	// compactGain is how many bytes less must be stored than at the last time.
	compactGain = 32 << 20
)

// compactWhenLow has the engine give back what was deleted or overwritten while the disk is nearly full: of itself it does
// so only as new data pushes the old down, and then there is none. At the first sign of it, and whenever enough was
// deleted since. A full disk has not even the space for that.
//
// It also does so for whoever asks through n.compactions, and closes what it got there when it is done.
func (n *Node) compactWhenLow() {
	ticker := time.NewTicker(compactEvery)
	defer ticker.Stop()
	stored := uint64(math.MaxUint64) // at the last time
	for {
		select {
		case <-n.ctx.Done():
			return
		case done := <-n.compactions:
			n.compact("a file is damaged")
			close(done)
			continue
		case <-ticker.C:
		}
		switch space := n.disk.space(); {
		case space == worker.Roomy:
			stored = math.MaxUint64
			continue
		case space == worker.Full || !n.isMember():
			continue
		}
		now, err := n.storedBytes(n.ctx)
		if err != nil || now > stored-compactGain {
			stored = max(stored, now)
			continue
		}
		stored = now
		n.compact("the disk is nearly full")
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(compactPause):
		}
	}
}

// storedBytes is what all replicas of this node hold, keys and values.
func (n *Node) storedBytes(ctx context.Context) (total uint64, err error) {
	err = n.loop.ask(ctx, func(w *worker.Worker) { total = w.StoredBytes() })
	return total, err
}

// compact has the engine write all tables anew, where there is the space for it.
func (n *Node) compact(why string) {
	if n.disk.space() == worker.Full {
		return
	}
	before, begun := n.engine.DiskBytes(), time.Now()
	var failed error
	if err := n.loop.ask(n.ctx, func(*worker.Worker) { failed = n.engine.Exclusive(n.tables.Flush) }); err != nil {
		return
	}
	if failed != nil {
		n.fail(failed)
		return
	}
	if err := n.tables.Compact(); err != nil {
		n.logger.Warn("compact storage", "err", err)
		return
	}
	n.logger.Info("compacted storage", "reason", why, "bytes_before", before, "bytes_after", n.engine.DiskBytes(),
		"took", time.Since(begun).Round(time.Millisecond))
}
