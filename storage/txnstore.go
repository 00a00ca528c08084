package storage

import (
	"encoding/binary"
	"slices"

	"github.com/ringkv/ringkv/ring"
)

const txnIDBytes = 4 + 4 + 8

// appendTxnKey appends the engine key of a record.
func appendTxnKey(dst []byte, id PartitionID, c column, t TxnID) []byte {
	dst = appendPrefix(dst, id, c)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Node))
	dst = binary.BigEndian.AppendUint32(dst, t.Incarnation)
	return binary.BigEndian.AppendUint64(dst, t.Seq)
}

func txnKey(id PartitionID, t TxnID) []byte {
	return appendTxnKey(make([]byte, 0, prefixBytes+txnIDBytes), id, colTxn, t)
}

// splitTxnKey takes a whole engine key apart.
func splitTxnKey(k []byte) (TxnID, error) {
	if len(k) != prefixBytes+txnIDBytes {
		return TxnID{}, corruptf("transaction key of %d bytes", len(k))
	}
	k = k[prefixBytes:]
	return TxnID{
		Node: ring.NodeID(binary.BigEndian.Uint32(k)), Incarnation: binary.BigEndian.Uint32(k[4:]), Seq: binary.BigEndian.Uint64(k[8:]),
	}, nil
}

func txnBodyKey(id PartitionID, t TxnID, chunk uint32) []byte {
	k := appendTxnKey(make([]byte, 0, prefixBytes+txnIDBytes+4), id, colTxnBody, t)
	return binary.BigEndian.AppendUint32(k, chunk)
}

// writeRecord stores r with a new body; was is how many cells the old body took.
func (p *Partition) writeRecord(b Batch, r *txnRecord, body []byte, was uint32) error {
	r.body = uint64(len(body))
	key := func(chunk uint32) []byte { return txnBodyKey(p.id, r.id, chunk) }
	inline := body
	if r.split() {
		inline = nil
		if err := setChunks(b, key, body); err != nil {
			return err
		}
	}
	if err := deleteChunks(b, key, r.chunks(), was); err != nil {
		return err
	}
	return p.setRecord(b, r, inline)
}

// setRecord stores r's own cell.
func (p *Partition) setRecord(b Batch, r *txnRecord, inline []byte) error {
	n := 0
	if r.open != nil {
		n = len(r.open.Participants)
	}
	p.buf.key = appendTxnKey(p.buf.key[:0], p.id, colTxn, r.id)
	p.buf.cell = append(appendTxnRecord(slices.Grow(p.buf.cell[:0], txnHeadMax(n)+len(inline)), r), inline...)
	if r.stored {
		return b.Set(p.buf.key, p.buf.cell)
	}
	r.stored = true
	return b.Create(p.buf.key, p.buf.cell)
}

// rewriteRecord stores r where its body stays as it is.
func (p *Partition) rewriteRecord(b Batch, r *txnRecord) error {
	if r.split() {
		return p.setRecord(b, r, nil)
	}
	body, err := readBody(b, p.id, r)
	if err != nil {
		return err
	}
	return p.setRecord(b, r, body)
}

// readBody returns the body as the engine holds it; it may alias what from handed out.
func readBody(from Reader, id PartitionID, r *txnRecord) ([]byte, error) {
	if r.body == 0 {
		return nil, nil
	}
	if r.split() {
		return readChunks(from, func(chunk uint32) []byte { return txnBodyKey(id, r.id, chunk) }, r.body)
	}
	cell, err := from.Get(txnKey(id, r.id))
	if err != nil {
		return nil, missingCell(err, id, txnKey(id, r.id))
	}
	_, inline, err := decodeTxnRecord(r.id, cell)
	return inline, err
}

// setChunks stores v in cells of its own.
func setChunks(b Batch, key func(chunk uint32) []byte, v []byte) error {
	for chunk := uint32(0); len(v) > 0; chunk++ {
		n := min(len(v), MaxCellBytes)
		if err := b.Set(key(chunk), v[:n]); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}

// deleteChunks removes the cells from chunk number from up to, not including, to.
func deleteChunks(b Batch, key func(chunk uint32) []byte, from, to uint32) error {
	for chunk := from; chunk < to; chunk++ {
		if err := b.Delete(key(chunk)); err != nil {
			return err
		}
	}
	return nil
}

// readChunks returns what setChunks stored, of a known length.
func readChunks(from Reader, key func(chunk uint32) []byte, length uint64) ([]byte, error) {
	if length > MaxApplyBytes {
		return nil, corruptf("%d bytes in chunks", length)
	}
	v := make([]byte, 0, length)
	for chunk := uint32(0); uint64(len(v)) < length; chunk++ {
		cell, err := from.Get(key(chunk))
		if err != nil {
			return nil, missingChunk(err, key(chunk))
		}
		if len(cell) == 0 {
			break
		}
		v = append(v, cell...)
	}
	if uint64(len(v)) != length {
		return nil, corruptf("chunks of %d bytes, their record says %d", len(v), length)
	}
	return v, nil
}

func missingChunk(err error, key []byte) error {
	return missingCell(err, PartitionID(binary.BigEndian.Uint16(key)), key[prefixBytes:])
}
