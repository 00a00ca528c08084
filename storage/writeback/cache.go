package writeback

import "hash/maphash"

// cacheBytes bounds what a cache takes, about; maxCached is the length of the longest value in it.
const (
	cacheBytes = 48 << 20
	maxCached  = 4 << 10
)

// cache has the newest committed state of cells that batches have read lately, absent ones too: the state machine reads
// an item before it changes it, and the engine below looks through all its tables for that. It belongs to the writer.
//
// It has two halves. What is read from the old one moves to the young one; when that is full, it becomes the old one, and
// what nobody has asked for meanwhile is gone.
type cache struct{ young, old *layer }

func newCache(seed maphash.Seed) cache { return cache{newLayer(seed), newLayer(seed)} }

// Marks in place of a commit's number: a cache has one version of each cell.
const (
	known   = 1
	unknown = 2 // the cell has outgrown the cache
)

// get returns the newest version of key; false where that is not known.
func (c *cache) get(hash uint64, key []byte) (version, bool) {
	v, ok := c.young.get(hash, key, newest)
	if !ok {
		if v, ok = c.old.get(hash, key, newest); ok {
			c.put(hash, key, v)
		}
	}
	return v, ok && v.commit == known
}

// put takes in the newest version of key.
func (c *cache) put(hash uint64, key []byte, v version) {
	v.commit, v.fresh = known, false
	if len(v.value) > maxCached {
		v = version{commit: unknown}
	}
	c.young.put(hash, key, v, 0)
	if c.young.arena.bytes > cacheBytes/2 {
		c.young, c.old = newLayer(c.young.seed), c.young
	}
}

// update takes in what a commit has made of key, where that is in the cache. It tells whether key is known to have been
// absent before.
func (c *cache) update(hash uint64, key []byte, v version) (wasAbsent bool) {
	was, ok := c.young.get(hash, key, newest)
	if !ok {
		if was, ok = c.old.get(hash, key, newest); !ok {
			return false
		}
	}
	c.put(hash, key, v)
	return was.commit == known && was.deleted
}
