package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
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

// part is what one node found in its partitions: a prefix of their keys in the range, all of them unless more is set.
type part struct {
	items []Item
	more  bool
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

// merge joins the parts. Where a part was cut short, nothing behind its last key is known to be complete.
func merge(parts []part, l List) Page {
	var items []Item
	var bound []byte // last key up to which everything is there
	for _, p := range parts {
		items = append(items, p.items...)
		if p.more && len(p.items) > 0 {
			if last := p.items[len(p.items)-1].Key; bound == nil || bytes.Compare(last, bound) < 0 {
				bound = last
			}
		}
	}
	slices.SortFunc(items, func(a, b Item) int { return bytes.Compare(a.Key, b.Key) })
	more := bound != nil
	if more {
		i, _ := slices.BinarySearchFunc(items, bound, func(it Item, k []byte) int { return bytes.Compare(it.Key, k) })
		items = items[:i+1]
	}
	size := 0
	for i, it := range items {
		size += len(it.Key) + len(it.Value)
		if (i+1 >= l.Limit || size >= l.MaxBytes) && i+1 < len(items) {
			items, more = items[:i+1], true
			break
		}
	}
	page := Page{Items: items}
	if more && len(items) > 0 {
		page.Next = append(slices.Clone(items[len(items)-1].Key), 0)
	}
	return page
}

// minPartBytes is what a page reads of a partition at least.
const minPartBytes = 64 << 10

// scanHere reads the partitions among those asked for that this node leads.
func (n *Node) scanHere(ctx context.Context, req scanRequest) (scanResponse, error) {
	clocks, resp, err := n.readAll(ctx, req.partitions)
	if err != nil {
		return scanResponse{}, err
	}
	v := n.engine.View()
	defer v.Close()
	perPart := max(req.MaxBytes/max(len(clocks), 1), minPartBytes) // else many partitions of large values fill the memory
	var parts []part
	for _, c := range clocks {
		var gone *replica.NotLeaderError
		if _, err := held(v, c.p); errors.As(err, &gone) {
			resp.notLed, resp.leaders = append(resp.notLed, c.p), append(resp.leaders, 0)
			continue
		}
		found, more, err := storage.Scan(v, c.p, storage.ScanOptions{
			Start: req.Start, End: req.End, Limit: req.Limit, MaxBytes: perPart, KeysOnly: req.KeysOnly,
		})
		if err != nil {
			return scanResponse{}, err
		}
		p := part{more: more}
		for _, it := range found {
			item := newItem(it, c.clock)
			item.Partition = c.p
			p.items = append(p.items, item)
		}
		parts = append(parts, p)
	}
	page := merge(parts, req.List)
	resp.part = part{items: page.Items, more: page.Next != nil}
	return resp, nil
}

type partitionClock struct {
	p     ring.PartitionID
	clock storage.Millis
}

// readAll gets the right to read each partition that this node leads; the others go into the response.
func (n *Node) readAll(ctx context.Context, ps []ring.PartitionID) ([]partitionClock, scanResponse, error) {
	var mu sync.Mutex
	var clocks []partitionClock
	var resp scanResponse
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range ps {
		g.Go(func() error {
			clock, err := n.readHere(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			var notLeader *replica.NotLeaderError
			switch {
			case err == nil:
				clocks = append(clocks, partitionClock{p, clock})
			case errors.As(err, &notLeader):
				resp.notLed, resp.leaders = append(resp.notLed, p), append(resp.leaders, notLeader.Leader.Node())
			case errors.Is(err, replica.ErrDropped):
				resp.notLed, resp.leaders = append(resp.notLed, p), append(resp.leaders, 0)
			default:
				return err
			}
			return nil
		})
	}
	err := g.Wait()
	slices.SortFunc(clocks, func(a, b partitionClock) int { return int(a.p) - int(b.p) })
	return clocks, resp, err
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

// scanRequest asks a node for a page of some partitions.
type scanRequest struct {
	List
	partitions []ring.PartitionID
}

// append encodes the request behind two unused bytes: every body begins with a partition.
func (r *scanRequest) append(dst []byte) []byte {
	dst = append(dst, 0, 0)
	var flags byte
	if r.KeysOnly {
		flags |= 1
	}
	if r.End != nil {
		flags |= 2
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(r.Limit))
	dst = binary.AppendUvarint(dst, uint64(r.MaxBytes))
	dst = appendString(dst, r.Start)
	dst = appendString(dst, r.End)
	dst = binary.AppendUvarint(dst, uint64(len(r.partitions)))
	for _, p := range r.partitions {
		dst = binary.BigEndian.AppendUint16(dst, uint16(p))
	}
	return dst
}

func decodeScanRequest(b []byte) (scanRequest, error) {
	if len(b) < 1 {
		return scanRequest{}, errMalformed
	}
	r := wireReader{b: b[1:]}
	req := scanRequest{List: List{Limit: int(r.upTo(math.MaxInt32)), MaxBytes: int(r.upTo(math.MaxInt32)), Start: r.string(), End: r.string(), KeysOnly: b[0]&1 != 0}}
	if b[0]&2 == 0 {
		req.End = nil
	}
	n := r.upTo(math.MaxUint16)
	if r.bad || b[0] > 3 || req.Limit < 1 || uint64(len(r.b)) != 2*n {
		return scanRequest{}, errMalformed
	}
	for i := range n {
		req.partitions = append(req.partitions, ring.PartitionID(binary.BigEndian.Uint16(r.b[2*i:])))
	}
	return req, nil
}

// scanResponse is a node's page, and the partitions that it does not lead with the nodes to ask instead (0: unknown).
type scanResponse struct {
	part
	notLed  []ring.PartitionID
	leaders []ring.NodeID
}

func (r *scanResponse) append(dst []byte) []byte {
	more := byte(0)
	if r.more {
		more = 1
	}
	dst = append(dst, more)
	dst = binary.AppendUvarint(dst, uint64(len(r.notLed)))
	for i, p := range r.notLed {
		dst = binary.AppendUvarint(dst, uint64(p))
		dst = binary.AppendUvarint(dst, uint64(r.leaders[i]))
	}
	for i := range r.items {
		dst = appendItem(dst, &r.items[i])
	}
	return dst
}

func decodeScanResponse(b []byte) (scanResponse, error) {
	if len(b) < 1 || b[0] > 1 {
		return scanResponse{}, errMalformed
	}
	resp := scanResponse{part: part{more: b[0] == 1}}
	r := wireReader{b: b[1:]}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		resp.notLed = append(resp.notLed, ring.PartitionID(r.upTo(math.MaxUint16)))
		resp.leaders = append(resp.leaders, ring.NodeID(r.upTo(math.MaxUint32)))
	}
	for len(r.b) > 0 {
		resp.items = append(resp.items, r.item())
	}
	if r.bad {
		return scanResponse{}, errMalformed
	}
	return resp, nil
}
