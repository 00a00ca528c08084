package cluster

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringkv/ringkv/ring"
)

// List asks for one page of the keys in [Start, End), in byte order over all partitions.
type List struct {
	Start    []byte
	End      []byte // nil: no bound
	Limit    int    // items, at least 1
	MaxBytes int    // of keys and values, reached by the last item at most
	KeysOnly bool
}

// Page is what List found. Next is where the next page starts, nil at the end.
type Page struct {
	Items []Item
	Next  []byte
}

// List reads one page. Every partition is read as of a moment of its own between the call and the return.
// Errors: ErrUnavailable, ErrOverloaded.
func (n *Node) List(ctx context.Context, l List) (Page, error) {
	s := n.routes.state.Load()
	if s == nil {
		return Page{}, ErrNotMember
	}
	open := make([]ring.PartitionID, s.Partitions)
	for i := range open {
		open[i] = ring.PartitionID(i)
	}
	var parts []part
	pause := minPause
	for len(open) > 0 {
		got, rest, err := n.scanLeaders(ctx, open, l)
		if err != nil {
			return Page{}, readError(err)
		}
		parts = append(parts, got...)
		if open = rest; len(open) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return Page{}, readError(errNoLeader)
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
	return merge(parts, l), nil
}

// part is what one node found in its partitions: all of their keys in the range that are before next, or all if that is
// nil.
type part struct {
	items []Item
	next  []byte
}

// scanLeaders asks every leader once for its partitions among open. rest are those that must be asked for again.
func (n *Node) scanLeaders(ctx context.Context, open []ring.PartitionID, l List) (parts []part, rest []ring.PartitionID, err error) {
	byNode := make(map[ring.NodeID][]ring.PartitionID)
	for i, p := range open {
		to := n.pick(p, false, i)
		byNode[to] = append(byNode[to], p)
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for to, ps := range byNode {
		g.Go(func() error {
			got, left, err := n.scanNode(ctx, to, ps, l)
			mu.Lock()
			defer mu.Unlock()
			rest = append(rest, left...)
			if err == nil {
				parts = append(parts, got)
			}
			return err
		})
	}
	err = g.Wait()
	slices.Sort(rest)
	return parts, rest, err
}

func (n *Node) scanNode(ctx context.Context, to ring.NodeID, ps []ring.PartitionID, l List) (part, []ring.PartitionID, error) {
	if to == 0 {
		return part{}, ps, nil
	}
	req := scanRequest{List: l, partitions: ps}
	var resp scanResponse
	var err error
	if to == n.self() {
		resp, err = n.scanHere(ctx, req)
	} else {
		var b []byte
		if b, err = n.peers.Call(ctx, to, methodScan, req.append(nil)); err == nil {
			resp, err = decodeScanResponse(b)
		} else {
			err = decodeError(ps[0], err)
		}
	}
	if err != nil {
		if n.again(ps[0], to, intent{read: true}, err) {
			for _, p := range ps {
				n.unlearn(p, to, 0)
			}
			return part{}, ps, nil
		}
		return part{}, nil, err
	}
	for i, p := range resp.notLed {
		n.unlearn(p, to, resp.leaders[i])
	}
	return resp.part, resp.notLed, nil
}

// merge joins the parts. Where a part was cut short, nothing from its next on is known to be complete.
func merge(parts []part, l List) Page {
	var page Page
	for _, p := range parts {
		page.Items = append(page.Items, p.items...)
		if p.next != nil && (page.Next == nil || bytes.Compare(p.next, page.Next) < 0) {
			page.Next = p.next
		}
	}
	slices.SortFunc(page.Items, func(a, b Item) int { return bytes.Compare(a.Key, b.Key) })
	if page.Next != nil {
		i, _ := slices.BinarySearchFunc(page.Items, page.Next, func(it Item, k []byte) int { return bytes.Compare(it.Key, k) })
		page.Items = page.Items[:i]
	}
	size := 0
	for i, it := range page.Items {
		size += len(it.Key) + len(it.Value)
		if (i+1 >= l.Limit || size >= l.MaxBytes) && i+1 < len(page.Items) {
			page.Items = page.Items[:i+1]
			page.Next = append(slices.Clone(it.Key), 0)
			break
		}
	}
	return page
}
