package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/changelog"
)

// What a watch needs of the cluster: where each partition stands, and what changed behind an index.

// Watch begins to watch the keys with a prefix: from now on, or where the watcher stood whose cursor is given, at whatever
// node that was. The caller closes the Watcher. ctx is for the beginning only.
//
// Errors: watch.ErrBadCursor, watch.ErrTooOld, *watch.LimitError; ErrUnavailable, ErrNotMember, ErrClosed.
func (n *Node) Watch(ctx context.Context, prefix []byte, cursor string) (*watch.Watcher, error) {
	if n.routes.state.Load() == nil {
		return nil, ErrNotMember
	}
	w, err := n.hub.Watch(ctx, prefix, cursor)
	if errors.Is(err, watch.ErrClosed) {
		err = ErrClosed
	}
	return w, err
}

// WatchStats are the numbers of this node's watches.
func (n *Node) WatchStats() watch.Stats { return n.hub.Stats() }

func changesDir(dir string) string { return filepath.Join(dir, "changes") }

func (n *Node) openChanges() (err error) {
	n.changes, err = changelog.Open(changesDir(n.cfg.DataDir), changelog.Options{Logger: n.logger})
	return err
}

// watched is the node as its hub sees it.
type watched struct{ *Node }

var _ watch.Cluster = watched{}

// ID is as watch.Cluster says.
func (n watched) ID() string { return n.identity.Load().ClusterID }

// Partitions is as watch.Cluster says.
func (n watched) Partitions() int {
	if s := n.routes.state.Load(); s != nil {
		return s.Partitions
	}
	return 0
}

// Heads is as watch.Cluster says.
func (n watched) Heads(ctx context.Context) ([]uint64, error) {
	heads := make([]uint64, n.Partitions())
	g, ctx := errgroup.WithContext(ctx)
	for i := range heads {
		g.Go(func() (err error) {
			heads[i], err = n.head(ctx, ring.PartitionID(i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, readError(err)
	}
	return heads, nil
}

// head asks the leader of p how far it got.
func (n *Node) head(ctx context.Context, p ring.PartitionID) (index uint64, err error) {
	err = n.route(ctx, p, intent{read: true}, func(ctx context.Context, to ring.NodeID) error {
		if to == n.self() {
			index, err = n.headHere(ctx, p)
			return err
		}
		resp, err := n.peers.Call(ctx, to, methodHead, binary.BigEndian.AppendUint16(nil, uint16(p)))
		if err != nil {
			return decodeError(p, err)
		}
		if len(resp) != 8 {
			return errMalformed
		}
		index = binary.BigEndian.Uint64(resp)
		return nil
	})
	return index, err
}

// headHere is an index at or above everything acknowledged before the call.
func (n *Node) headHere(ctx context.Context, p ring.PartitionID) (uint64, error) {
	if _, err := n.readHere(ctx, p); err != nil {
		return 0, err
	}
	index := n.changes.Through(p)
	if index == 0 { // the replica went away meanwhile
		return 0, &replica.NotLeaderError{Partition: p}
	}
	return index, nil
}

func (n *Node) handleHead(ctx context.Context, p ring.PartitionID) ([]byte, error) {
	index, err := n.headHere(ctx, p)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// Sources is as watch.Cluster says: this node where it can, then the leader, then the other replicas.
func (n watched) Sources(p ring.PartitionID) []ring.NodeID {
	all := n.routes.candidates(p)
	out := make([]ring.NodeID, 0, len(all)+1)
	for _, node := range []ring.NodeID{n.self(), n.routes.leader(p)} {
		if node != 0 && !slices.Contains(out, node) && (node != n.self() || n.keepsUp(p)) {
			out = append(out, node)
		}
	}
	for _, node := range all {
		if node != n.self() && !slices.Contains(out, node) {
			out = append(out, node)
		}
	}
	return out
}

// keepsUp tells whether this node's replica of p belongs there, and is not just about to be removed.
func (n *Node) keepsUp(p ring.PartitionID) bool {
	return n.changes.Through(p) > 0 && (n.routes.leader(p) == n.self() || slices.Contains(n.routes.candidates(p), n.self()))
}

// historyGrace is how much longer than it may wait for news a node may take to answer.
const historyGrace = 2 * time.Second

// Read is as watch.Cluster says.
func (n watched) Read(ctx context.Context, node ring.NodeID, q watch.Query) ([]watch.Answer, error) {
	if node == n.self() {
		return n.historyHere(ctx, q)
	}
	ctx, cancel := context.WithTimeout(ctx, q.Wait+historyGrace)
	defer cancel()
	resp, err := n.peers.Call(ctx, node, methodHistory, appendHistoryQuery(nil, &q))
	if err != nil {
		return nil, decodeError(0, err)
	}
	return decodeHistoryAnswers(resp)
}

// The most that another node may ask for.
const (
	maxHistoryWait  = 30 * time.Second
	maxHistoryBytes = 4 << 20
)

func (n *Node) handleHistory(ctx context.Context, body []byte) ([]byte, error) {
	q, err := decodeHistoryQuery(body)
	if err != nil {
		return nil, err
	}
	answers, err := n.historyHere(ctx, q)
	if err != nil {
		return nil, err
	}
	return appendHistoryAnswers(nil, answers), nil
}

// historyHere answers from this node's own change log.
func (n *Node) historyHere(ctx context.Context, q watch.Query) ([]watch.Answer, error) {
	listener := n.changes.Listen()
	defer listener.Close()
	timer := time.NewTimer(q.Wait)
	defer timer.Stop()
	for {
		if answers, err := n.answersHere(q); len(answers) > 0 || err != nil || q.Wait == 0 {
			return answers, err
		}
		select {
		case <-listener.C:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-n.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// answersHere answers what can be answered at once, until there is enough.
func (n *Node) answersHere(q watch.Query) ([]watch.Answer, error) {
	var answers []watch.Answer
	left := q.MaxBytes
	for _, want := range q.Wants {
		a, news, err := n.answerHere(want, left, q.MaxBytes == 0)
		if err != nil {
			return nil, err
		}
		if !news {
			continue
		}
		answers = append(answers, a)
		for i := range a.Changes {
			left -= a.Changes[i].Size()
		}
		if left <= 0 && q.MaxBytes > 0 {
			break
		}
	}
	return answers, nil
}

// answerHere answers one want; news is false if there is nothing to say.
func (n *Node) answerHere(want watch.Want, maxBytes int, check bool) (a watch.Answer, news bool, err error) {
	a = watch.Answer{Partition: want.Partition}
	switch {
	case !n.keepsUp(want.Partition):
		err = changelog.ErrNoReplica
	case check:
		err = n.changes.Check(want.Partition, want.After)
	case n.changes.Through(want.Partition) <= want.After:
		return a, false, nil
	default:
		a.History, err = n.changes.Read(want.Partition, want.After, maxBytes)
	}
	switch {
	case errors.Is(err, changelog.ErrNoReplica):
		a.Verdict, err = watch.Elsewhere, nil
	case errors.Is(err, changelog.ErrGone):
		a.Verdict, err = watch.Gone, nil
	case err == nil:
		err = n.findValues(want.Partition, a.Changes)
	}
	return a, a.Verdict != watch.Here || !check, err
}

// findValues completes changes whose values were too long to be kept, where they still are the present ones.
func (n *Node) findValues(p ring.PartitionID, changes []storage.Change) error {
	missing := func(c storage.Change) bool { return c.Kind == storage.ChangePut && c.Value == nil }
	if !slices.ContainsFunc(changes, missing) {
		return nil
	}
	v := n.engine.View()
	defer v.Close()
	for i := range changes {
		if err := changes[i].FindValue(v, p); err != nil {
			return err
		}
	}
	return nil
}
