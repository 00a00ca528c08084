package serial

import "slices"

// settle finds the version order of k: every list must be the beginning of the longest one.
func (c *checker) settle(k *keyHistory) {
	c.resolveViews(k)
	longest := k.longest(func(v *view) int { return len(v.refs) })
	if longest == nil {
		return
	}
	k.order = longest.refs
	for pos, ref := range k.order {
		k.appends[ref].pos = int32(pos)
	}
	for i := range k.views {
		v := &k.views[i]
		if !k.begins(v.refs) {
			v.bad = true
			c.found.note(IncompatibleOrder, c.sublist(v.txn, longest.txn), func() []string {
				return []string{c.sayIncompatible(k, v, longest)}
			})
		}
	}
	c.checkProgramOrder(k, longest)
}

// resolveViews fills in refs. Nearly all lists are the beginning of the longest one; if that one is sound they share its
// refs, so that values are looked up once for each key rather than once for each read.
func (c *checker) resolveViews(k *keyHistory) {
	longest := k.longest(func(v *view) int { return len(v.list) })
	if longest == nil {
		return
	}
	longest.refs = c.resolve(k, longest.txn, longest.list)
	sound := len(longest.refs) == len(longest.list)
	for i := range k.views {
		v := &k.views[i]
		switch n := len(v.list); {
		case v == longest:
		case sound && slices.Equal(v.list, longest.list[:n]):
			v.refs = longest.refs[:n]
		default:
			v.refs = c.resolve(k, v.txn, v.list)
		}
	}
}

// longest is the first of the views with the greatest length, or nil if there is no view.
func (k *keyHistory) longest(length func(*view) int) *view {
	var best *view
	for i := range k.views {
		if v := &k.views[i]; best == nil || length(v) > length(best) {
			best = v
		}
	}
	return best
}

// begins says whether refs is the beginning of the order.
func (k *keyHistory) begins(refs []int32) bool {
	return len(refs) <= len(k.order) && slices.Equal(refs, k.order[:len(refs)])
}

// checkProgramOrder holds a transaction's appends to the order in which it made them, and to being there all together.
// What others put between them is a cycle and found as one.
func (c *checker) checkProgramOrder(k *keyHistory, longest *view) {
	for pos, ref := range k.order {
		a := &k.appends[ref]
		if a.nth > 0 && !k.precedes(ref-1, int32(pos)) {
			before := &k.appends[ref-1]
			c.found.note(IncompatibleOrder, c.sublist(a.txn, longest.txn), func() []string {
				return []string{c.sayProgramOrder(k, before, a, longest)}
			})
		}
		if !a.last && k.appends[ref+1].pos == absent {
			c.noteIntermediate(k, longest, ref)
		}
	}
}

// judge looks at each view, and at the appends that nobody read, for what needs no graph.
func (c *checker) judge(k *keyHistory) {
	var atEnd []*view // read the whole order, then appended what nobody read
	for i := range k.views {
		v := &k.views[i]
		if v.bad {
			continue
		}
		c.judgeEnd(k, v)
		c.judgeUpdate(k, v)
		if k.updatesEnd(v) {
			atEnd = append(atEnd, v)
		}
	}
	if len(atEnd) > 1 {
		c.noteLostUpdate(k, atEnd[0], &k.appends[atEnd[1].mine])
	}
	c.judgeUnread(k)
}

// judgeEnd demands that the version read was the last that its writer made.
func (c *checker) judgeEnd(k *keyHistory, v *view) {
	if len(v.refs) == 0 {
		return
	}
	ref := v.refs[len(v.refs)-1]
	if a := &k.appends[ref]; a.txn != v.txn && !a.last {
		c.noteIntermediate(k, v, ref)
	}
}

// noteIntermediate reports that v has an append, by its place, but not the next one of the same transaction.
func (c *checker) noteIntermediate(k *keyHistory, v *view, ref int32) {
	a, next := &k.appends[ref], &k.appends[ref+1]
	c.found.note(G1b, c.sublist(a.txn, v.txn), func() []string { return []string{c.sayIntermediate(k, v, a, next)} })
}

// judgeUpdate demands that a transaction which read and appended did so on the same version.
func (c *checker) judgeUpdate(k *keyHistory, v *view) {
	if v.mine == absent {
		return
	}
	switch mine := &k.appends[v.mine]; {
	case k.precedes(v.mine, v.version()):
		v.bad = true
		c.noteOwnFuture(k, v, mine)
	case len(v.refs) < len(k.order) && mine.pos != v.version():
		if next := &k.appends[k.order[len(v.refs)]]; next.txn != v.txn {
			c.noteLostUpdate(k, v, next)
		}
	}
}

// noteOwnFuture reports that v saw its own append among those of others: twice, or before it was made.
func (c *checker) noteOwnFuture(k *keyHistory, v *view, mine *appended) {
	anomaly := Internal
	if v.owned > 0 {
		anomaly = Duplicate
	}
	c.found.note(anomaly, c.sublist(v.txn), func() []string { return []string{c.sayOwnFuture(k, v, mine)} })
}

// updatesEnd says whether v read the whole order and then appended what nobody read.
func (k *keyHistory) updatesEnd(v *view) bool {
	return !v.bad && len(v.refs) == len(k.order) && v.mine != absent && k.appends[v.mine].pos == absent
}

// noteLostUpdate reports that v's transaction updated a version that other overwrote in between.
func (c *checker) noteLostUpdate(k *keyHistory, v *view, other *appended) {
	c.found.note(LostUpdate, c.sublist(v.txn, other.txn), func() []string { return c.sayLostUpdate(k, v, other) })
}

// judgeUnread looks for a committed append that returned before the longest list was read, and is not in it.
func (c *checker) judgeUnread(k *keyHistory) {
	latest := k.latestOfWhole(c)
	if latest == nil {
		return
	}
	for i := range k.appends {
		a := &k.appends[i]
		if a.pos == absent && c.visible[a.txn] && c.txns[a.txn].end() < c.txns[latest.txn].Invoked {
			c.found.note(LostAppend, c.sublist(a.txn, latest.txn), func() []string { return c.sayLostAppend(k, a, latest) })
		}
	}
}

// latestOfWhole is the view of the whole order that was invoked last, or nil.
func (k *keyHistory) latestOfWhole(c *checker) *view {
	var latest *view
	for i := range k.views {
		v := &k.views[i]
		if !v.bad && len(v.refs) == len(k.order) && (latest == nil || c.txns[v.txn].Invoked > c.txns[latest.txn].Invoked) {
			latest = v
		}
	}
	return latest
}
