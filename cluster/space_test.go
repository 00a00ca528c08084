package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
)

// reserve is the disk reserve of the nodes of these tests, in bytes.
const reserve = 64 << 20

// plenty, low, tight and none are free bytes.
const (
	plenty = 4 * reserve
	low    = reserve - 1
	tight  = reserve/2 - 1
	none   = reserve/4 - 1
)

// crowd is some nodes in one process, whose disks are as full as a test says.
type crowd struct {
	t     *testing.T
	nodes []*Node
	free  []atomic.Int64
}

func newCrowd(t *testing.T, size int, changes ...func(*Config)) *crowd {
	t.Helper()
	c := &crowd{t: t, free: make([]atomic.Int64, size)}
	for i := range size {
		c.free[i].Store(plenty)
		cfg := Config{
			Name: fmt.Sprintf("n%d", i+1), DataDir: filepath.Join(t.TempDir(), "data"),
			HTTP: "127.0.0.1:1", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0",
			Partitions: 4, Tick: 20 * time.Millisecond, MinFreeBytes: reserve,
			freeBytes: func(string) (int64, error) { return c.free[i].Load(), nil },
		}
		for _, change := range changes {
			change(&cfg)
		}
		if i > 0 {
			cfg.Join = []string{c.nodes[0].gossip.Addr()}
		}
		n, err := Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.close(i, n) })
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		c.wait("ready", func() bool { return n.Ready(t.Context()) == nil })
	}
	c.wait("leaders where they belong", c.settled)
	return c
}

// close ends a node with room on its disk: without, its engine would not be closed and its goroutines would stay.
func (c *crowd) close(i int, n *Node) {
	c.free[i].Store(plenty)
	if err := n.Close(); err != nil {
		c.t.Errorf("close: %v", err)
	}
}

func (c *crowd) wait(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			c.t.Fatalf("waited in vain for: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// fill sets how much is free at some nodes and waits until everybody knows.
func (c *crowd) fill(free int64, nodes ...int) {
	c.t.Helper()
	for _, i := range nodes {
		c.free[i].Store(free)
	}
	c.wait("all know who is crowded", func() bool {
		for _, n := range c.nodes {
			known := 0
			for i := range c.nodes {
				if c.nodes[i].disk.space() != (&disk{least: reserve}).judge(c.free[i].Load()) {
					return false
				}
				if c.free[i].Load() < reserve {
					known++
				}
			}
			if len(n.crowdedNodes()) != known {
				return false
			}
		}
		return true
	})
}

// settled reports whether every partition is led by the first of its replicas.
func (c *crowd) settled() bool {
	s := c.nodes[0].routes.state.Load()
	for p, ids := range s.Placement {
		if len(ids) != len(c.nodes) || c.nodes[0].routes.leader(ring.PartitionID(p)) != ids[0].Node() {
			return false
		}
	}
	return true
}

func (c *crowd) put(i int, key string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	_, _, err := c.nodes[i].Write(ctx, Write{Key: []byte(key), Value: []byte("v")})
	return err
}

func (c *crowd) delete(i int, key string) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	_, _, err := c.nodes[i].Write(ctx, Write{Delete: true, Key: []byte(key)})
	return err
}

func (c *crowd) get(i int, key string, stale bool) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.nodes[i].Get(ctx, []byte(key), stale)
	return err
}

// keys are one of each partition.
func (c *crowd) keys() []string {
	out := make([]string, 4)
	for i := 0; ; i++ {
		p, err := c.nodes[0].partition(fmt.Appendf(nil, "k%d", i))
		if err != nil {
			c.t.Fatal(err)
		}
		out[p] = fmt.Sprintf("k%d", i)
		done := true
		for _, k := range out {
			done = done && k != ""
		}
		if done {
			return out
		}
	}
}

func (c *crowd) leads(i int) bool {
	for p := range ring.PartitionID(4) {
		if c.nodes[0].routes.leader(p) == c.nodes[i].self() {
			return true
		}
	}
	return false
}

func (c *crowd) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// One full disk of three: the node leads nothing any more, takes no puts, serves what it has, and the others go on.
// With room again it catches up and leads again.
func TestOneFullDisk(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 3)
	keys := c.keys()
	for _, k := range keys {
		c.must("put", c.put(0, k))
	}
	c.fill(none, 2)
	c.wait("leaderships given away", func() bool { return !c.leads(2) })
	for i := range c.nodes {
		for _, k := range keys {
			c.must("put beside a full disk", c.put(i, k))
			c.must("put beside a full disk", c.put(i, "new/"+k))
			c.must("get beside a full disk", c.get(i, "new/"+k, false))
		}
	}
	c.must("stale get at the full node", c.get(2, keys[0], true))
	if err := c.get(2, "new/"+keys[0], true); !errors.Is(err, ErrNotFound) {
		t.Errorf("the full node took a put: %v", err)
	}
	c.fill(plenty, 2)
	c.wait("caught up", func() bool { return c.get(2, "new/"+keys[0], true) == nil })
	c.wait("leaders where they belong", c.settled)
}

// All disks full: puts are refused as such, at once, and nothing else is.
func TestAllDisksFull(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]int64{"low": low, "tight": tight} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 3)
			keys := c.keys()
			for _, k := range keys {
				c.must("put", c.put(0, k))
				c.must("put", c.put(0, "other/"+k))
			}
			c.fill(free, 0, 1, 2)
			for i, n := range c.nodes {
				for _, k := range keys {
					if err := c.put(i, k); !errors.Is(err, ErrDiskFull) {
						t.Errorf("put: %v", err)
					}
					c.must("get", c.get(i, k, false))
				}
				c.must("delete", c.delete(i, "other/"+keys[i]))
				if err := c.get(i, "other/"+keys[i], false); !errors.Is(err, ErrNotFound) {
					t.Errorf("get of what was deleted: %v", err)
				}
				c.must("running", n.Err())
			}
			c.fill(plenty, 0, 1, 2)
			for _, k := range keys {
				c.must("put with room again", c.put(0, k))
			}
		})
	}
}

// Disks so full that not even deletes are taken: reads go on, also under a new leader, and so does the node.
func TestNoSpaceAtAll(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 3)
	keys := c.keys()
	for _, k := range keys {
		c.must("put", c.put(0, k))
	}
	c.fill(none, 0, 1, 2)
	if err := errors.Join(c.put(0, keys[0]), c.delete(0, keys[0])); !errors.Is(err, ErrDiskFull) {
		t.Errorf("put and delete: %v", err)
	}
	c.close(2, c.nodes[2])
	c.nodes = c.nodes[:2]
	for i, n := range c.nodes {
		for _, k := range keys {
			c.must("get after the loss of a node", c.get(i, k, false))
		}
		c.must("running", n.Err())
	}
	c.fill(plenty, 0, 1)
	for _, k := range keys {
		c.must("delete with room again", c.delete(0, k))
		c.must("put with room again", c.put(0, k))
	}
}

// Two of three full: what is written could not be committed by a majority for long, so it is refused at once.
func TestMajorityFull(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 3)
	keys := c.keys()
	c.must("put", c.put(0, keys[0]))
	c.fill(tight, 1, 2)
	for i := range c.nodes {
		if err := c.put(i, keys[0]); !errors.Is(err, ErrDiskFull) {
			t.Errorf("put: %v", err)
		}
	}
	c.must("delete", c.delete(1, keys[0]))
}

func TestSpaceIsJudgedWithHysteresis(t *testing.T) {
	d := &disk{least: reserve}
	for _, step := range []struct {
		free int64
		want worker.Space
	}{
		{plenty, worker.Roomy},
		{reserve, worker.Roomy},
		{reserve - 1, worker.Low},
		{reserve + reserve/8 - 1, worker.Low},
		{reserve + reserve/8, worker.Roomy},
		{reserve/2 - 1, worker.Tight},
		{reserve/2 + reserve/8 - 1, worker.Tight},
		{reserve/2 + reserve/8, worker.Low},
		{0, worker.Full},
		{reserve/4 + reserve/8 - 1, worker.Full},
		{reserve/4 + reserve/8, worker.Tight},
		{reserve / 4, worker.Tight},
		{plenty, worker.Roomy},
	} {
		d.measure = func(string) (int64, error) { return step.free, nil }
		if err := d.look(); err != nil || d.space() != step.want {
			t.Errorf("%d bytes free: %v, want %v, %v", step.free, d.space(), step.want, err)
		}
	}
}

// A node does not open its storage without the space that the engine needs for that, and says what to do.
func TestNoStartOnAFullDisk(t *testing.T) {
	cfg := Config{
		Name: "n1", DataDir: filepath.Join(t.TempDir(), "data"), HTTP: "127.0.0.1:1", Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0",
		freeBytes: func(string) (int64, error) { return 100 << 20, nil },
	}
	n, err := Start(cfg)
	if !errors.Is(err, ErrDiskFull) {
		if n != nil {
			_ = n.Close()
		}
		t.Fatalf("started: %v", err)
	}
	t.Log(err)
}

// The description of the cluster can be changed however full the disks are.
func TestMetadataOnFullDisks(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	c.fill(none, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.nodes[0].changeState(ctx, func(s *meta.State) (*meta.State, error) { return s.SetDown(1, true) })
	c.must("change the State", err)
}
