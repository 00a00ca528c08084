package badgerdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
)

const manifestName = badger.ManifestFilename

// checkTables checks the manifest and every table that it lists and returns the number of the last commit in them.
func checkTables(dir string) (uint64, error) {
	ids, err := readManifest(filepath.Join(dir, manifestName))
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, id := range ids {
		commit, err := checkTable(tablePath(dir, id))
		if err != nil {
			return 0, err
		}
		last = max(last, commit)
	}
	return last, nil
}

func tablePath(dir string, id uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%06d%s", id, tableSuffix))
}

// readManifest returns the ids of the tables that the manifest lists, ascending.
func readManifest(path string) ([]uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := checkManifest(path, b); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(""))
	if err != nil {
		return nil, &CorruptError{Path: path, Reason: "not a manifest", Err: err}
	}
	return slices.Sorted(maps.Keys(m.Tables)), nil
}

// checkManifest looks at the end of a manifest: [magic 8 bytes], then ([length u32 BE][CRC32C u32 BE][changes])….
// Badger takes a length that goes beyond the end for a record that was torn, cuts it off and deletes the tables that are
// then listed no more. It was torn only if the bytes that are there are no prefix with that checksum, and no record
// follows; the rest of the checks are Badger's.
func checkManifest(path string, b []byte) error {
	const head = 8
	at := head
	for at+head <= len(b) {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n > len(b)-at-head {
			break
		}
		at += head + n
	}
	if at+head > len(b) {
		return nil
	}
	rest := b[at+head:]
	want := binary.BigEndian.Uint32(b[at+4:])
	for n := range rest {
		if castagnoli(rest[:n+1]) == want {
			return corrupt(path, int64(at), "length of a record")
		}
		if recordAt(rest[n:]) {
			return corrupt(path, int64(at), "bad record with good ones behind it")
		}
	}
	return nil
}

// recordAt tells whether b begins with a whole record of a manifest.
func recordAt(b []byte) bool {
	if len(b) <= 8 {
		return false
	}
	n := int(binary.BigEndian.Uint32(b))
	return n > 0 && n <= len(b)-8 && castagnoli(b[8:8+n]) == binary.BigEndian.Uint32(b[4:])
}

// checkTable checks every block of a table and returns the number of the last commit in it. A table is blocks, then
// [index][length u32 BE][checksum][length u32 BE]; a block ends with [checksum][length u32 BE] too, and a checksum is
// a protobuf message with the CRC32C of all before it.
func checkTable(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return 0, corrupt(path, 0, "the file is missing")
		}
		return 0, err
	}
	defer f.Close()
	t := tableReader{f: f, path: path}
	index, err := t.index()
	if err != nil {
		return 0, err
	}
	root := fb.GetRootAsTableIndex(index, 0)
	var block fb.BlockOffset
	for i := range root.OffsetsLength() {
		if !root.Offsets(&block, i) {
			return 0, corrupt(path, 0, "block %d is not in the index", i)
		}
		if err := t.block(int64(block.Offset()), int64(block.Len())); err != nil {
			return 0, err
		}
	}
	return root.MaxVersion(), nil
}

type tableReader struct {
	f    *os.File
	path string
	buf  []byte
}

// index returns the table's index, its checksum found good.
func (t *tableReader) index() ([]byte, error) {
	info, err := t.f.Stat()
	if err != nil {
		return nil, err
	}
	sum, end, err := t.trailer(info.Size())
	if err != nil {
		return nil, err
	}
	size, err := t.length(end)
	if err != nil {
		return nil, err
	}
	start := end - 4 - size
	index, err := t.read(start, size)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sum, checksumMessage(index)) {
		return nil, corrupt(t.path, start, "checksum of the index")
	}
	return bytes.Clone(index), nil
}

// block checks the checksum of a block.
func (t *tableReader) block(offset, size int64) error {
	sum, end, err := t.trailer(offset + size)
	if err != nil {
		return err
	}
	if end < offset {
		return corrupt(t.path, offset, "length of a block's checksum")
	}
	data, err := t.read(offset, end-offset)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum, checksumMessage(data)) {
		return corrupt(t.path, offset, "checksum of a block")
	}
	return nil
}

// trailer returns the checksum message that ends at offset end, its length included, and where it begins.
func (t *tableReader) trailer(end int64) (sum []byte, start int64, err error) {
	size, err := t.length(end)
	if err != nil {
		return nil, 0, err
	}
	start = end - 4 - size
	sum, err = t.read(start, size)
	return bytes.Clone(sum), start, err
}

func (t *tableReader) length(end int64) (int64, error) {
	b, err := t.read(end-4, 4)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint32(b)), nil
}

// read returns bytes of the table; they are valid until the next call.
func (t *tableReader) read(offset, size int64) ([]byte, error) {
	const most = 1 << 30
	if offset < 0 || size < 0 || size > most {
		return nil, corrupt(t.path, max(offset, 0), "a length beyond the file")
	}
	if int64(cap(t.buf)) < size {
		info, err := t.f.Stat()
		if err != nil {
			return nil, err
		}
		if size > info.Size() {
			return nil, corrupt(t.path, offset, "a length beyond the file")
		}
		t.buf = make([]byte, size)
	}
	b := t.buf[:size]
	if _, err := t.f.ReadAt(b, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, corrupt(t.path, offset, "cut short")
		}
		return nil, err
	}
	return b, nil
}

// checksumMessage is what Badger writes as the checksum of b: a protobuf message whose first field, the algorithm, is
// left out as it is 0, and whose second is the sum.
func checksumMessage(b []byte) []byte {
	sum := castagnoli(b)
	if sum == 0 {
		return nil
	}
	return binary.AppendUvarint([]byte{0x10}, uint64(sum))
}
