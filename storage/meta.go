package storage

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Format 1 had no Longest. Format 2 had no horizon: what was stored was there.
const (
	metaFormat         = 3
	metaWithoutHorizon = 2
	metaWithoutLongest = 1
)

// MaxConfBytes is the length of the longest raft configuration that a partition keeps.
// It has room for about a thousand members: every node of a cluster is one of the metadata group.
const MaxConfBytes = 8 << 10

// FlushCost is an upper bound of what one Partition.Flush adds to Batch.Size.
const FlushCost = MaxConfBytes + MaxKeyBytes + 256 + WriteOverhead + maxDirty*markCost

func appendMeta(dst []byte, m *Meta) []byte {
	dst = append(dst, metaFormat)
	for _, v := range [...]uint64{
		m.Applied, m.AppliedTerm, uint64(m.Revision), uint64(m.LastRemoval), uint64(m.Clock), m.Keys, m.Bytes, m.Longest,
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = appendUvarints(dst, uint64(m.Horizon.At), m.Expired, m.ExpiredBytes)
	return appendBytes(appendBytes(dst, m.Horizon.Key), m.Conf)
}

// decodeMeta returns a Meta that owns its memory.
func decodeMeta(b []byte) (Meta, error) {
	d := decoder{b: b}
	format := d.byte()
	if format < metaWithoutLongest || format > metaFormat {
		d.fail(errBadFormat)
	}
	m := Meta{
		Applied:     d.uvarint(),
		AppliedTerm: d.uvarint(),
		Revision:    Version(d.uvarint()),
		LastRemoval: Version(d.uvarint()),
		Clock:       Millis(d.uvarint()),
		Keys:        d.uvarint(),
		Bytes:       d.uvarint(),
	}
	if m.Longest = min(m.Bytes, MaxValueBytes); format != metaWithoutLongest {
		m.Longest = d.uvarint()
	}
	if format > metaWithoutHorizon {
		m.Horizon.At, m.Expired, m.ExpiredBytes = Millis(d.uvarint()), d.uvarint(), d.uvarint()
		if key := d.bytes(); len(key) > 0 {
			m.Horizon.Key = slices.Clone(key)
		}
	}
	if conf := d.bytes(); len(conf) > 0 {
		m.Conf = slices.Clone(conf)
	}
	if err := d.finish(); err != nil {
		return Meta{}, corruptf("meta record: %v", err)
	}
	return m, nil
}

// ReadMeta returns the bookkeeping of a partition's replica, the zero Meta where there is none.
func ReadMeta(r Reader, id PartitionID) (Meta, error) {
	b, err := r.Get(metaKey(id, metaRecord))
	switch {
	case errors.Is(err, ErrNotFound):
		return Meta{}, nil
	case err != nil:
		return Meta{}, err
	}
	return decodeMeta(b)
}

// Partitions returns, ascending, every partition of which r holds anything, unfinished installs and drops included.
func Partitions(r Reader) ([]PartitionID, error) {
	var ids []PartitionID
	for next, more := PartitionID(0), true; more; {
		more = false
		start := appendPrefix(nil, next, colMeta)[:2]
		err := r.Scan(start, nil, true, func(k, _ []byte) (bool, error) {
			if len(k) < prefixBytes {
				return false, corruptf("engine key of %d bytes", len(k))
			}
			id := PartitionID(binary.BigEndian.Uint16(k))
			if id == MetaPartition && k[prefixBytes-1] == byte(colMeta) && k[prefixBytes] == metaLog {
				return true, nil
			}
			ids = append(ids, id)
			next, more = id+1, id != MetaPartition
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return ids, nil
}
