package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/transport"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Item is a key as a read found it.
type Item struct {
	storage.Item
	Partition ring.PartitionID
	TTL       time.Duration // left, at least 1 ms; 0 if it never expires
}

// Write is a put or a delete.
type Write struct {
	Delete      bool
	Key         []byte
	Value       []byte
	ContentType string
	Cond        storage.Condition
	TTL         time.Duration // put: in whole milliseconds; 0 means for ever
	KeepTTL     bool
}

// Get returns what is stored under key: with stale as some replica has it, else as of a moment between the call and
// the return. Errors: ErrNotFound, ErrUnavailable, ErrOverloaded.
func (n *Node) Get(ctx context.Context, key []byte, stale bool) (Item, error) {
	p, err := n.partition(key)
	if err != nil {
		return Item{}, err
	}
	return n.getFrom(ctx, p, key, stale)
}

func (n *Node) getFrom(ctx context.Context, p ring.PartitionID, key []byte, stale bool) (item Item, err error) {
	err = n.route(ctx, p, intent{read: true, stale: stale}, func(ctx context.Context, to ring.NodeID) error {
		if to == n.self() {
			item, err = n.getHere(ctx, p, key, stale)
			return err
		}
		body := append(binary.BigEndian.AppendUint16(make([]byte, 0, 3+len(key)), uint16(p)), 0)
		if stale {
			body[2] = 1
		}
		resp, err := n.peers.Call(ctx, to, methodGet, append(body, key...))
		if err != nil {
			return decodeError(p, err)
		}
		item, err = decodeItem(resp)
		return err
	})
	item.Key, item.Partition = key, p
	return item, readError(err)
}

// Write does a put or a delete. Errors: *ConditionError, ErrUnavailable, ErrOverloaded and ErrDiskFull (nothing was
// done), ErrUnknownOutcome.
func (n *Node) Write(ctx context.Context, w Write) (storage.Result, ring.PartitionID, error) {
	p, err := n.partition(w.Key)
	if err != nil {
		return storage.Result{}, 0, err
	}
	res, err := n.write(ctx, p, w.command())
	if err == nil && res.Status == storage.StatusConditionFailed {
		err = &ConditionError{Version: res.Version}
	}
	return res, p, err
}

// command encodes the write. A deadline counts from the next millisecond of the partition's clock, which is read
// rounded down: a key lives its whole TTL.
func (w *Write) command() []byte {
	c := storage.Command{Kind: storage.KindPut, Key: w.Key, Value: w.Value, ContentType: w.ContentType, Cond: w.Cond, KeepTTL: w.KeepTTL}
	if w.Delete {
		c.Kind = storage.KindDelete
	}
	if w.TTL > 0 {
		c.TTL = storage.Millis(w.TTL.Milliseconds()) + 1
	}
	return storage.AppendCommand(make([]byte, 0, len(w.Key)+len(w.Value)+len(w.ContentType)+48), &c)
}

// write brings an encoded command to the partition's leader.
func (n *Node) write(ctx context.Context, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	var res storage.Result
	err := n.route(ctx, p, intent{}, func(ctx context.Context, to ring.NodeID) error {
		var err error
		if to == n.self() {
			res, err = n.writeHere(ctx, p, append([]byte(nil), cmd...)) // a lost attempt may still hold its copy
			return err
		}
		body := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(cmd)), uint16(p)), cmd...)
		resp, err := n.peers.Call(ctx, to, methodWrite, body)
		if err != nil {
			return decodeError(p, err)
		}
		res, err = storage.DecodeResult(resp)
		return err
	})
	return res, writeError(err)
}

// writeHere has a command applied by the group that this node leads.
func (n *Node) writeHere(ctx context.Context, p ring.PartitionID, cmd []byte) (storage.Result, error) {
	if n.disk.full() && !freesSpace(cmd) {
		return storage.Result{}, ErrDiskFull
	}
	op, err := n.run(ctx, p, worker.Write, cmd)
	if err != nil {
		return storage.Result{}, err
	}
	res := op.Result
	n.release(op)
	return res, nil
}

// freesSpace tells whether a command is one that a full disk still takes.
func freesSpace(cmd []byte) bool {
	c, err := storage.DecodeCommand(cmd)
	return err == nil && c.Kind != storage.KindPut
}

// readHere waits until the group that this node leads has applied everything acknowledged before the call. It returns
// the partition's clock.
func (n *Node) readHere(ctx context.Context, p ring.PartitionID) (storage.Millis, error) {
	op, err := n.run(ctx, p, worker.Read, nil)
	if err != nil {
		return 0, err
	}
	clock := op.Clock
	n.release(op)
	return clock, nil
}

func (n *Node) getHere(ctx context.Context, p ring.PartitionID, key []byte, stale bool) (Item, error) {
	var clock storage.Millis
	if !stale {
		var err error
		if clock, err = n.readHere(ctx, p); err != nil {
			return Item{}, err
		}
	}
	v := n.engine.View()
	defer v.Close()
	if stale {
		m, err := held(v, p)
		if err != nil {
			return Item{}, err
		}
		clock = m.Clock
	}
	it, err := storage.Get(v, p, key)
	if err != nil {
		if _, gone := held(v, p); gone != nil {
			return Item{}, gone
		}
		return Item{}, err
	}
	return newItem(it, clock), nil
}

// held returns the bookkeeping of the replica of p in v, or a *replica.NotLeaderError if there is none: between the
// right to read and the view, this node may have handed the leadership over, and its replica may have been removed or
// have begun to be filled anew. Then an absent key means nothing.
func held(v storage.Reader, p ring.PartitionID) (storage.Meta, error) {
	m, err := storage.ReadMeta(v, p)
	if err == nil && m.Applied == 0 {
		err = &replica.NotLeaderError{Partition: p}
	}
	return m, err
}

func newItem(it storage.Item, clock storage.Millis) Item {
	item := Item{Item: it}
	if it.Deadline > 0 {
		item.TTL = time.Millisecond
		if it.Deadline > clock {
			item.TTL = time.Duration(it.Deadline-clock) * time.Millisecond
		}
	}
	return item
}

// request is an op that a goroutine of this node waits for.
type request struct {
	worker.Op
	ended chan struct{} // cap 1
}

// run hands an op to the worker and waits. The request goes back by release; after an error nobody may touch it.
func (n *Node) run(ctx context.Context, p ring.PartitionID, kind worker.Kind, data []byte) (*request, error) {
	switch {
	case !n.isMember():
		return nil, ErrNotMember
	case ctx.Err() != nil:
		return nil, replica.ErrDropped // nobody waits for it: do not begin
	}
	r, _ := n.requests.Get().(*request)
	r.Op.Group, r.Op.Kind, r.Op.Data = p, kind, data
	if err := n.loop.submit(&r.Op); err != nil {
		n.release(r)
		return nil, err
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
		return nil, context.Cause(ctx) // the worker still has it; it goes to the garbage
	}
	if err := r.Op.Err; err != nil {
		n.release(r)
		return nil, err
	}
	return r, nil
}

func (n *Node) release(r *request) {
	r.Op.Data, r.Op.Result, r.Op.Err = nil, storage.Result{}, nil
	n.requests.Put(r)
}

// How long route waits between two attempts. An election takes seconds, a handed-over leadership milliseconds.
const (
	minPause = 2 * time.Millisecond
	maxPause = 100 * time.Millisecond
)

// intent is what a routed request is about.
type intent struct {
	read  bool // may be repeated whatever became of the last attempt
	stale bool // any replica will do, the nearest first
}

// route tries try with the nodes that may lead p until one does, a final error comes, or ctx ends. A write is tried
// again only after an attempt that certainly had no effect.
func (n *Node) route(ctx context.Context, p ring.PartitionID, in intent, try func(ctx context.Context, to ring.NodeID) error) error {
	pause := minPause
	for attempt := 0; ; attempt++ {
		to := n.pick(p, in.stale, attempt)
		err := ErrNotMember
		if to != 0 {
			if err = try(ctx, to); err == nil || !n.again(p, to, in, err) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: partition %d: after %d attempts, the last: %w", errNoLeader, p, attempt+1, err)
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
}

var errNoLeader = errors.New("no leader found in time")

// pick says whom to ask at this attempt.
func (n *Node) pick(p ring.PartitionID, stale bool, attempt int) ring.NodeID {
	if to := n.routes.leader(p); to != 0 && !stale {
		return to
	}
	all := n.routes.candidates(p)
	if stale && attempt == 0 && slices.Contains(all, n.self()) {
		return n.self()
	}
	if len(all) == 0 {
		return 0
	}
	return all[attempt%len(all)]
}

// again tells whether another attempt is allowed and may have more luck, and learns from this one.
func (n *Node) again(p ring.PartitionID, to ring.NodeID, in intent, err error) bool {
	var notLeader *replica.NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		n.unlearn(p, to, notLeader.Leader.Node())
		return true
	case errors.Is(err, transport.ErrUnreachable), errors.Is(err, transport.ErrExpired):
		n.unlearn(p, to, 0)
		return true
	case errors.Is(err, replica.ErrDropped), errors.Is(err, ErrNotMember):
		return true
	case in.read && errors.Is(err, transport.ErrConnLost):
		n.unlearn(p, to, 0)
		return true
	case in.read && errors.Is(err, replica.ErrOutcomeUnknown):
		return true
	}
	return false
}

// unlearn takes in that a node did not lead p when it was asked, and whom it named instead. What it says of this node
// is left to the worker, which says whenever this node begins or ceases to lead: an answer can be older than that.
func (n *Node) unlearn(p ring.PartitionID, wrong, better ring.NodeID) {
	if better == wrong || better == n.self() {
		better = 0
	}
	if wrong == n.self() {
		n.routes.hint(p, better)
		return
	}
	n.routes.forget(p, wrong, better)
}

// writeError is what the caller of a write is told.
func writeError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDiskFull), errors.Is(err, ErrOverloaded), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, transport.ErrOverloaded):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	case errors.Is(err, errNoLeader), errors.Is(err, transport.ErrClosed), errors.Is(err, transport.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// readError is what the caller of a read is told: it changed nothing, whatever happened.
func readError(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrOverloaded), errors.Is(err, storage.ErrCorrupt):
		return err
	case errors.Is(err, transport.ErrOverloaded):
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
