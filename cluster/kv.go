package cluster

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
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
// the return at which no transaction held the key. Errors: ErrNotFound, ErrUnavailable, ErrOverloaded, ErrLocked.
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

// Write does a put or a delete. Errors: *ConditionError, ErrUnavailable, ErrOverloaded, ErrLocked and ErrDiskFull
// (nothing was done), ErrUnknownOutcome.
func (n *Node) Write(ctx context.Context, w Write) (storage.Result, ring.PartitionID, error) {
	p, err := n.partition(w.Key)
	if err != nil {
		return storage.Result{}, 0, err
	}
	res, err := n.write(ctx, p, &w)
	if err == nil && res.Status == storage.StatusConditionFailed {
		err = &ConditionError{Version: res.Version}
	}
	return res, p, err
}

// command encodes the write behind prefix. A deadline counts from the next millisecond of the partition's clock, which is
// read rounded down: a key lives its whole TTL.
func (w *Write) command(prefix ...byte) []byte {
	c := storage.Command{Kind: storage.KindPut, Key: w.Key, Value: w.Value, ContentType: w.ContentType, Cond: w.Cond, KeepTTL: w.KeepTTL}
	if w.Delete {
		c.Kind = storage.KindDelete
	}
	if w.TTL > 0 {
		c.TTL = storage.Millis(w.TTL.Milliseconds()) + 1
	}
	room := make([]byte, 0, len(prefix)+len(w.Key)+len(w.Value)+len(w.ContentType)+48)
	return storage.AppendCommand(append(room, prefix...), &c)
}

// write brings a write to the partition's leader. Each attempt encodes it anew: one that was lost may still hold its copy.
func (n *Node) write(ctx context.Context, p ring.PartitionID, w *Write) (storage.Result, error) {
	var res storage.Result
	err := n.route(ctx, p, intent{}, func(ctx context.Context, to ring.NodeID) error {
		var err error
		if to == n.self() {
			res, err = n.writeHere(ctx, p, w.command())
			return err
		}
		resp, err := n.peers.Call(ctx, to, methodWrite, w.command(byte(p>>8), byte(p)))
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
	if err := n.roomFor(p, cmd); err != nil {
		return storage.Result{}, err
	}
	return n.apply(ctx, p, cmd)
}

func (n *Node) getHere(ctx context.Context, p ring.PartitionID, key []byte, stale bool) (Item, error) {
	var clock storage.Millis
	if !stale {
		var err error
		if clock, err = n.readKeyHere(ctx, p, key); err != nil {
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
		n.suspect(p, err)
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
