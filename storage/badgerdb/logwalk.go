package badgerdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"syscall"

	"github.com/ringkv/ringkv/storage"
)

// A log file of Badger 4.9: [key id u64][12 random bytes], then records, then zeros. A record is [meta u8][user meta u8]
// [key length uvarint][value length uvarint][expiry uvarint][key][value][CRC32C u32 BE of all before]. A key ends with
// the transaction's number, u64 BE, inverted. A transaction is records marked inTxn, then one marked endTxn whose value
// is the number in decimal. DESIGN.md says where this stands in Badger's source.
const (
	logHead = 20
	// logBytes is the length that Badger makes a log file with. Only repair and Badger, when it replays, shorten one, to
	// the end of the last whole transaction.
	logBytes   = 2 * memTableBytes
	tsBytes    = 8
	metaDelete = 1 << 0
	metaInTxn  = 1 << 6
	metaEndTxn = 1 << 7
)

// logWalk is what is in one log file.
type logWalk struct {
	empty       bool   // of length 0: Badger was making or removing it
	first, last uint64 // numbers of the whole transactions in it; 0 if there is none
	end         int64  // where the last of them ends
	dirty       bool   // something other than zeros follows
}

// walkLogFile reads a whole log file, up to the first transaction that is not whole. Every record is checked.
func walkLogFile(path string) (logWalk, error) {
	f, err := os.Open(path)
	if err != nil {
		return logWalk{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return logWalk{}, err
	}
	switch size := info.Size(); {
	case size == 0:
		return logWalk{empty: true}, nil
	case size < logHead:
		return logWalk{}, corrupt(path, 0, "the file was cut to %d bytes", size)
	}
	// Mapped rather than read: the file is twice as long as a memory table. Its head is data even if it is a hole.
	end := max(dataEnd(f, info.Size()), logHead)
	data, err := syscall.Mmap(int(f.Fd()), 0, int(end), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return logWalk{}, fmt.Errorf("map %s: %w", path, err)
	}
	defer func() { _ = syscall.Munmap(data) }()
	return walkLog(path, data, info.Size())
}

// walkLog walks a log file of size bytes; data is all of it but zeros at the end.
func walkLog(path string, data []byte, size int64) (logWalk, error) {
	if binary.BigEndian.Uint64(data) != 0 {
		return logWalk{}, corrupt(path, 0, "encrypted with a key that was never made")
	}
	w := logWalk{end: logHead}
	for {
		ts, end, ok := readTxn(data, w.end)
		if !ok {
			break
		}
		if w.last != 0 && ts != w.last+1 {
			return logWalk{}, corrupt(path, w.end, "commit %d follows %d", ts, w.last)
		}
		if w.first == 0 {
			w.first = ts
		}
		w.last, w.end = ts, end
	}
	if size < logBytes && size != w.end {
		return logWalk{}, corrupt(path, w.end, "the file was cut to %d bytes", size)
	}
	w.dirty = int64(len(trimZeros(data))) > w.end
	return w, nil
}

// readTxn reads the transaction at offset at, if it is whole.
func readTxn(data []byte, at int64) (ts uint64, end int64, ok bool) {
	for {
		r, ok := readRecord(data, at)
		if !ok || ts != 0 && r.ts != ts {
			return 0, 0, false
		}
		ts, at = r.ts, r.end
		if r.meta == metaEndTxn {
			return ts, at, string(r.value) == strconv.FormatUint(ts, 10)
		}
	}
}

type logRecord struct {
	meta  byte
	ts    uint64
	value []byte
	end   int64
}

// readRecord reads the record at offset at; it accepts no record that the engine does not write.
func readRecord(data []byte, at int64) (logRecord, bool) {
	b := data[at:]
	if len(b) < 5 || b[1] != 0 {
		return logRecord{}, false
	}
	meta := b[0]
	if meta != metaInTxn && meta != metaInTxn|metaDelete && meta != metaEndTxn {
		return logRecord{}, false
	}
	keyLen, n := binary.Uvarint(b[2:])
	if n <= 0 || keyLen <= tsBytes || keyLen > scratchKeyBytes+tsBytes {
		return logRecord{}, false
	}
	head := 2 + n
	valueLen, n := binary.Uvarint(b[head:])
	if n <= 0 || valueLen > storage.MaxCellBytes+sumBytes {
		return logRecord{}, false
	}
	head += n
	if len(b) <= head || b[head] != 0 {
		return logRecord{}, false // an expiry, which the engine never sets
	}
	head++
	keyEnd := head + int(keyLen)
	end := keyEnd + int(valueLen)
	if len(b) < end+crc32.Size || castagnoli(b[:end]) != binary.BigEndian.Uint32(b[end:]) {
		return logRecord{}, false
	}
	ts := ^binary.BigEndian.Uint64(b[keyEnd-tsBytes:])
	return logRecord{meta: meta, ts: ts, value: b[keyEnd:end], end: at + int64(end+crc32.Size)}, ts != 0
}

// zeroRun is the length of what holes are skipped by.
const zeroRun = 4096

func startsWithZeros(b []byte) bool {
	var zeros [zeroRun]byte
	return len(b) >= zeroRun && b[0] == 0 && bytes.Equal(b[:zeroRun], zeros[:])
}

// trimZeros returns b without the zeros at its end.
func trimZeros(b []byte) []byte {
	for len(b) >= zeroRun && startsWithZeros(b[len(b)-zeroRun:]) {
		b = b[:len(b)-zeroRun]
	}
	return bytes.TrimRight(b, "\x00")
}
