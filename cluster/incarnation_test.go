package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
)

// A node that finds that another process has got a higher number under its identity stops; a number of its own that it
// never heard of, for the answer was lost, does no harm.
func TestHigherIncarnation(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	n := c.nodes[0]
	begin := func(run string) {
		_, err := n.changeState(t.Context(), func(s *meta.State) (*meta.State, error) {
			next, _, err := s.Begin(1, run)
			return next, err
		})
		c.must("begin", err)
	}
	if _, err := n.AwaitIncarnation(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin(n.life.run)
	c.must("put", c.put(0, "k"))
	c.must("run", n.Err())
	begin("another")
	select {
	case <-n.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("goes on")
	}
	if !errors.Is(n.Err(), ErrTwin) {
		t.Errorf("stopped with %v", n.Err())
	}
}
