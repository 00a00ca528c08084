package storage

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// stepBytes bounds what one Step writes, so that the worker that calls it is never held up for long.
const stepBytes = 1 << 20

// installState is where an Installer or Dropper stands. DESIGN.md draws it.
type installState uint8

const (
	stateMark   installState = iota // nothing done yet
	stateClear                      // the marker is durable; the old cells go
	stateWrite                      // install: the new cells come
	stateDone                       // the marker is gone
	stateFailed                     // the marker stays; only a new Installer or Dropper helps
)

// String names the state for logs and tests.
func (s installState) String() string {
	return [...]string{"mark", "clear", "write", "done", "failed"}[min(s, stateFailed)]
}

// Installer replaces a partition's state by a snapshot, one bounded batch a Step. Until it is done the partition cannot
// be opened, and a crash at any point leaves the name of the spool in PendingInstall: begin again with a new Installer.
// The end is durable after the next Engine.Sync; a crash before may leave any earlier step, or none.
type Installer struct {
	engine  Engine
	id      PartitionID
	src     *snapshotReader
	spool   string
	state   installState
	clearer clearer
}

// NewInstaller begins an install of the snapshot in src, which must be positioned at its start and was found good by
// VerifySnapshot; it is read again, and checked again, step by step. spoolName is what PendingInstall will return:
// the name under which the caller finds src after a crash. ErrCorrupt where src is no snapshot of this partition.
func NewInstaller(e Engine, id PartitionID, src io.Reader, spoolName string) (*Installer, error) {
	s, err := openSnapshot(src)
	if err != nil {
		return nil, fmt.Errorf("install partition %d: %w", id, err)
	}
	if s.id != id {
		return nil, fmt.Errorf("install partition %d: %w", id, corruptf("snapshot of partition %d", s.id))
	}
	return &Installer{engine: e, id: id, src: s, spool: spoolName, clearer: newClearer(id)}, nil
}

// Meta is the bookkeeping that the partition will have.
func (in *Installer) Meta() Meta { return in.src.meta }

// Step commits one batch of the engine, in which nobody else may have one open, and tells whether it was the last.
// After an error the install must be begun anew, or the partition dropped.
func (in *Installer) Step() (done bool, err error) {
	next, err := step(in.engine, in.state, in.advance)
	if err != nil {
		in.state = stateFailed
		return false, fmt.Errorf("install partition %d: %w", in.id, err)
	}
	in.state = next
	return next == stateDone, nil
}

func (in *Installer) advance(b Batch) (installState, error) {
	switch in.state {
	case stateMark:
		return stateClear, mark(b, in.id, marker{kind: markerInstall, spool: in.spool})
	case stateClear:
		cleared, err := in.clearer.clear(b)
		if !cleared {
			return stateClear, err
		}
		return stateWrite, err
	}
	return in.write(b)
}

func (in *Installer) write(b Batch) (installState, error) {
	for b.Size() < stepBytes {
		c, more, err := in.src.next()
		if err != nil {
			return stateFailed, err
		}
		if !more {
			return stateDone, in.finish(b)
		}
		if err := b.Set(c.key, c.value); err != nil {
			return stateFailed, err
		}
	}
	return stateWrite, nil
}

func (in *Installer) finish(b Batch) error {
	if err := b.Set(metaKey(in.id, metaRecord), appendMeta(nil, &in.src.meta)); err != nil {
		return err
	}
	return b.Delete(metaKey(in.id, metaMarker))
}

// Dropper removes a partition and its bookkeeping, one bounded batch a Step. A crash at any point leaves PendingDrop
// true, or the partition whole if nothing was committed yet: begin again with a new Dropper.
type Dropper struct {
	engine  Engine
	id      PartitionID
	state   installState
	clearer clearer
}

// NewDropper begins a drop.
func NewDropper(e Engine, id PartitionID) *Dropper {
	return &Dropper{engine: e, id: id, clearer: newClearer(id)}
}

// Step commits one batch of the engine, in which nobody else may have one open, and tells whether it was the last.
func (dr *Dropper) Step() (done bool, err error) {
	next, err := step(dr.engine, dr.state, dr.advance)
	if err != nil {
		dr.state = stateFailed
		return false, fmt.Errorf("drop partition %d: %w", dr.id, err)
	}
	dr.state = next
	return next == stateDone, nil
}

func (dr *Dropper) advance(b Batch) (installState, error) {
	if dr.state == stateMark {
		return stateClear, mark(b, dr.id, marker{kind: markerDrop})
	}
	cleared, err := dr.clearer.clear(b)
	if err != nil || !cleared {
		return stateClear, err
	}
	return stateDone, b.Delete(metaKey(dr.id, metaMarker))
}

// errEnded is returned by a Step after the last one or after one that failed.
var errEnded = errors.New("no step left")

// step runs advance in a batch of its own and commits it.
func step(e Engine, s installState, advance func(Batch) (installState, error)) (installState, error) {
	if s == stateDone || s == stateFailed {
		return s, fmt.Errorf("%w: state %v", errEnded, s)
	}
	b := e.Batch()
	defer b.Discard()
	next, err := advance(b)
	if err != nil {
		return stateFailed, err
	}
	return next, b.Commit()
}

// mark makes the partition's state unreadable: the marker comes and the bookkeeping goes, in one batch.
func mark(b Batch, id PartitionID, m marker) error {
	if err := b.Set(metaKey(id, metaMarker), m.encode()); err != nil {
		return err
	}
	return b.Delete(metaKey(id, metaRecord))
}

// clearer deletes a partition's cells; it remembers where it was, so as not to walk over its own deletions.
type clearer struct{ from, end []byte }

func newClearer(id PartitionID) clearer {
	start, end := stateRange(id)
	return clearer{from: start, end: end}
}

// clear deletes up to stepBytes of keys and tells whether none is left.
func (c *clearer) clear(b Batch) (cleared bool, err error) {
	var keys [][]byte
	size := 0
	err = b.Scan(c.from, c.end, true, func(k, _ []byte) (bool, error) {
		keys = append(keys, slices.Clone(k))
		size += len(k) + WriteOverhead
		return size < stepBytes, nil
	})
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return false, err
		}
	}
	if size < stepBytes {
		return true, nil
	}
	c.from = append(slices.Clone(keys[len(keys)-1]), 0)
	return false, nil
}
