package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// lose makes a node's engine lose a key of a partition without a word, as a damaged block does.
func (c *crowd) lose(i int, p ring.PartitionID, key string) {
	c.t.Helper()
	var err error
	fn := func(*worker.Worker) {
		cell := append([]byte{byte(p >> 8), byte(p), 0x10}, key...)
		b := c.nodes[i].engine.Batch()
		err = errors.Join(b.Delete(cell), b.Commit())
	}
	c.must("lose a key", errors.Join(c.nodes[i].loop.ask(c.t.Context(), fn), err))
	if err := c.nodes[i].verify(p, nil); !errors.Is(err, storage.ErrCorrupt) {
		c.t.Fatalf("not damaged: %v", err)
	}
}

// whole waits until all partitions of a node verify and nothing is known to be damaged.
func (c *crowd) whole(i int) {
	c.t.Helper()
	n := c.nodes[i]
	c.wait("replicas to be whole", func() bool { return len(n.findDamaged(nil)) == 0 && n.scrubber.stats().Damaged == 0 })
}

// Scrubbing finds replicas that lost something, a leader's, a follower's and that of the metadata group, and refills them
// from the others, while they take writes.
func TestScrubRefills(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 3, func(cfg *Config) { cfg.ScrubInterval = 500 * time.Millisecond })
	keys := c.keys()
	for _, k := range keys {
		c.must("put", c.put(0, k))
		c.must("put", c.put(0, fmt.Sprintf("%s/more", k)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wrote := make(chan int)
	go func() { wrote <- c.keepWriting(ctx, keys) }()
	s := c.nodes[0].routes.state.Load()
	first, last := s.Placement[1][0].Node(), s.Placement[1][2].Node()
	for _, id := range []ring.NodeID{first, last} {
		for i, n := range c.nodes {
			if n.self() == id {
				c.lose(i, 1, keys[1])
				c.whole(i)
				c.wait("the refill to be counted", func() bool { return n.scrubber.stats().Refilled > 0 })
				c.wait("the key", func() bool { return c.get(i, keys[1], true) == nil })
			}
		}
	}
	c.lose(2, storage.MetaPartition, "cluster")
	c.whole(2)
	cancel()
	if n := <-wrote; n == 0 {
		t.Error("nothing was written meanwhile")
	}
	for i, n := range c.nodes {
		for _, k := range keys {
			c.must("get", c.get(i, k, false))
		}
		c.must("run", n.Err())
	}
}

func (c *crowd) keepWriting(ctx context.Context, keys []string) int {
	n := 0
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, _, err := c.nodes[n%len(c.nodes)].Write(one, Write{Key: []byte(keys[n%len(keys)]), Value: []byte("v")})
		cancel()
		if err == nil {
			n++
		}
	}
	return n
}

// A read that meets damage has it repaired at once, without a scrub; bits that flip in a table are gone in the end.
func TestDamagedTableIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 3)
	n := c.nodes[2]
	value := bytes.Repeat([]byte("unmistakable"), 200)
	for i := range 50 {
		_, _, err := n.Write(t.Context(), Write{Key: fmt.Appendf(nil, "key/%d", i), Value: value})
		c.must("put", err)
	}
	c.wait("all of them here", func() bool { return c.get(2, "key/49", true) == nil })
	n.compact("a test wants tables")
	flipInTables(t, dataDir(n.cfg.DataDir), value[:600])
	damaged := n.findDamaged(nil)
	if len(damaged) == 0 {
		t.Fatal("nothing is damaged")
	}
	for i := range 50 {
		if err := c.get(2, fmt.Sprintf("key/%d", i), true); errors.Is(err, storage.ErrCorrupt) {
			break
		} else if i == 49 {
			t.Fatal("no read met it")
		}
	}
	c.wait("a refill because of a read", func() bool { return n.scrubber.stats().Refilled > 0 })
	n.scrubAll()
	if err := n.tables.Scrub(t.Context(), nil); err != nil {
		t.Errorf("after a pass: %v", err)
	}
	c.whole(2)
	for i := range 50 {
		it, err := n.Get(t.Context(), fmt.Appendf(nil, "key/%d", i), true)
		if err != nil || !bytes.Equal(it.Value, value) {
			t.Errorf("key/%d: %d bytes, %v", i, len(it.Value), err)
		}
	}
}

// flipInTables flips a bit in the first occurrence of text in each table.
func flipInTables(t *testing.T, dir string, text []byte) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, text)
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte{b[at] ^ 4}, int64(at))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A lone node has nobody to be refilled from: it says so, and goes on with what is whole.
func TestDamageOfALoneNode(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	keys := c.keys()
	c.must("put", c.put(0, keys[2]))
	c.lose(0, 2, keys[2])
	n := c.nodes[0]
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := n.refill(ctx, 2); !errors.Is(err, worker.ErrNotNow) {
		t.Errorf("refilled: %v", err)
	}
	c.must("put elsewhere", c.put(0, keys[1]))
}
