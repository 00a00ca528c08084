package storage

import (
	"fmt"
	"math"
	"slices"
)

const noDeadline = Millis(math.MaxUint64)

// Partition applies one partition's log to an Engine's batches. It keeps the bookkeeping in memory between them. One
// goroutine uses it. After an error of Apply, Expire's read included, the batch must be discarded and the partition
// opened anew: memory is then ahead of the disk.
type Partition struct {
	id    PartitionID
	meta  Meta
	dirty bool   // meta differs from what the engine holds
	next  Millis // no deadline lies before it; exact after opening and after every expire
	err   error  // why this Partition can no longer be used
}

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
	if p.next, err = firstDeadline(r, id, 0); err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	return p, nil
}

// ID is the partition's id.
func (p *Partition) ID() PartitionID { return p.id }

// Meta is the bookkeeping as of the last entry applied, flushed or not. Conf must not be written to.
func (p *Partition) Meta() Meta { return p.meta }

// NextDeadline is a time before which nothing expires; false where nothing has a deadline. When the partition's clock
// has reached it, the leader proposes an expire, which makes it exact again.
func (p *Partition) NextDeadline() (Millis, bool) {
	return p.next, p.next != noDeadline
}

// Apply applies one log entry into b; index must be above the applied index (ErrOrder). Empty data only raises the
// applied index, as does what is no valid command, which gives StatusInvalid: on every replica alike. The caller has
// made sure that ApplyCost(data) fits b. Nothing of the entry survives unless Flush and Commit of the same batch follow.
func (p *Partition) Apply(b Batch, index, term uint64, data []byte) (Result, error) {
	if err := p.advance(index, term); err != nil {
		return Result{}, err
	}
	if len(data) == 0 {
		return Result{}, nil
	}
	c, err := DecodeCommand(data)
	if err != nil || !c.valid() {
		return Result{Status: StatusInvalid}, nil //nolint:nilerr // the same answer on every replica
	}
	res, err := p.dispatch(b, &c)
	if err != nil {
		p.err = fmt.Errorf("apply partition %d index %d: %w", p.id, index, err)
		return Result{}, p.err
	}
	return res, nil
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
	if err := b.Set(metaKey(p.id, metaRecord), appendMeta(nil, &p.meta)); err != nil {
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

func (p *Partition) dispatch(b Batch, c *Command) (Result, error) {
	p.meta.Clock = max(p.meta.Clock, c.Clock)
	switch c.Kind {
	case KindPut:
		return p.put(b, c)
	case KindDelete:
		return p.delete(b, c)
	case KindExpire:
		return p.expire(b, c)
	}
	return Result{Status: StatusInvalid}, nil
}
