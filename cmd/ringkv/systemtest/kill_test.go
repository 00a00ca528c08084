package systemtest

import (
	"context"
	"flag"
	"sync"
	"testing"
	"time"
)

var killFor = flag.Duration("kill-for", 60*time.Second, "how long TestKill kills nodes")

// TestKill has 8 clients write while nodes are killed with kill -9 and started again, in turn and all at once: nothing
// acknowledged is lost, and the history of every key is linearizable.
func TestKill(t *testing.T) {
	f := newFleet(t, 3)
	f.start(0)
	f.ready(0)
	f.start(1)
	f.start(2)
	f.ready(0, 1, 2)

	l := newLoad(f, 60, 3*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), *killFor)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx, 8) })
	kills := 0
	for round := 0; ctx.Err() == nil; round++ {
		f.pause(time.Second)
		if round%4 == 3 {
			killAll(f)
			kills += 3
			continue
		}
		i := round % 4
		f.nodes[i].kill()
		kills++
		f.pause(time.Second)
		f.start(i)
		f.ready(i)
	}
	wg.Wait()
	f.ready(0, 1, 2)
	if err := l.readAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills; %d writes acknowledged, %d unknown, %d requests refused %v", kills, l.acked.Load(), l.unknown.Load(), l.refused.Load(), l.errs)
	if l.acked.Load() < 100 {
		t.Errorf("only %d writes were acknowledged", l.acked.Load())
	}
	l.history.check(t)
}

// killAll is a power cut for everybody.
func killAll(f *fleet) {
	for _, p := range f.nodes {
		p.kill()
	}
	for i := range f.nodes {
		f.start(i)
	}
	f.ready(0, 1, 2)
}
