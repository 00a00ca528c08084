package changelog

import (
	"slices"
	"sort"

	"github.com/ringkv/ringkv/storage"
)

// track is where the changes of one partition are: of everything behind floor, up to through.
type track struct {
	here    bool // there is a replica
	floor   uint64
	through uint64
	blocks  []block // ascending, without gaps in what changed
}

// block is one record of a partition; only changes up to through count.
type block struct {
	through uint64
	seg     *segment
	off     uint32
	size    uint32
}

// add takes in that the entries behind from, up to through, were recorded; seg is nil where they changed nothing.
func (t *track) add(from, through uint64, b block) {
	t.cut(from)
	if from > t.through {
		t.reset(from)
	}
	t.through = through
	if b.seg == nil {
		return
	}
	t.blocks = append(t.blocks, b)
}

// cut forgets what lies behind index: it will be recorded again.
func (t *track) cut(index uint64) {
	if index >= t.through {
		return
	}
	if index < t.floor {
		t.reset(index)
		return
	}
	n := t.behind(index)
	if n < len(t.blocks) { // the first that reaches behind index may begin before it
		t.blocks[n].through = index
		n++
	}
	t.blocks, t.through = t.blocks[:n], index
}

// reset begins anew: nothing up to index is kept.
func (t *track) reset(index uint64) {
	t.floor, t.through, t.blocks = index, index, nil
}

// behind is the number of the first block that reaches behind index.
func (t *track) behind(index uint64) int {
	return sort.Search(len(t.blocks), func(i int) bool { return t.blocks[i].through > index })
}

// forget drops the blocks of a segment, which are the oldest.
func (t *track) forget(seg *segment) {
	n := 0
	for n < len(t.blocks) && t.blocks[n].seg == seg {
		t.floor = t.blocks[n].through
		n++
	}
	if t.blocks = t.blocks[n:]; len(t.blocks) == 0 {
		t.blocks = nil
	} else if cap(t.blocks) > 4*len(t.blocks) {
		t.blocks = slices.Clone(t.blocks)
	}
}

// lose takes in that the entries behind from, up to through, could not be recorded.
func (t *track) lose(c *storage.Changes) { t.reset(c.Through) }
