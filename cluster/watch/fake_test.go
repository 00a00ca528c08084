package watch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// fake is a cluster of nodes that hold all partitions, or some, and may lag, forget and fail.
type fake struct {
	mu    sync.Mutex
	id    string
	parts [][]entry // by partition; the entry at index i+1
	nodes map[ring.NodeID]*fakeNode
	news  chan struct{} // closed and replaced when anything changed
	slow  time.Duration // how old the heads are when they arrive
}

type entry []storage.Change

type fakeNode struct {
	down    bool
	through []uint64 // how far it applied, by partition; 0: no replica
	floor   []uint64
}

var errDown = errors.New("node is down")

func newFake(partitions int, nodes ...ring.NodeID) *fake {
	f := &fake{id: "c", parts: make([][]entry, partitions), nodes: map[ring.NodeID]*fakeNode{}, news: make(chan struct{})}
	for _, n := range nodes {
		f.nodes[n] = &fakeNode{through: make([]uint64, partitions), floor: make([]uint64, partitions)}
	}
	return f
}

// do changes the cluster.
func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.news)
	f.news = make(chan struct{})
}

// commit appends an entry that puts keys; every node applies it, but for those that are told to lag.
func (f *fake) commit(p ring.PartitionID, keys ...string) {
	f.do(func() {
		index := uint64(len(f.parts[p]) + 1)
		var e entry
		for i, k := range keys {
			e = append(e, storage.Change{
				Index: index, Number: uint32(i), Last: i+1 == len(keys), Kind: storage.ChangePut, Key: []byte(k),
				Version: storage.Version(index), Value: fmt.Appendf(nil, "%d.%d.%d", p, index, i),
			})
		}
		f.parts[p] = append(f.parts[p], e)
		for _, n := range f.nodes {
			if n.through[p] == index-1 {
				n.through[p] = index
			}
		}
	})
}

// keys is what was committed under a prefix, by partition.
func (f *fake) told(prefix string) [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([][]string, len(f.parts))
	for p, entries := range f.parts {
		for _, e := range entries {
			for _, c := range e {
				if bytes.HasPrefix(c.Key, []byte(prefix)) {
					out[p] = append(out[p], string(c.Value))
				}
			}
		}
	}
	return out
}

// seenFrom is the cluster as one node's hub sees it.
type seenFrom struct {
	*fake
	self ring.NodeID
}

func (s seenFrom) ID() string      { return s.id }
func (s seenFrom) Partitions() int { return len(s.parts) }

func (s seenFrom) Heads(context.Context) ([]uint64, error) {
	s.mu.Lock()
	heads := make([]uint64, len(s.parts))
	for p := range heads {
		heads[p] = uint64(len(s.parts[p]))
	}
	s.mu.Unlock()
	time.Sleep(s.slow) // of the bubble's clock
	return heads, nil
}

func (s seenFrom) Sources(p ring.PartitionID) []ring.NodeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ring.NodeID
	for id := range s.nodes {
		if id != s.self {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	if s.nodes[s.self].through[p] > 0 {
		out = append([]ring.NodeID{s.self}, out...)
	}
	return out
}

func (s seenFrom) Read(ctx context.Context, node ring.NodeID, q watch.Query) ([]watch.Answer, error) {
	timer := time.NewTimer(q.Wait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		n, news := s.nodes[node], s.news
		answers, err := s.answers(n, q)
		s.mu.Unlock()
		if len(answers) > 0 || err != nil || q.Wait == 0 {
			return answers, err
		}
		select {
		case <-news:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s seenFrom) answers(n *fakeNode, q watch.Query) (out []watch.Answer, err error) {
	if n.down {
		return nil, errDown
	}
	left := q.MaxBytes
	for _, w := range q.Wants {
		a := watch.Answer{Partition: w.Partition}
		switch {
		case n.through[w.Partition] == 0 && len(s.parts[w.Partition]) > 0:
			a.Verdict = watch.Elsewhere
		case w.After < n.floor[w.Partition]:
			a.Verdict = watch.Gone
		case q.MaxBytes == 0 || n.through[w.Partition] <= w.After:
			continue
		default:
			for a.Through = w.After; a.Through < n.through[w.Partition] && (left > 0 || a.Through == w.After); a.Through++ {
				for _, c := range s.parts[w.Partition][a.Through] {
					a.Changes = append(a.Changes, c)
					left -= c.Size()
				}
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// hub is a hub on a node, closed with the test.
func (f *fake) hub(t *testing.T, self ring.NodeID, c watch.Config) *watch.Hub {
	t.Helper()
	c.Cluster = seenFrom{f, self}
	h := watch.New(c)
	t.Cleanup(h.Close)
	return h
}
