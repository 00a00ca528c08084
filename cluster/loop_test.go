package cluster

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/wire"
)

// What writes hold in memory is bounded in bytes, from when they are submitted until they are answered; short commands
// are let in all the same.
func TestWritesAreBoundedByBytes(t *testing.T) {
	l := newLoop(time.Second, time.Now())
	n := &Node{loop: l}
	n.requests.New = newRequest
	large := func() *request { return n.writeOp(0, make([]byte, 1<<20)) }
	var waiting []*request
	for range maxWriteBytes >> 20 {
		r := large()
		if err := l.submit(&r.Op); err != nil {
			t.Fatalf("after %d MiB: %v", len(waiting), err)
		}
		waiting = append(waiting, r)
	}
	for range 3 {
		if err := l.submit(&large().Op); !errors.Is(err, ErrOverloaded) {
			t.Fatalf("beyond the bound: %v", err)
		}
	}
	short := n.writeOp(0, make([]byte, shortCommand))
	if err := l.submit(&short.Op); err != nil {
		t.Errorf("a short command: %v", err)
	}
	for _, r := range append(waiting[:2], short) {
		r.Op.Done(&r.Op)
	}
	for i := range 3 {
		if err := l.submit(&large().Op); (err == nil) != (i < 2) {
			t.Errorf("large command %d after two were answered: %v", i, err)
		}
	}
}

// Messages with entries are dropped when too many bytes wait; those that keep groups alive are not.
func TestMessagesAreBoundedByBytes(t *testing.T) {
	l := newLoop(time.Second, time.Now())
	large := wire.RaftMessage{Message: &raftpb.Message{Entries: []*raftpb.Entry{{Data: make([]byte, 1<<20)}}}}
	for range 3 * maxMessageBytes >> 20 {
		l.deliver([]wire.RaftMessage{large})
	}
	if got := len(l.in.messages); got != maxMessageBytes>>20 {
		t.Errorf("%d MiB wait, want %d", got, maxMessageBytes>>20)
	}
	l.deliver([]wire.RaftMessage{{Message: &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum()}}})
	if got := len(l.in.messages); got != maxMessageBytes>>20+1 {
		t.Error("a heartbeat was dropped")
	}
	var work inbox
	l.take(&work)
	l.deliver([]wire.RaftMessage{large})
	if len(l.in.messages) != 1 {
		t.Error("dropped although nothing waits")
	}
}
