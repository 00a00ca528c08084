package cluster

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// minPartBytes is what a page reads of a partition at least.
const minPartBytes = 64 << 10

// scanHere reads the partitions among those asked for that this node leads.
func (n *Node) scanHere(ctx context.Context, req scanRequest) (scanResponse, error) {
	rights, resp, err := n.readAll(ctx, req)
	if err != nil {
		return scanResponse{}, err
	}
	v := n.engine.View()
	defer v.Close()
	l := req.List
	l.MaxBytes = max(req.MaxBytes/max(len(rights), 1), minPartBytes) // else many partitions of large values fill the memory
	var parts []part
	for _, r := range rights {
		p, err := n.scanPart(ctx, v, r, l)
		if resp.skip(r.p, err) {
			continue
		}
		if err != nil {
			return scanResponse{}, err
		}
		parts = append(parts, p)
	}
	page := merge(parts, req.List)
	resp.part = part{items: page.Items, next: page.Next}
	return resp, nil
}

// scanPart reads one partition: each key as it was at some moment since the right to read was given.
func (n *Node) scanPart(ctx context.Context, v storage.View, r readRight, l List) (part, error) {
	if _, err := held(v, r.p); err != nil {
		return part{}, err
	}
	for {
		found, next, err := storage.Scan(v, r.p, storage.ScanOptions{
			Start: l.Start, End: l.End, Limit: l.Limit, MaxBytes: l.MaxBytes, KeysOnly: l.KeysOnly,
		})
		if err != nil {
			n.suspect(r.p, err)
			return part{}, err
		}
		p := part{next: next}
		for _, it := range found {
			item := newItem(it, r.clock)
			item.Partition = r.p
			p.items = append(p.items, item)
		}
		if len(r.locked) == 0 {
			return p, nil
		}
		err = n.reread(ctx, r, &p, l)
		if err != nil || next == nil || len(p.items) > 0 || len(found) == 0 { // the last: it met only what has expired
			return p, err
		}
		l.Start = next
	}
}

// maxRereads bounds how many keys a listing reads again at once.
const maxRereads = 16

// reread gets those items of a part anew whose keys a transaction held exclusively: what the scan found may have been
// over already. A listing is a GET of each item.
func (n *Node) reread(ctx context.Context, r readRight, p *part, l List) error {
	keys := r.locked
	if p.next != nil { // the others belong to the next page
		keys = keys[:sort.Search(len(keys), func(i int) bool { return bytes.Compare(keys[i], p.next) >= 0 })]
	}
	items := make([]*Item, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxRereads)
	for i, k := range keys {
		g.Go(func() error {
			item, err := n.getHere(ctx, r.p, k, false)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			item.Key, item.Partition = k, r.p
			items[i] = &item
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, k := range keys {
		if it := items[i]; it != nil && l.KeysOnly {
			it.Value = nil
		}
		p.replace(k, items[i])
	}
	return nil
}

// replace puts a newer reading of a key in the place of the part's own; nil means that the key is absent.
func (p *part) replace(key []byte, it *Item) {
	i, found := slices.BinarySearchFunc(p.items, key, func(it Item, k []byte) int { return bytes.Compare(it.Key, k) })
	switch {
	case found && it != nil:
		p.items[i] = *it
	case found:
		p.items = slices.Delete(p.items, i, i+1)
	case it != nil:
		p.items = slices.Insert(p.items, i, *it)
	}
}

// readRight is the right to read a partition.
type readRight struct {
	p      ring.PartitionID
	clock  storage.Millis
	locked [][]byte // keys in the range that a transaction held exclusively then, ascending
}

// readAll gets the right to read each partition that this node leads; the others go into the response.
func (n *Node) readAll(ctx context.Context, req scanRequest) ([]readRight, scanResponse, error) {
	var mu sync.Mutex
	var rights []readRight
	var resp scanResponse
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range req.partitions {
		g.Go(func() error {
			right, err := n.readSpanHere(ctx, p, &worker.Span{Start: req.Start, End: req.End})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				rights = append(rights, right)
			} else if !resp.skip(p, err) {
				return err
			}
			return nil
		})
	}
	err := g.Wait()
	slices.SortFunc(rights, func(a, b readRight) int { return int(a.p) - int(b.p) })
	return rights, resp, err
}

func (n *Node) readSpanHere(ctx context.Context, p ring.PartitionID, span *worker.Span) (readRight, error) {
	r := n.readOp(p)
	r.Op.Span = span
	if err := n.run(ctx, r); err != nil {
		return readRight{}, err
	}
	right := readRight{p: p, clock: r.Op.Clock, locked: r.Op.Locked}
	n.release(r)
	return right, nil
}

// skip notes a partition that this node could not read because it does not lead it; false for other errors and for none.
func (r *scanResponse) skip(p ring.PartitionID, err error) bool {
	var notLeader *replica.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		r.notLed, r.leaders = append(r.notLed, p), append(r.leaders, notLeader.Leader.Node())
	case errors.Is(err, replica.ErrDropped):
		r.notLed, r.leaders = append(r.notLed, p), append(r.leaders, 0)
	default:
		return false
	}
	return true
}

// handleScan answers another node's scan. body lacks the first partition's two bytes, which HandleRequest took.
func (n *Node) handleScan(ctx context.Context, body []byte) ([]byte, error) {
	req, err := decodeScanRequest(body)
	if err != nil {
		return nil, err
	}
	resp, err := n.scanHere(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.append(nil), nil
}
