package storage

// draft is a part as it was decoded and what was evaluated of it, with the memory of both: what a YES keeps until its
// decision. A partition uses drafts again, which is why a Result that is kept has to be cloned.
type draft struct {
	evaluation
	prepare Prepare // decoded from bytes
	bytes   []byte  // the entry, copied: the draft outlives the batch of entries that it came in
	bounds  []int64 // of additions
	locks   []lock
	keep    bool // there is room to keep it, if the vote is YES
}

// drafts are those of a partition that nothing is using.
type drafts struct {
	free []*draft
	used []*draft // by the entry at hand, whose result may still point there
}

const (
	maxFreeDrafts = 32 // in doubt in one partition at a time are mostly fewer
	maxDraftItems = 16 // of one that is used again: so they take 10 KiB at most, and mostly 1
)

// take returns a draft for an entry of so many bytes. One for a long entry is not used again.
func (ds *drafts) take(entry []byte, keep bool) *draft {
	if len(entry) > inlineBody {
		d := &draft{bytes: entry}
		d.part = &d.prepare
		return d
	}
	d := ds.pop()
	d.bytes, d.keep = append(d.bytes[:0], entry...), keep
	ds.used = append(ds.used, d)
	return d
}

func (ds *drafts) pop() *draft {
	n := len(ds.free)
	if n == 0 {
		d := new(draft)
		d.part = &d.prepare
		return d
	}
	d := ds.free[n-1]
	ds.free[n-1] = nil
	ds.free = ds.free[:n-1]
	d.empty()
	return d
}

// hold takes d out of those that the entry at hand gives back: a record keeps it from now on.
func (ds *drafts) hold(d *draft) {
	for i, u := range ds.used {
		if u == d {
			ds.used[i] = ds.used[len(ds.used)-1]
			ds.used = ds.used[:len(ds.used)-1]
			return
		}
	}
}

// giveBack takes a draft that no record keeps any more. It stays as it is until the next entry.
func (ds *drafts) giveBack(d *draft) { ds.used = append(ds.used, d) }

// end makes the drafts that were used free for the next entry. What they had of the batch they let go.
func (ds *drafts) end() {
	for i, d := range ds.used {
		ds.used[i] = nil
		if len(ds.free) < maxFreeDrafts && d.items() <= maxDraftItems {
			d.read = nil
			clear(d.then.edits)
			clear(d.otherwise.edits)
			ds.free = append(ds.free, d)
		}
	}
	ds.used = ds.used[:0]
}

// body is what stands behind the header of the entry: the body of a YES.
func (d *draft) body() []byte { return d.bytes[denyOffset:] }

// lock finds out which locks the part takes.
func (d *draft) lock() { d.locks = appendLocks(d.locks[:0], d.part) }

// items is for how many conditions and operations d has memory.
func (d *draft) items() int { return cap(d.prepare.If) + cap(d.prepare.Then) + cap(d.prepare.Else) }

// empty leaves nothing of what d was, but its memory.
func (d *draft) empty() {
	p := &d.prepare
	*p = Prepare{Participants: p.Participants[:0], If: p.If[:0], Then: p.Then[:0], Else: p.Else[:0]}
	d.evaluation = evaluation{
		part: p, seen: d.seen, numbers: d.numbers[:0], then: d.then.emptied(), otherwise: d.otherwise.emptied(),
	}
	d.bounds, d.locks, d.keep = d.bounds[:0], d.locks[:0], false
}

// emptied returns an overlay that has nothing but the memory of o.
func (o *overlay) emptied() overlay { return overlay{edits: o.edits[:0], results: o.results} }

// sized returns n elements, in the memory of s if that suffices; what they are is left from another use.
func sized[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return make([]T, n)
}
