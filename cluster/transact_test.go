package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// pair is two nodes in one process that answer each other's questions about transactions.
func pair(t *testing.T, change func(*cluster.Config)) []*cluster.Node {
	t.Helper()
	var nodes []*cluster.Node
	for i := range 2 {
		c := config(t, fmt.Sprintf("n%d", i+1))
		c.OnTxn = func(_ context.Context, from ring.NodeID, body []byte) ([]byte, error) {
			if len(body) == 0 {
				return nil, errors.New("empty")
			}
			return fmt.Appendf(nil, "%s from %d to %d", body, from, i+1), nil
		}
		if i > 0 {
			c.Join = []string{gossipAddr(t, nodes[0])}
		}
		if change != nil {
			change(&c)
		}
		nodes = append(nodes, start(t, c))
	}
	for _, n := range nodes {
		ready(t, n)
	}
	return nodes
}

func TestAskTxn(t *testing.T) {
	nodes := pair(t, nil)
	for i, n := range nodes {
		if n.ID() != ring.NodeID(i+1) || n.ClusterID() != nodes[0].ClusterID() || n.Ring() == nil {
			t.Fatalf("node %d: number %d, cluster %q", i, n.ID(), n.ClusterID())
		}
		for to := range ring.NodeID(2) {
			b, err := n.AskTxn(t.Context(), to+1, []byte("hello"))
			if want := fmt.Sprintf("hello from %d to %d", n.ID(), to+1); err != nil || string(b) != want {
				t.Errorf("%q, %v; want %q", b, err, want)
			}
			if _, err := n.AskTxn(t.Context(), to+1, nil); err == nil || !strings.Contains(err.Error(), "empty") {
				t.Errorf("an error of the other side: %v", err)
			}
		}
	}
	if _, err := nodes[0].AskTxn(t.Context(), 9, []byte("hello")); !errors.Is(err, cluster.ErrUnavailable) {
		t.Errorf("a node that does not exist: %v", err)
	}
}

func TestReadKeysAndStates(t *testing.T) {
	nodes := pair(t, nil)
	version := put(t, nodes[0], "k", "v").Version
	for _, n := range nodes {
		p := n.Ring().Partition([]byte("k"))
		set, err := n.ReadKeys(t.Context(), p, [][]byte{[]byte("k"), []byte("absent")}, [][]byte{[]byte("lock")})
		if err != nil || len(set.Items) != 2 || len(set.Tokens) != 1 {
			t.Fatalf("%+v, %v", set, err)
		}
		if it := set.Items[0]; it.Version != version || string(it.Value) != "v" || set.Items[1].Version != 0 || set.Revision < version {
			t.Errorf("%+v", set)
		}
		st, err := n.TxnState(t.Context(), p, storage.TxnID{Node: 1, Incarnation: 1, Seq: 1})
		if err != nil || st.State != storage.TxnAbsent {
			t.Errorf("an unknown transaction: %+v, %v", st, err)
		}
	}
	// What is no command of the protocol must not get a way on which it is repeated.
	cmd := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: []byte("k"), Value: []byte("w")})
	if _, err := nodes[0].Transact(t.Context(), nodes[0].Ring().Partition([]byte("k")), cmd); err == nil {
		t.Error("a put was taken for a transaction")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	abort := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindAbort, Txn: &storage.TxnCommand{ID: storage.TxnID{Node: 1, Seq: 1}, Attempt: 1}})
	if _, err := nodes[0].Transact(ctx, 0, abort); !errors.Is(err, cluster.ErrUnavailable) || errors.Is(err, cluster.ErrUnknownOutcome) {
		t.Errorf("what was never sent: %v", err)
	}
}

// begin waits for the end of a first attempt.
func begin(n *cluster.Node, p ring.PartitionID, cmd []byte, within time.Duration) (res storage.Result, err error) {
	ended := make(chan struct{})
	n.BeginTransact(p, cmd, time.Now().Add(within), func(r storage.Result, e error) {
		res, err = r, e
		close(ended)
	})
	<-ended
	return res, err
}

// TestBeginTransact: a first attempt reaches the leader, here or elsewhere, and says when it certainly had no effect.
func TestBeginTransact(t *testing.T) {
	nodes := pair(t, nil)
	abort := func(seq uint64) []byte {
		return storage.AppendCommand(nil, &storage.Command{
			Kind: storage.KindAbort, Txn: &storage.TxnCommand{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}, Attempt: 1, Final: true},
		})
	}
	const within = time.Minute
	for i, n := range nodes {
		for p := range ring.PartitionID(n.Ring().Partitions()) {
			cmd := abort(uint64(i + 1))
			var res storage.Result
			err := cluster.ErrUnavailable
			for errors.Is(err, cluster.ErrUnavailable) { // who leads may not have come round yet
				res, err = begin(n, p, slices.Clone(cmd), within)
			}
			if err != nil || res.Txn == nil || res.Txn.Kind != storage.ReplyAck || !res.Txn.Sealed {
				t.Fatalf("node %d, partition %d: %+v, %v", i+1, p, res.Txn, err)
			}
		}
		put := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: []byte("k"), Value: []byte("w")})
		for p := range ring.PartitionID(n.Ring().Partitions()) {
			if _, err := begin(n, p, slices.Clone(put), within); err == nil {
				t.Errorf("node %d, partition %d: a put was taken for a transaction", i+1, p)
			}
			if _, err := begin(n, p, abort(9), 0); !errors.Is(err, cluster.ErrUnavailable) {
				t.Errorf("node %d, partition %d: what was never sent: %v", i+1, p, err)
			}
		}
	}
}

func TestIncarnationsAreSwept(t *testing.T) {
	nodes := pair(t, nil)
	for _, n := range nodes {
		if _, err := n.AwaitIncarnation(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	leaders := 0
	for _, n := range nodes {
		if n.LeadsMeta() {
			leaders++
		}
	}
	if leaders != 1 {
		t.Errorf("%d nodes lead the metadata group", leaders)
	}
	err := nodes[1].SetSwept(t.Context(), 2, 2)
	if !errors.Is(err, meta.ErrAlive) {
		t.Errorf("a live incarnation was swept: %v", err)
	}
	if err := nodes[1].SetSwept(t.Context(), 2, 1); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for {
		ins, err := nodes[0].Incarnations()
		if err != nil {
			t.Fatal(err)
		}
		if len(ins) == 2 && ins[0] == (cluster.Incarnations{Node: 1, Live: 1, Swept: 1}) && ins[1] == (cluster.Incarnations{Node: 2, Live: 1, Swept: 1}) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("incarnations %+v", ins)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
