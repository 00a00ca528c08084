package storage

import (
	"encoding/binary"
	"slices"
)

// ChangeKind tells what happened to a key.
type ChangeKind uint8

// The kinds of changes. The numbers travel between nodes: append only.
const (
	ChangePut    ChangeKind = 1
	ChangeDelete ChangeKind = 2
	ChangeExpire ChangeKind = 3
)

// String is the kind's name in the API.
func (k ChangeKind) String() string {
	switch k {
	case ChangePut:
		return "put"
	case ChangeDelete:
		return "delete"
	case ChangeExpire:
		return "expire"
	}
	return "unknown"
}

// Change is one change of one key.
type Change struct {
	Index   uint64 // of the entry that made it
	Number  uint32 // its place among the entry's changes, from 0
	Last    bool   // it is the entry's last
	Kind    ChangeKind
	Key     []byte
	Version Version
	Value   []byte // of a put; nil if it is not known, or not any more
	Txn     TxnID  // zero if no transaction made it
	Home    PartitionID
}

// Changes is what the entries behind From, up to Through, changed in a partition. Data is DecodeChanges' to understand.
type Changes struct {
	Partition     PartitionID
	From, Through uint64
	Data          []byte
}

// MaxChangeValue is the length of the longest value that Changes hold; of a longer one they say only that it was put.
const MaxChangeValue = 64 << 10

// recorder gathers what entries change, in memory.
type recorder struct {
	on    bool
	data  []byte
	from  uint64      // up to here it was taken
	begun bool        // the entry at hand has changed something
	txn   *TxnCommand // nil: none
}

// maxRecorder is the capacity that a recorder keeps from one TakeChanges to the next.
const maxRecorder = 64 << 10

// RecordChanges begins to gather what entries change. Whoever calls it calls TakeChanges after every batch.
func (p *Partition) RecordChanges() {
	p.recorder = recorder{on: true, from: p.meta.Applied}
}

// TakeChanges returns what was changed since the last call. Data is valid until the next Apply.
func (p *Partition) TakeChanges() Changes {
	r := &p.recorder
	c := Changes{Partition: p.id, From: r.from, Through: p.meta.Applied, Data: r.data}
	r.from = p.meta.Applied
	if r.data = r.data[:0]; cap(r.data) > maxRecorder {
		r.data = nil
	}
	return c
}

// begin is called before an entry is applied.
func (r *recorder) begin(c *Command) { r.begun, r.txn = false, c.Txn }

// put records that key has a new record.
func (r *recorder) put(index uint64, key []byte, rec *record) {
	if !r.on {
		return
	}
	r.entry(index)
	if rec.length > MaxChangeValue {
		r.data = appendBytes(appendUvarints(append(r.data, tagPutElsewhere), uint64(rec.version)), key)
		return
	}
	r.data = appendBytes(appendUvarints(append(r.data, tagPut), uint64(rec.version)), key)
	r.data = appendBytes(r.data, rec.inline)
}

// remove records that key was deleted, which is version v.
func (r *recorder) remove(index uint64, key []byte, v Version) { r.gone(index, tagDelete, key, v) }

// expire records that key expired, which is version v. Where that comes with the end of a transaction, it is not its doing.
func (r *recorder) expire(index uint64, key []byte, v Version) { r.gone(index, tagExpire, key, v) }

func (r *recorder) gone(index uint64, tag byte, key []byte, v Version) {
	if r.on {
		r.entry(index)
		r.data = appendBytes(appendUvarints(append(r.data, tag), uint64(v)), key)
	}
}

// entry puts the entry's head before its first change.
func (r *recorder) entry(index uint64) {
	if r.begun {
		return
	}
	r.begun = true
	if r.txn == nil {
		r.data = binary.AppendUvarint(append(r.data, tagEntry), index-r.from)
		return
	}
	t := r.txn.ID
	r.data = binary.AppendUvarint(append(r.data, tagTxnEntry), index-r.from)
	r.data = appendUvarints(r.data, uint64(t.Node), uint64(t.Incarnation), t.Seq, uint64(r.txn.Home))
}

// FindValue gives a put its value where that was too long to be kept and is the present one in r.
func (c *Change) FindValue(r Reader, id PartitionID) error {
	if c.Kind != ChangePut || c.Value != nil {
		return nil
	}
	rec, err := lookup(r, id, c.Key)
	if err == nil && rec.exists() && rec.version == c.Version {
		c.Value, err = rec.value(r, id, c.Key)
	}
	return err
}

// Clone returns a change that shares no memory with c.
func (c *Change) Clone() Change {
	own := *c
	own.Key = slices.Clone(c.Key)
	if c.Value != nil {
		own.Value = append(make([]byte, 0, len(c.Value)), c.Value...)
	}
	return own
}

// Size is about what the change takes in memory, in bytes.
func (c *Change) Size() int { return len(c.Key) + len(c.Value) + changeOverhead }

const changeOverhead = 160
