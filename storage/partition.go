package storage

import (
	"fmt"
	"math"
	"slices"

	"github.com/ringkv/ringkv/ring"
)

const noDeadline = Millis(math.MaxUint64)

// Partition applies one partition's log to an Engine's batches. It keeps the bookkeeping in memory between them. One
// goroutine uses it. After an error of Apply, Expire's read included, the batch must be discarded and the partition
// opened anew: memory is then ahead of the disk.
type Partition struct {
	id    PartitionID
	meta  Meta
	dirty bool   // meta differs from what the engine holds
	next  Millis // no deadline beyond the horizon lies before it; exact after opening and after every expire
	err   error  // why this Partition can no longer be used

	oldest   Millis              // no expired key that is not purged has an earlier deadline
	held     map[string]struct{} // keys that the horizon has passed and that are there because they are locked
	unlocked []string            // of held, those that the command at hand has unlocked
	lapses   uint64              // keys that have expired since the partition was opened

	txns      txnIndex
	locks     LockTable
	nextToken Millis // no token record is to be removed before; exact after opening and after every sweep
	alarms    uint64
	leases    leaseIndex

	ring     *ring.Ring // of the last prepare
	recorder recorder

	// Memory that is used again.
	buf    scratch
	drafts drafts
	txn    TxnCommand // of the entry at hand, as is the next
	reply  TxnReply   // where Result.Txn points to
	source partitionSource
}

// scratch is memory for what the engine reads at once and does not keep: keys, and cells to set.
type scratch struct{ key, cell, body []byte }

// OpenPartition reads a partition's bookkeeping; one that was never written is empty, with Applied 0. It returns
// ErrPending while an install or a drop is unfinished, ErrCorrupt where the bookkeeping does not decode.
func OpenPartition(r Reader, id PartitionID) (*Partition, error) {
	marker, err := readMarker(r, id)
	if err != nil {
		return nil, err
	}
	if marker.kind != markerNone {
		return nil, fmt.Errorf("open partition %d: %w", id, ErrPending)
	}
	meta, err := ReadMeta(r, id)
	if err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	p := &Partition{id: id, meta: meta}
	if err := p.load(r); err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	return p, nil
}

// load reads what is kept in memory beside the bookkeeping.
func (p *Partition) load(r Reader) (err error) {
	if p.next, err = p.firstDeadline(r); err != nil {
		return err
	}
	if err := p.loadHeld(r); err != nil {
		return err
	}
	if err := p.findOldest(r); err != nil {
		return err
	}
	if p.nextToken, err = firstToken(r, p.id, 0); err != nil {
		return err
	}
	if err := p.loadTxns(r); err != nil {
		return err
	}
	return p.loadLeases(r)
}

// ID is the partition's id.
func (p *Partition) ID() PartitionID { return p.id }

// Meta is the bookkeeping as of the last entry applied, flushed or not. Conf must not be written to.
func (p *Partition) Meta() Meta { return p.meta }

// NextDeadline is a time before which nothing expires; false where nothing has a deadline that is not over. When the
// partition's clock has reached it, the leader proposes an expire, which makes it exact again.
func (p *Partition) NextDeadline() (Millis, bool) {
	return p.next, p.next != noDeadline
}

// Purgeable tells how many keys have expired and are not purged yet, and a time before which none of them was due.
func (p *Partition) Purgeable() (keys uint64, oldest Millis) { return p.meta.Expired, p.oldest }

// Expirations counts the keys that have expired since the partition was opened, also those that did when the last lock went.
func (p *Partition) Expirations() uint64 { return p.lapses }

// Locks is who holds what as of the last entry applied.
func (p *Partition) Locks() *LockTable { return &p.locks }

// LockShadow is what any goroutine may know of the locks, for as long as the partition is open.
func (p *Partition) LockShadow() *LockShadow { return &p.locks.shade.shadow }

// Visible tells that all batches that were applied into are committed: the engine shows what was done under the locks that
// were released.
func (p *Partition) Visible() { p.locks.shade.lift() }

// Open returns the transactions in doubt, those whose record is YES, in the order in which they became so.
func (p *Partition) Open() []*OpenTxn {
	open := make([]*OpenTxn, len(p.txns.yes))
	for i, r := range p.txns.yes {
		open[i] = r.open
	}
	return open
}

// Alarms counts the broken invariants that were met since the partition was opened: TxnReply.Alarm. It should be 0.
func (p *Partition) Alarms() uint64 { return p.alarms }

// Apply applies one log entry into b; index must be above the applied index (ErrOrder). Empty data only raises the
// applied index, as does what is no valid command, which gives StatusInvalid: on every replica alike. The caller has
// made sure that p.ApplyCost(data) fits b. Nothing of the entry survives unless Flush and Commit of the same batch follow.
// The result is valid until the next Apply; who keeps it longer keeps a Clone.
func (p *Partition) Apply(b Batch, index, term uint64, data []byte) (Result, error) {
	if err := p.advance(index, term); err != nil {
		return Result{}, err
	}
	if len(data) == 0 {
		return Result{}, nil
	}
	res, err := p.applyCommand(b, data)
	p.drafts.end()
	p.source.r = nil
	if err != nil {
		p.err = fmt.Errorf("apply partition %d index %d: %w", p.id, index, err)
		return Result{}, p.err
	}
	return res, nil
}

func (p *Partition) applyCommand(b Batch, data []byte) (Result, error) {
	d := decoder{b: data}
	var c Command
	if k := kindOf(data); isTxnKind(k) {
		p.txn = TxnCommand{}
		c.Txn = &p.txn
		if k == KindPrepare || k == KindSingle {
			d.draft = p.drafts.take(data, p.txns.mayKeep(len(data)))
			d.b, p.txn.Prepare = d.draft.bytes, &d.draft.prepare
		}
	}
	if err := d.command(&c); err != nil || !c.valid() {
		return Result{Status: StatusInvalid}, nil //nolint:nilerr // the same answer on every replica
	}
	return p.dispatch(b, &c, d.draft)
}

// SetConf records a configuration entry as the one at index. conf is copied; ErrTooLarge if over MaxConfBytes.
func (p *Partition) SetConf(index, term uint64, conf []byte) error {
	if len(conf) > MaxConfBytes {
		return fmt.Errorf("set configuration of partition %d: %w: %d bytes", p.id, ErrTooLarge, len(conf))
	}
	if err := p.advance(index, term); err != nil {
		return err
	}
	p.meta.Conf = slices.Clone(conf)
	return nil
}

// Flush writes the bookkeeping into b where it changed: once for each partition and batch, just before Commit.
func (p *Partition) Flush(b Batch) error {
	if p.err != nil {
		return p.err
	}
	if !p.dirty {
		return nil
	}
	err := p.flushMarks(b)
	if err == nil {
		p.buf.key = appendMetaKey(p.buf.key[:0], p.id, metaRecord)
		p.buf.cell = appendMeta(p.buf.cell[:0], &p.meta)
		err = b.Set(p.buf.key, p.buf.cell)
	}
	if err != nil {
		p.err = fmt.Errorf("flush partition %d: %w", p.id, err)
		return p.err
	}
	p.dirty = false
	return nil
}

func (p *Partition) advance(index, term uint64) error {
	if p.err != nil {
		return p.err
	}
	if index <= p.meta.Applied {
		return fmt.Errorf("%w: partition %d index %d, applied %d", ErrOrder, p.id, index, p.meta.Applied)
	}
	p.meta.Applied, p.meta.AppliedTerm, p.dirty = index, term, true
	return nil
}

// dispatch applies a command; draft is that of its part, nil if it has none.
func (p *Partition) dispatch(b Batch, c *Command, draft *draft) (Result, error) {
	p.meta.Clock = max(p.meta.Clock, c.Clock)
	p.recorder.begin(c)
	switch c.Kind {
	case KindPut:
		return p.put(b, c)
	case KindDelete:
		return p.delete(b, c)
	case KindExpire:
		return p.expire(b, c)
	case KindPurge:
		return p.purge(b, c)
	case KindSweep:
		return p.sweep(b, c)
	case KindLapse:
		return p.lapse(b, c)
	case KindAcquire, KindCancel, KindRenew, KindRelease:
		return p.applyLease(b, c)
	}
	return p.applyTxn(b, c, draft)
}
