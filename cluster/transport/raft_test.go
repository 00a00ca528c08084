package transport_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/wire"
	"github.com/ringkv/ringkv/ring"
)

func heartbeat(commit int) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Commit: new(uint64(commit))}
}

func appendOf(index, size int) *raftpb.Message {
	return &raftpb.Message{
		Type:    raftpb.MsgApp.Enum(),
		Index:   new(uint64(index)),
		Entries: []*raftpb.Entry{{Data: make([]byte, size)}},
	}
}

// Queued messages leave together, with the flush, and arrive in one call.
func TestQueuedRaftArrivesAsOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, newNetwork(), nil)
		synctest.Wait()
		for i := range 10 {
			if !a.QueueRaft(2, uint16(i), heartbeat(i)) {
				t.Fatalf("message %d was refused", i)
			}
		}
		synctest.Wait()
		if got := b.received(); len(got) != 0 {
			t.Fatalf("%d batches arrived before the flush", len(got))
		}
		a.Flush()
		synctest.Wait()
		got := b.received()
		if len(got) != 1 || len(got[0]) != 10 {
			t.Fatalf("got %d batches, want one of 10 messages", len(got))
		}
		for i, m := range got[0] {
			if m.Group != uint16(i) || m.Message.GetCommit() != uint64(i) {
				t.Fatalf("place %d: group %d %v", i, m.Group, m.Message)
			}
		}
		if s := a.Stats(); s.RaftSent != 10 || s.RaftDropped != 0 {
			t.Fatalf("sender counts %+v", s)
		}
		if s := b.Stats(); s.RaftReceived != 10 {
			t.Fatalf("receiver counts %+v", s)
		}
	})
}

// What is sent while the first connection is being made leaves with it.
func TestRaftWaitsForTheFirstConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, newNetwork(), nil)
		if !a.SendRaft(2, 1, heartbeat(1)) {
			t.Fatal("refused before the first attempt was over")
		}
		synctest.Wait()
		if got := b.received(); len(got) != 1 {
			t.Fatalf("got %d batches, want 1", len(got))
		}
	})
}

func TestRaftIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, nil)
		synctest.Wait()
		if a.SendRaft(3, 1, heartbeat(1)) {
			t.Error("sent to a node that is no peer")
		}
		if b.SendRaft(1, 1, heartbeat(1)) {
			t.Error("sent back to a node that only dialed")
		}
		if a.SendRaft(2, 1, appendOf(1, wire.MaxFrame)) {
			t.Error("sent a message larger than a frame")
		}
		_ = b.Close()
		synctest.Wait() // the first attempt to reconnect has failed
		if a.SendRaft(2, 1, heartbeat(1)) {
			t.Error("sent to a node that is gone")
		}
		if s := a.Stats(); s.RaftDropped != 3 {
			t.Errorf("%d messages counted as dropped, want 3", s.RaftDropped)
		}
	})
}

// A queue that is full refuses, and takes messages again once it has drained.
func TestRaftQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, func(a, _ *transport.Config) { a.MaxQueueBytes, a.FrameBytes = 10_000, 2_000 })
		synctest.Wait()
		resume := net.latest(t, "b").forward.stall()
		sent := 0
		for i := range 100 {
			if a.SendRaft(2, 1, appendOf(i, 500)) {
				sent++
			}
		}
		if queued := a.Peers()[0].QueuedBytes; queued > 10_000 || sent < 10 || sent > 24 {
			t.Fatalf("%d messages taken, %d bytes queued", sent, queued)
		}
		resume()
		synctest.Wait()
		if !a.SendRaft(2, 1, heartbeat(1)) {
			t.Fatal("still refused after the queue drained")
		}
		synctest.Wait()
		if got := b.Stats().RaftReceived; got != uint64(sent)+1 {
			t.Fatalf("%d messages received, %d sent", got, sent+1)
		}
		if queued := a.Peers()[0].QueuedBytes; queued != 0 {
			t.Fatalf("%d bytes queued after everything was written", queued)
		}
	})
}

// Behind a long backlog a heartbeat waits for the frames being written, not for the backlog.
func TestHeartbeatOvertakesBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		a, b := pair(t, net, func(a, _ *transport.Config) { a.FrameBytes = 4096 })
		synctest.Wait()
		resume := net.latest(t, "b").forward.stall()
		const backlog = 50
		for i := range backlog {
			a.SendRaft(2, 1, appendOf(i, 3000))
			if i == 0 {
				synctest.Wait() // the writer has taken the first frame
			}
		}
		a.SendRaft(2, 1, heartbeat(1))
		resume()
		synctest.Wait()
		place, index := 0, 0
		for _, batch := range b.received() {
			for _, m := range batch {
				if m.Message.GetType() == raftpb.MsgHeartbeat {
					place = index
				} else if want := index - min(place, 1); int(m.Message.GetIndex()) != want {
					t.Fatalf("append %d arrived in place of %d", m.Message.GetIndex(), want)
				}
				index++
			}
		}
		if index != backlog+1 || place == 0 || place > 2 {
			t.Fatalf("the heartbeat arrived in place %d of %d", place, index)
		}
	})
}

// A frame holds no more than FrameBytes, but a message that is larger has a frame of its own.
func TestFramesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, newNetwork(), func(a, _ *transport.Config) { a.FrameBytes = 10_000 })
		synctest.Wait()
		for i, size := range []int{4000, 4000, 4000, 50_000, 10} {
			a.QueueRaft(2, 1, appendOf(i, size))
		}
		a.Flush()
		synctest.Wait()
		var shape []int
		for _, batch := range b.received() {
			shape = append(shape, len(batch))
		}
		if want := []int{2, 1, 1, 1}; !reflect.DeepEqual(shape, want) {
			t.Fatalf("messages per frame %v, want %v", shape, want)
		}
	})
}

func TestLeadersArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, newNetwork(), nil)
		want := []wire.Leader{{Partition: 3, Term: 9}, {Partition: 40, Term: 2}}
		if !a.SendLeaders(2, want) || !a.SendLeaders(2, nil) {
			t.Fatal("refused")
		}
		synctest.Wait()
		if len(b.leaders) != 2 || !reflect.DeepEqual(b.leaders[0], want) || len(b.leaders[1]) != 0 {
			t.Fatalf("got %v", b.leaders)
		}
	})
}

// A receiver that blocks holds its peer up, and the peer gives the connection up rather than wait for ever.
func TestBlockedReceiverLosesTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		release := make(chan struct{})
		a, _ := pair(t, net, func(_, b *transport.Config) {
			b.OnRaft = func(_ ring.NodeID, _ []wire.RaftMessage) { <-release }
		})
		a.SendRaft(2, 1, heartbeat(1))
		synctest.Wait()
		time.Sleep(5 * time.Second) // fake
		if s := a.Peers()[0]; s.LastError == "" {
			t.Fatalf("the stream is still there: %+v", s)
		}
		close(release)
	})
}
