package cluster

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// granting is a node that believes to lead the test partition alone, and whose loop a test turns by hand: it has every right
// to read, and does what is asked of the worker after before has run. So the test decides what happens between the asking
// and the looking.
func granting(t *testing.T, before func()) *Node {
	t.Helper()
	n := &Node{engine: filledEngine(t), loop: newLoop(time.Second, time.Now()), member: make(chan struct{}), scrubber: newScrubber()}
	n.requests.New = newRequest
	close(n.member)
	n.reads = newReads(n)
	n.reads.ticking = true // nothing waits
	const self = 1
	n.reads.Stand([]worker.Standing{{
		Standing: readindex.Standing{Group: testPartition, Replica: self, Term: 1, Leading: true, Serving: true, Voters: []uint64{self}},
		Locks:    new(storage.LockShadow),
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n.loop.wake {
			var work inbox
			n.loop.take(&work)
			if len(work.ops) > 0 {
				before()
			}
			for _, op := range work.ops {
				op.Clock = 1
				op.Done(op)
			}
		}
	}()
	t.Cleanup(func() {
		close(n.loop.wake)
		<-done
	})
	return n
}

// drop removes the test partition's replica, step by step, up to so many steps.
func drop(t *testing.T, e storage.Engine, steps int) {
	t.Helper()
	d := storage.NewDropper(e, testPartition)
	for done := false; !done && steps > 0; steps-- {
		var err error
		if done, err = d.Step(); err != nil {
			t.Error(err)
			return
		}
	}
}

// beginInstall begins to fill the test partition's replica anew, with what it holds.
func beginInstall(t *testing.T, e storage.Engine, steps int) {
	t.Helper()
	v := e.View()
	var b bytes.Buffer
	err := storage.WriteSnapshot(v, testPartition, &b)
	v.Close()
	if err != nil {
		t.Error(err)
		return
	}
	in, err := storage.NewInstaller(e, testPartition, io.Reader(&b), "spool")
	for range steps {
		if err == nil {
			_, err = in.Step()
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// Between the right to read and the look, the replica goes away or begins to be filled anew: then a key that is not found,
// or a listing, means nothing, and whoever asked has to ask the next leader.
func TestReadOfAReplicaThatWentAway(t *testing.T) {
	for name, change := range map[string]func(e storage.Engine){
		"removed":            func(e storage.Engine) { drop(t, e, 1000) },
		"removed in part":    func(e storage.Engine) { drop(t, e, 2) },
		"filled anew begins": func(e storage.Engine) { beginInstall(t, e, 2) },
		"filled anew goes on": func(e storage.Engine) {
			beginInstall(t, e, 4)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var n *Node
			n = granting(t, nil)
			change(n.engine)
			var notLeader *replica.NotLeaderError
			if it, err := n.getHere(t.Context(), testPartition, []byte("never there"), false); !errors.As(err, &notLeader) {
				t.Errorf("get: %d bytes, %v", len(it.Value), err)
			}
			if _, err := n.getHere(t.Context(), testPartition, []byte("never there"), true); !errors.As(err, &notLeader) {
				t.Errorf("stale get: %v", err)
			}
			n = granting(t, func() { change(n.engine) })
			resp, err := n.scanHere(t.Context(), scanRequest{List: List{Limit: 10, MaxBytes: 1 << 20}, partitions: []ring.PartitionID{testPartition}})
			if err != nil || len(resp.notLed) != 1 || len(resp.items) != 0 {
				t.Errorf("scan: %d items, not led %v, %v", len(resp.items), resp.notLed, err)
			}
		})
	}
}

// Where the replica stays, a key that is not there is not found, and one that is there is.
func TestReadOfAReplicaThatStays(t *testing.T) {
	n := granting(t, func() {})
	for _, stale := range []bool{false, true} {
		if it, err := n.getHere(t.Context(), testPartition, []byte("k1"), stale); err != nil || len(it.Value) != 64<<10 {
			t.Errorf("get, stale %t: %d bytes, %v", stale, len(it.Value), err)
		}
		if _, err := n.getHere(t.Context(), testPartition, []byte("never there"), stale); !errors.Is(err, ErrNotFound) {
			t.Errorf("get, stale %t: %v", stale, err)
		}
	}
	resp, err := n.scanHere(t.Context(), scanRequest{List: List{Limit: 10, MaxBytes: 8 << 20}, partitions: []ring.PartitionID{testPartition}})
	if err != nil || len(resp.notLed) != 0 || len(resp.items) != 10 {
		t.Errorf("scan: %d items, not led %v, %v", len(resp.items), resp.notLed, err)
	}
}

// Reads that were given up are let go: those of one group that cannot serve must not take the room of all others.
func TestReadsGivenUpAreLetGo(t *testing.T) {
	n := granting(t, nil)
	n.reads.Stand([]worker.Standing{{Standing: readindex.Standing{Group: testPartition + 1, Replica: 1, Term: 1, Leading: true, Voters: []uint64{1}}}})
	for range maxWaitingOps {
		q := n.readOp(testPartition + 1)
		q.direct = true
		if err := n.reads.begin(q); err != nil {
			t.Fatal(err)
		}
		q.stage.Store(givenUp)
	}
	if _, err := n.readHere(t.Context(), testPartition); !errors.Is(err, ErrOverloaded) {
		t.Fatalf("a read too many: %v", err)
	}
	n.reads.change(func() { n.reads.asker.Forget(isGivenUp) })
	if _, err := n.readHere(t.Context(), testPartition); err != nil {
		t.Errorf("after they were let go: %v", err)
	}
}
