package ring

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// MaxPartitions is the largest number of partitions. Ids above it stay free for groups that are no partition.
const MaxPartitions = 1 << 15

// Ring maps keys to partitions. It is immutable and safe for concurrent use.
type Ring struct {
	partitions int
	shift      uint // 64 - log2(partitions)
}

// New returns the ring of the given number of partitions, or ErrPartitions.
func New(partitions int) (*Ring, error) {
	if err := checkPartitions(partitions); err != nil {
		return nil, err
	}
	return &Ring{partitions: partitions, shift: shiftFor(partitions)}, nil
}

// Partitions returns the number of partitions, Q.
func (r *Ring) Partitions() int { return r.partitions }

// Partition returns the partition of a key: the top log2(Q) bits of xxh64 (seed 0) of the key's hash tag, or of
// the whole key if it has none. It allocates nothing.
func (r *Ring) Partition(key []byte) PartitionID {
	return PartitionID(xxhash.Sum64(hashed(key)) >> r.shift)
}

// hashed returns the bytes of key that decide its partition: what stands from the first '{' to the first '}' after
// it if that is at least one byte, else the whole key.
func hashed(key []byte) []byte {
	open := bytes.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	tag := key[open+1:]
	if end := bytes.IndexByte(tag, '}'); end > 0 {
		return tag[:end]
	}
	return key
}

// shiftFor returns by how much a hash is shifted to give a partition. For one partition it is 64, which Go defines
// to leave 0.
func shiftFor(partitions int) uint {
	return 64 - uint(bits.TrailingZeros(uint(partitions)))
}

func checkPartitions(q int) error {
	if q < 1 || q > MaxPartitions || q&(q-1) != 0 {
		return fmt.Errorf("%w: got %d", ErrPartitions, q)
	}
	return nil
}
