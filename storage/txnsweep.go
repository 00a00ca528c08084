package storage

import "slices"

// StubTTL is how long home remembers, on the partition's clock, what became of a transaction: counted from when its record
// became final, and at least until the mark has passed it.
const StubTTL Millis = 15 * 60 * 1000

// stubBody is the length up to which a finished record is left as it is when it becomes a stub: rewriting it would cost
// more than what it saves.
const stubBody = 128

// removeFinished removes the first records of i that are GONE: from the engine, or, where home is here, all but what the
// status needs. i may be nil.
func (p *Partition) removeFinished(g *budget, n *nodeTxns, i *incarnation) error {
	if i == nil {
		return nil
	}
	end := n.limit(i)
	before := g.left
	for r := i.garbage(end); r != nil && !g.spent(); r = i.garbage(end) {
		if err := p.removeRecord(g.b, i, r); err != nil {
			return err
		}
		i.drop(end)
		p.txns.forget(r)
		g.left--
	}
	if g.left == before {
		return nil
	}
	return p.markDirty(g.b, i)
}

func (p *Partition) removeRecord(b Batch, i *incarnation, r *txnRecord) error {
	if r.home != p.id {
		key := func(chunk uint32) []byte { return txnBodyKey(p.id, r.id, chunk) }
		if err := deleteChunks(b, key, 0, r.chunks()); err != nil {
			return err
		}
		p.buf.key = appendTxnKey(p.buf.key[:0], p.id, colTxn, r.id)
		return b.Delete(p.buf.key)
	}
	i.addStub(r)
	if r.body <= stubBody && !r.unanswered() {
		return nil
	}
	was := r.chunks()
	r.open = nil
	return p.writeRecord(b, r, nil, was)
}

// addStub counts r, which is or becomes a stub.
func (i *incarnation) addStub(r *txnRecord) {
	due := r.at + StubTTL
	if i.hasStubs {
		i.firstStub, i.stubsDue = min(i.firstStub, r.id.Seq), min(i.stubsDue, due)
		return
	}
	i.hasStubs, i.firstStub, i.stubsDue = true, r.id.Seq, due
}

// Sweepable is a time before which a KindSweep finds nothing to remove; false where nothing waits for removal. When the
// partition's clock has reached it, the leader proposes a sweep, as often as Sweepable says so.
func (p *Partition) Sweepable() (Millis, bool) {
	next := p.nextToken
	for _, n := range p.txns.nodes {
		for _, i := range n.runs {
			if i.garbage(n.limit(i)) != nil {
				return 0, true
			}
			if i.hasStubs {
				next = min(next, i.stubsDue)
			}
		}
	}
	return next, next != noDeadline
}

// sweep removes, in this order, records that are GONE, stubs and token records whose time is over; at most the command's
// limit, MaxSweep and a budget of bytes.
func (p *Partition) sweep(b Batch, c *Command) (Result, error) {
	limit := int(min(c.Limit, MaxSweep))
	g := newBudget(b, limit, sweepBytes)
	for _, n := range p.txns.nodes {
		for _, i := range n.runs {
			if err := p.removeFinished(g, n, i); err != nil {
				return Result{}, err
			}
		}
	}
	for _, n := range p.txns.nodes {
		if err := p.sweepStubs(g, n); err != nil {
			return Result{}, err
		}
	}
	if err := p.sweepTokens(g); err != nil {
		return Result{}, err
	}
	return Result{Status: StatusSwept, Count: uint32(limit - g.left)}, nil
}

// sweepStubs removes the stubs of one node's incarnations whose time is over, from the first one of each on: they lie
// about in the order in which they became so, and one that is kept a little longer behind another does no harm.
func (p *Partition) sweepStubs(g *budget, n *nodeTxns) error {
	for _, i := range n.runs {
		if !i.hasStubs || i.stubsDue > p.meta.Clock || g.spent() {
			continue
		}
		due, err := p.dueStubs(g.b, i, g.left)
		if err != nil {
			return err
		}
		for _, t := range due {
			if err := g.b.Delete(txnKey(p.id, t)); err != nil {
				return err
			}
			g.left--
		}
	}
	return p.dropRuns(g, n)
}

// dueStubs lists the first stubs of i that are due, at most limit, and moves on to the one behind them.
func (p *Partition) dueStubs(r Reader, i *incarnation, limit int) ([]TxnID, error) {
	var due []TxnID
	from := txnKey(p.id, TxnID{Node: i.node, Incarnation: i.number, Seq: i.firstStub})
	end := txnKey(p.id, TxnID{Node: i.node, Incarnation: i.number, Seq: i.cleaned})
	i.hasStubs = false
	err := r.Scan(from, end, false, func(k, cell []byte) (bool, error) {
		id, err := splitTxnKey(k)
		if err != nil {
			return false, err
		}
		rec, _, err := decodeTxnRecord(id, cell)
		if err != nil {
			return false, err
		}
		if len(due) == limit || rec.at+StubTTL > p.meta.Clock {
			i.addStub(&rec)
			return false, nil
		}
		due = append(due, id)
		return true, nil
	})
	return due, err
}

// dropRuns removes the marks of forgotten incarnations of which nothing else is left.
func (p *Partition) dropRuns(g *budget, n *nodeTxns) (err error) {
	n.runs = slices.DeleteFunc(n.runs, func(i *incarnation) bool {
		if err != nil || g.spent() || i.number >= n.forgotten || len(i.records) > 0 || i.hasStubs {
			return false
		}
		g.left--
		p.txns.dirty = slices.DeleteFunc(p.txns.dirty, func(d *incarnation) bool { return d == i })
		err = g.b.Delete(markKey(p.id, i.node, i.number))
		return true
	})
	return err
}
