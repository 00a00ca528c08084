package writeback

import "bytes"

// cacheBytes bounds what the entries of a cache take, cacheCells their number, so that its index takes 8 MiB at most;
// maxCached is the length of the longest value in it.
const (
	cacheBytes = 48 << 20
	cacheCells = 1 << 20 / 8 * 5
	maxCached  = 4 << 10
)

// Entries lie in pieces of so many bytes, several of the longest. Of a piece whose turn has come not all is kept, so that
// there is room for others.
const (
	pieceBits  = 16
	pieceBytes = 1 << pieceBits
	mostKept   = pieceBytes / 4 * 3
)

// cache has cells as they are in the engine below, absent ones too, that somebody has read lately: that engine looks for
// them through its memory tables and on every level. The lock of the Engine guards it.
//
// The states of the engine below, which are its bases, are numbered, and so is each entry: with the first one that has the
// cell so. It holds for all later ones, up to the newest: what a flight changes is changed here before readers see the base
// that has it, and only who has read the newest base may add to the cache. So what readers of an older one see, which may
// be open for long, is what the entry's number says.
//
// Entries lie one behind the other in pieces of memory, which are a ring. When the turn of a piece comes again, what
// nobody has asked for since its last is gone, and the rest moves into a new piece in its place: who reads an entry goes on
// reading the old one.
type cache struct {
	number uint64 // of the newest base
	index  index
	pieces [][]byte // each filled up to its length
	last   int      // the one being filled
	most   int      // pieces
	cells  int      // at most
}

func newCache() cache {
	return cache{index: newIndex(), last: -1, most: cacheBytes / pieceBytes, cells: cacheCells}
}

// forget leaves nothing of what was read from bases up to now; the next one can be anything.
func (c *cache) forget() {
	c.number++
	c.index, c.pieces, c.last = newIndex(), nil, -1
}

func (c *cache) at(r ref) entry {
	return c.pieces[r>>pieceBits&(1<<(31-pieceBits)-1)][r&(pieceBytes-1):]
}

// find returns the place of key in the index, which has no entry if key is not in the cache.
func (c *cache) find(t tag, key []byte) int {
	at := c.index.home(t)
	for {
		s := &c.index.slots[at]
		r := s.load()
		if r == 0 || s.tag == t && bytes.Equal(c.at(r).key(), key) {
			return at
		}
		at = c.index.after(at)
	}
}

// get returns the state of key in the base of that number; false where that is not known. Others may do the same at a time.
func (c *cache) get(t tag, key []byte, number uint64) (version, bool) {
	s := &c.index.slots[c.find(t, key)]
	r := s.load()
	if r == 0 || c.at(r).commit() > number {
		return version{}, false
	}
	if r&asked == 0 {
		s.ask()
	}
	return c.at(r).version(), true
}

// add takes in what was read from the newest base.
func (c *cache) add(t tag, key []byte, v version) {
	if c.index.slots[c.find(t, key)].entry == 0 {
		c.put(t, key, v)
	}
}

// update takes in what a flight has made of a cell, where that cell is in the cache. The base with it has the cache's number.
func (c *cache) update(e entry) {
	at := c.find(e.tag(), e.key())
	switch {
	case c.index.slots[at].entry == 0:
	case e.length() > maxCached:
		c.index.remove(at)
	default:
		c.put(e.tag(), e.key(), e.version())
	}
}

// put adds an entry for key, in place of the one that is there.
func (c *cache) put(t tag, key []byte, v version) {
	full := c.index.used >= c.cells
	if full || c.last < 0 || len(c.pieces[c.last])+entryHead+len(key)+len(v.value) > pieceBytes {
		c.turn(full)
	}
	at := c.find(t, key)
	if c.index.slots[at].entry == 0 && c.index.used >= c.cells {
		return // nothing of the piece was in use; the next put tries the next one
	}
	v.commit, v.fresh = c.number, false
	piece := c.pieces[c.last]
	c.pieces[c.last] = appendEntry(piece, 0, t, 0, key, v)
	c.index.set(at, t, ref(c.last<<pieceBits|len(piece)))
}

// turn begins the next piece, with what is kept of the one that was in its place: nothing if there are too many cells.
func (c *cache) turn(full bool) {
	c.last++
	begun := make([]byte, chunkHead, pieceBytes)
	if c.last == len(c.pieces) && c.last < c.most && !full {
		c.pieces = append(c.pieces, begun)
		return
	}
	if c.last == len(c.pieces) {
		c.last = 0
	}
	old, keep := c.pieces[c.last], mostKept
	if full {
		keep = 0
	}
	c.pieces[c.last] = c.inherit(begun, old, keep)
}

// inherit appends to piece what is in use of old, has been asked for since it came there, and fits into keep bytes. The rest
// is gone. A reference to the new piece cannot be taken for one to an entry of the old that is still to be looked at: entries
// only move towards the front.
func (c *cache) inherit(piece, old []byte, keep int) []byte {
	for from := chunkHead; from < len(old); {
		e := entry(old[from:])
		e = e[:e.end()]
		r := ref(c.last<<pieceBits | from)
		from += len(e)
		at := c.index.findRef(e.tag(), r)
		switch {
		case at < 0:
		case c.index.slots[at].entry&asked == 0 || len(piece)+len(e) > keep:
			c.index.remove(at)
		default:
			c.index.slots[at].entry = ref(c.last<<pieceBits | len(piece))
			piece = append(piece, e...)
		}
	}
	return piece
}
