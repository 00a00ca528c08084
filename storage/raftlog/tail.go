package raftlog

// tailBytes is how much of the log's end is kept in memory. raft reads an entry back when it is committed, a moment
// after it was written; this spares the system call.
const tailBytes = 1 << 20

// tail holds the last bytes written to the active segment, byte off at
// buf[off % len(buf)].
type tail struct {
	buf      []byte
	segment  uint32
	from, to int64
}

// put takes over rec, written at off.
func (t *tail) put(segment uint32, off int64, rec []byte) {
	if segment != t.segment || off != t.to {
		t.segment, t.from, t.to = segment, off, off
	}
	size, end := int64(len(t.buf)), off+int64(len(rec))
	t.to = end
	t.from = max(t.from, end-size)
	if keep := end - t.from; keep < int64(len(rec)) {
		rec, off = rec[int64(len(rec))-keep:], t.from
	}
	n := copy(t.buf[off%size:], rec)
	copy(t.buf, rec[n:])
}

// get fills b with what was written at off and reports false if that is not held any more.
func (t *tail) get(segment uint32, off int64, b []byte) bool {
	if segment != t.segment || off < t.from || off+int64(len(b)) > t.to {
		return false
	}
	n := copy(b, t.buf[off%int64(len(t.buf)):])
	copy(b[n:], t.buf)
	return true
}
