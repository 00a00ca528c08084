package serial

import "fmt"

// The sentences of a report.

func (c *checker) id(t int32) TxnID { return c.txns[t].ID }

// values are those of the given appends.
func (k *keyHistory) values(refs []int32) string {
	vs := make([]Value, len(refs))
	for i, ref := range refs {
		vs[i] = k.appends[ref].value
	}
	return list(vs)
}

// unread follows the name of an append that only its own transaction may have read.
func (a *appended) unread() string {
	if a.pos == absent {
		return " (read by nobody else)"
	}
	return ""
}

func (c *checker) sayPath(path []edge) []string {
	steps := make([]string, len(path))
	for i := range path {
		steps[i] = c.sayEdge(&path[i])
	}
	return steps
}

func (c *checker) sayEdge(e *edge) string {
	k := c.keys[e.key]
	from, to := c.id(e.from), c.id(e.to)
	var why string
	switch e.kind {
	case ww:
		a, b := &k.appends[e.before], &k.appends[e.after]
		why = fmt.Sprintf("%v's append of %d to %s comes before %v's append of %d", from, a.value, k.name, to, b.value)
	case wr:
		a := &k.appends[e.before]
		seen := k.order[:k.appends[e.after].pos+1]
		why = fmt.Sprintf("%v read %v's append of %d to %s, in %s", to, from, a.value, k.name, k.values(seen))
	case rw:
		why = c.sayMissed(k, e.from, k.order[:e.before], &k.appends[e.after])
	}
	return fmt.Sprintf("%s: %v before %v", why, from, to)
}

func (c *checker) sayMissed(k *keyHistory, reader int32, refs []int32, next *appended) string {
	return fmt.Sprintf("%v read %s of key %s, which %v's append of %d%s comes after",
		c.id(reader), k.values(refs), k.name, c.id(next.txn), next.value, next.unread())
}

func (c *checker) sayRealtime(first, then int32) string {
	a, b := &c.txns[first], &c.txns[then]
	return fmt.Sprintf("%v returned at %d, before %v was invoked at %d: %v before %v", a.ID, a.Returned, b.ID, b.Invoked, a.ID, b.ID)
}

func (c *checker) sayUnwritten(k *keyHistory, t int32, seen []Value, v Value) string {
	return fmt.Sprintf("%v read %s of key %s, but nobody appended %d", c.id(t), list(seen), k.name, v)
}

func (c *checker) sayDuplicate(k *keyHistory, t int32, seen []Value, v Value) string {
	return fmt.Sprintf("%v read %s of key %s, with %d in it twice", c.id(t), list(seen), k.name, v)
}

func (c *checker) sayAborted(k *keyHistory, t int32, seen []Value, a *appended) string {
	return fmt.Sprintf("%v read %s of key %s, but %v, which appended %d, aborted", c.id(t), list(seen), k.name, c.id(a.txn), a.value)
}

func (c *checker) sayIncompatible(k *keyHistory, v, longest *view) string {
	return fmt.Sprintf("%v read %s of key %s and %v read %s: neither is the beginning of the other",
		c.id(v.txn), k.values(v.refs), k.name, c.id(longest.txn), k.values(longest.refs))
}

func (c *checker) sayProgramOrder(k *keyHistory, before, a *appended, longest *view) string {
	return fmt.Sprintf("%v appended %d to %s before %d, but %v read %s",
		c.id(a.txn), before.value, k.name, a.value, c.id(longest.txn), k.values(longest.refs))
}

func (c *checker) sayIntermediate(k *keyHistory, v *view, a, next *appended) string {
	return fmt.Sprintf("%v read %s of key %s, with %v's append of %d, but without %d that %v appended next",
		c.id(v.txn), k.values(v.refs), k.name, c.id(a.txn), a.value, next.value, c.id(a.txn))
}

func (c *checker) sayInternal(k *keyHistory, v *view, seen []Value) string {
	id := c.id(v.txn)
	switch {
	case !v.known:
		return fmt.Sprintf("%v appended %s to key %s and then read %s", id, list(v.own), k.name, list(seen))
	case len(v.own) == 0:
		return fmt.Sprintf("%v read %s of key %s and then %s", id, list(v.list), k.name, list(seen))
	default:
		return fmt.Sprintf("%v read %s of key %s and then %s, after it had appended %s",
			id, list(v.list), k.name, list(seen), list(v.own))
	}
}

func (c *checker) sayOwnFuture(k *keyHistory, v *view, mine *appended) string {
	return fmt.Sprintf("%v read %s of key %s among other transactions' appends, but appended %d itself after that",
		c.id(v.txn), k.values(v.refs), k.name, mine.value)
}

func (c *checker) sayLostUpdate(k *keyHistory, v *view, other *appended) []string {
	mine := &k.appends[v.mine]
	return []string{
		c.sayMissed(k, v.txn, v.refs, other),
		fmt.Sprintf("%v appended %d%s to it as if that were not there", c.id(v.txn), mine.value, mine.unread()),
	}
}

func (c *checker) sayLostAppend(k *keyHistory, a *appended, latest *view) []string {
	return []string{
		fmt.Sprintf("%v appended %d to %s and returned at %d", c.id(a.txn), a.value, k.name, c.txns[a.txn].Returned),
		fmt.Sprintf("%v, invoked at %d, read %s: nobody else read %d, and no list is longer",
			c.id(latest.txn), c.txns[latest.txn].Invoked, k.values(latest.refs), a.value),
	}
}
