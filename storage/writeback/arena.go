package writeback

import "encoding/binary"

// arena is memory for entries. They are never moved, changed or freed one by one.
type arena struct {
	chunks [][]byte // each filled up to its length
	bytes  int      // that they take
}

// ref is where in an arena an entry begins: number of the chunk and offset. 0 is none.
type ref uint32

const (
	offsetBits = 20
	maxChunk   = 1 << offsetBits
	minChunk   = 8 << 10
	// The head of a chunk stays empty, so that no entry is at 0.
	chunkHead = 1
)

// entry is one version of a cell, as it lies in an arena or in the cache:
// [next ref u32][tag u32][cell u32][commit u64][length of the value u32, with flags][length of the key u16][key][value].
type entry []byte

const (
	entryHead   = 4 + 4 + 4 + 8 + 4 + 2
	deletedFlag = 1 << 31
	freshFlag   = 1 << 30
	lengthMask  = freshFlag - 1
)

func (e entry) next() ref      { return ref(binary.LittleEndian.Uint32(e)) }
func (e entry) tag() tag       { return tag(binary.LittleEndian.Uint32(e[4:])) }
func (e entry) cell() cell     { return cell(binary.LittleEndian.Uint32(e[8:])) }
func (e entry) commit() uint64 { return binary.LittleEndian.Uint64(e[12:]) }
func (e entry) length() uint32 { return binary.LittleEndian.Uint32(e[20:]) & lengthMask }
func (e entry) deleted() bool  { return binary.LittleEndian.Uint32(e[20:])&deletedFlag != 0 }
func (e entry) fresh() bool    { return binary.LittleEndian.Uint32(e[20:])&freshFlag != 0 }

func (e entry) keyEnd() int { return entryHead + int(binary.LittleEndian.Uint16(e[24:])) }
func (e entry) end() int    { return e.keyEnd() + int(e.length()) }

func (e entry) key() []byte {
	end := e.keyEnd()
	return e[entryHead:end:end]
}

func (e entry) value() []byte {
	end := e.end()
	return e[e.keyEnd():end:end]
}

func (e entry) version() version {
	return version{commit: e.commit(), value: e.value(), deleted: e.deleted(), fresh: e.fresh()}
}

// at returns the entry at r, and what lies behind it in its chunk.
func (a *arena) at(r ref) entry {
	return a.chunks[r>>offsetBits][r&(maxChunk-1):]
}

// appendEntry appends what is an entry from there on.
func appendEntry(dst []byte, next ref, t tag, at cell, key []byte, v version) []byte {
	length := uint32(len(v.value))
	if v.deleted {
		length = deletedFlag
	}
	if v.fresh {
		length |= freshFlag
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(next))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(t))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(at))
	dst = binary.LittleEndian.AppendUint64(dst, v.commit)
	dst = binary.LittleEndian.AppendUint32(dst, length)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(key)))
	dst = append(dst, key...)
	return append(dst, v.value...)
}

// add copies a version of a cell into the arena.
func (a *arena) add(next ref, t tag, at cell, key []byte, v version) ref {
	a.reserve(entryHead + len(key) + len(v.value))
	n := len(a.chunks) - 1
	c := a.chunks[n]
	a.chunks[n] = appendEntry(c, next, t, at, key, v)
	return ref(n<<offsetBits | len(c))
}

// reserve makes sure that the last chunk has room. Chunks grow with their number, for most batches are small.
func (a *arena) reserve(bytes int) {
	n := len(a.chunks)
	if n > 0 && cap(a.chunks[n-1])-len(a.chunks[n-1]) >= bytes {
		return
	}
	size := maxChunk
	if n < 7 {
		size = minChunk << n
	}
	size = max(size, chunkHead+bytes)
	a.chunks = append(a.chunks, make([]byte, chunkHead, size))
	a.bytes += size
}

// clear empties an arena that nobody reads any more. One chunk stays, the largest.
func (a *arena) clear() {
	if n := len(a.chunks); n > 0 {
		c := a.chunks[n-1]
		a.chunks[0], a.bytes = c[:chunkHead], cap(c)
		clear(a.chunks[1:])
		a.chunks = a.chunks[:1]
	}
}
