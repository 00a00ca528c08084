package changelog

import (
	"fmt"

	"github.com/ringkv/ringkv/storage"
)

// Read returns the changes of a partition behind index after: all that there are, or until maxBytes of records were read,
// but at least one record. Long values are missing (storage.MaxChangeValue).
//
// Errors: ErrNoReplica; ErrGone where some of the changes are no longer kept, or cannot be read.
func (l *Log) Read(p storage.PartitionID, after uint64, maxBytes int) (storage.History, error) {
	blocks, through, err := l.find(p, after, maxBytes)
	if err != nil {
		return storage.History{}, fmt.Errorf("partition %d behind index %d: %w", p, after, err)
	}
	defer l.release(blocks)
	h := storage.History{Through: through}
	for _, b := range blocks {
		c, err := b.seg.read(b.off, b.size)
		if err != nil || c.Partition != p {
			return storage.History{}, fmt.Errorf("partition %d behind index %d: %w: %w", p, after, ErrGone, err)
		}
		changes, err := storage.DecodeChanges(c, after)
		if err != nil {
			return storage.History{}, fmt.Errorf("partition %d behind index %d: %w: %w", p, after, ErrGone, err)
		}
		for len(changes) > 0 && changes[len(changes)-1].Index > b.through {
			changes = changes[:len(changes)-1] // recorded again later
		}
		h.Changes = append(h.Changes, changes...)
	}
	return h, nil
}

// find returns the blocks to read, whose segments stay until release, and how far they reach.
func (l *Log) find(p storage.PartitionID, after uint64, maxBytes int) ([]block, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tracks[p]
	switch {
	case t == nil || !t.here || l.closed:
		return nil, 0, ErrNoReplica
	case after < t.floor:
		return nil, 0, ErrGone
	case after >= t.through:
		return nil, after, nil
	}
	first := t.behind(after)
	end, size := first, 0
	for ; end < len(t.blocks) && (end == first || size < maxBytes); end++ {
		size += int(t.blocks[end].size)
		t.blocks[end].seg.users++
	}
	through := t.through
	if end < len(t.blocks) {
		through = t.blocks[end-1].through
	}
	return append([]block(nil), t.blocks[first:end]...), through, nil
}

func (l *Log) release(blocks []block) {
	if len(blocks) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range blocks {
		b.seg.release()
	}
}

// Check tells, by its errors, whether Read would find all changes of a partition behind index after.
func (l *Log) Check(p storage.PartitionID, after uint64) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	t := l.tracks[p]
	switch {
	case t == nil || !t.here:
		return ErrNoReplica
	case after < t.floor:
		return ErrGone
	}
	return nil
}
