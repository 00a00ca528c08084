package storage

import (
	"encoding/binary"
	"errors"
)

// SetLogMark notes which record of the node's raft log was on disk when b is committed. It belongs to the node, not to a
// partition: no snapshot has it, no install or drop takes it away.
func SetLogMark(b Batch, record uint64) error {
	return b.Set(metaKey(MetaPartition, metaLog), binary.BigEndian.AppendUint64(nil, record))
}

// LogMark returns what SetLogMark noted last, 0 where it never did. A raft log that ends before it has lost its end.
func LogMark(r Reader) (uint64, error) {
	b, err := r.Get(metaKey(MetaPartition, metaLog))
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case len(b) != 8:
		return 0, corruptf("log mark %x", b)
	}
	return binary.BigEndian.Uint64(b), nil
}
