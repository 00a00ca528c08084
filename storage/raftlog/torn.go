package raftlog

// The rules that tell a torn write from damage. Bytes beyond the last record were zero when it was written, and a
// power cut leaves every sector as it was or as it should be, or cuts a write short at some byte. So something torn
// shows zeros where it should not; something whole that fails its checksum is damaged.

// judgeTail decides what follows the last intact record of the last segment, where record seq is due: nil for nothing
// or a write that never finished, *CorruptError for damage.
func judgeTail(s *segment, content []byte, seq uint64) error {
	if later, off := synced(s, content, seq); later != 0 {
		return s.corrupt(s.end, "record %d is damaged: record %d at offset %d is intact and was written after it was synced",
			seq, later, off)
	}
	if !tornRecord(content, s.end, s.seed) {
		return s.corrupt(s.end, "record %d, the last one, was written as a whole and fails its checksum", seq)
	}
	return nil
}

// synced looks for a record behind s.end that was written when record seq was known to be on disk, and returns its
// sequence number and offset, or 0. Without one, record seq and all behind it belong to the last sync window: none of
// them was acknowledged, unless they are on disk as they were written.
func synced(s *segment, content []byte, seq uint64) (uint64, int64) {
	off := s.end + align
	if r, ok := parseRecordInfo(content[s.end:], s.seed); ok {
		off = s.end + int64(r.size())
	}
	for ; off+recordHeader <= int64(len(content)); off += align {
		r, ok := parseRecordInfo(content[off:], s.seed)
		if ok && r.seq > seq && r.durable >= seq {
			return r.seq, off
		}
	}
	return 0, 0
}

// tornRecord reports whether the bad record at off can come from a write that was cut short.
func tornRecord(content []byte, off int64, seed uint32) bool {
	rec := content[off:]
	r, ok := parseRecordInfo(rec, seed)
	if !ok {
		return len(rec) < recordHeader || rec[recordHeader-1] == 0
	}
	if r.size() > len(rec) || rec[r.size()-1] == 0 {
		return true
	}
	for rec = rec[:r.size()]; len(rec) > 0; {
		n := min(int64(len(rec)), sector-off%sector)
		if allZero(rec[:n]) {
			return true
		}
		rec, off = rec[n:], off+n
	}
	return false
}

// tornHeader reports whether content is a segment whose creation was cut short before its header was synced.
func tornHeader(content []byte) bool {
	if len(content) < segmentHeader {
		return true
	}
	return content[segmentHeader-1] == 0 && allZero(content[segmentHeader:])
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if le.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
