package storage

import "strconv"

// overlay is what a branch has made of the keys that it touched, in the order in which it touched them.
type overlay struct {
	edits   []edit
	index   map[string]int // of edits by key, once there are many
	results []OpResult     // memory of those of the branch
}

// manyEdits is from where on an index is cheaper than comparing.
const manyEdits = 16

// edit is one key in an overlay.
type edit struct {
	key     []byte
	old     record // as stored
	exists  bool
	written bool   // by the branch; otherwise all is as stored
	value   []byte // of what was written

	// The deadline that it gets: ttl counts from the commit; keep is that of old; else none.
	keep bool
	ttl  Millis
	// contentType is of old where an addition changed it, else none.
	contentType []byte
}

// at returns the edit of key; it is valid until the next call.
func (o *overlay) at(read source, key []byte) (*edit, error) {
	if i, ok := o.find(key); ok {
		return &o.edits[i], nil
	}
	old, err := read.item(key)
	if err != nil {
		return nil, err
	}
	if o.index != nil {
		o.index[string(key)] = len(o.edits)
	}
	o.edits = append(o.edits, edit{key: key, old: old, exists: old.exists(), keep: true, contentType: old.contentType})
	return &o.edits[len(o.edits)-1], nil
}

func (o *overlay) find(key []byte) (int, bool) {
	if len(o.edits) >= manyEdits && o.index == nil {
		o.index = make(map[string]int, 2*len(o.edits))
		for i := range o.edits {
			o.index[string(o.edits[i].key)] = i
		}
	}
	if o.index != nil {
		i, ok := o.index[string(key)]
		return i, ok
	}
	for i := range o.edits {
		if string(o.edits[i].key) == string(key) {
			return i, true
		}
	}
	return 0, false
}

func (e *edit) put(op *TxnOp) {
	e.keep = op.KeepTTL && e.exists && e.keep
	if !op.KeepTTL || !e.exists {
		e.ttl = op.TTL
	}
	e.exists, e.written, e.value, e.contentType = true, true, op.Value, nil
}

func (e *edit) delete() {
	*e = edit{key: e.key, old: e.old, written: true}
}

// set gives the key another value and leaves it all else.
func (e *edit) set(value []byte) {
	e.exists, e.written, e.value = true, true, value
}

// length is that of the value as it is now.
func (e *edit) length() uint64 {
	if e.written {
		return uint64(len(e.value))
	}
	return e.old.length
}

// short returns the value as it is now, which is not split.
func (e *edit) short() []byte {
	if e.written {
		return e.value
	}
	return e.old.inline
}

// maxNumber is the length of the longest number.
const maxNumber = len("-9223372036854775808")

// number returns the value as a number; an absent key counts as 0.
func (e *edit) number() (int64, OpFailure) {
	if !e.exists {
		return 0, 0
	}
	if e.length() > uint64(maxNumber) {
		return 0, OpNoNumber
	}
	n, ok := parseNumber(e.short())
	if !ok {
		return 0, OpNoNumber
	}
	return n, 0
}

// parseNumber accepts -?(0|[1-9][0-9]*) in 64 bits, and nothing else.
func parseNumber(v []byte) (int64, bool) {
	digits := v
	if len(v) > 0 && v[0] == '-' {
		digits = v[1:]
	}
	if len(digits) == 0 || digits[0] < '0' || digits[0] > '9' || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}

// changes tells whether committing e changes anything.
func (e *edit) changes() bool { return e.written && (e.exists || e.old.exists()) }

// deadline is what e's key gets when it is committed at clock.
func (e *edit) deadline(clock Millis) Millis {
	switch {
	case e.keep:
		return e.old.deadline
	case e.ttl != 0:
		return clock + e.ttl
	}
	return 0
}

// record is what e's key gets when it is committed at clock.
func (e *edit) record(version Version, clock Millis) record {
	return record{
		version: version, deadline: e.deadline(clock), contentType: e.contentType, length: uint64(len(e.value)), inline: e.value,
		split: isSplit(uint64(len(e.value))),
	}
}

// cost bounds what committing e adds to a batch: the record, the expiry index and the value's cells, old and new, those of
// an expired one too.
func (e *edit) cost() int {
	if !e.changes() {
		return 0
	}
	rec := e.record(0, 0)
	n := 1 + int(rec.chunks()) + int(e.old.chunks()) + int(e.old.stale)
	if e.old.deadline != 0 {
		n++
	}
	if e.keep || e.ttl != 0 {
		n++
	}
	return recordFixedMax + len(e.contentType) + len(e.value) + n*writeCost(len(e.key))
}
