package storage

// The changes of a record's state. Each writes the record's cell and keeps lock table and index in step with it.

// record is the transaction's record, a new one where it is ABSENT; the caller gives it a state.
func (j *judgement) record() *txnRecord {
	if j.rec == nil {
		j.rec = j.p.txns.newRecord(j.t.ID, j.t.Home)
		j.p.txns.addNode(j.t.ID.Node).addRun(j.t.ID.Incarnation).add(j.rec)
	}
	return j.rec
}

// release takes back what a YES holds; nothing where it is none.
func (j *judgement) release() {
	if j.rec == nil || j.rec.state != TxnYes {
		return
	}
	r := j.rec
	j.p.noteUnlocked(r.holds)
	j.p.locks.release(r.open, r.holds)
	j.p.txns.removeYes(r)
	if r.kept != nil {
		j.p.txns.kept -= r.kept.weight(r.body)
		j.p.drafts.giveBack(r.kept)
	}
	j.p.leases.unskip()
	clear(r.holds)
	r.open, r.holds, r.kept = nil, r.holds[:0], nil
	r.acceptor, r.version, r.cost, r.order = acceptor{}, 0, 0, 0
}

// toNo leaves the tombstone of attempt a, Sealed for all attempts. A reason that is there already stays when it is sealed.
func (j *judgement) toNo(a Attempt, why Reason) error {
	j.release()
	r := j.record()
	if a == Sealed && r.state == TxnNo {
		why = r.reason
	}
	if j.t.Prepare != nil {
		r.protocol = j.t.Prepare.Protocol
	}
	was := r.chunks()
	r.attempt, r.state, r.reason, r.at = a, TxnNo, why, j.p.meta.Clock
	return j.p.writeRecord(j.b, r, nil, was)
}

// toYes takes the locks and binds the group until the decision.
func (j *judgement) toYes(cost int) error {
	j.release()
	r, d := j.record(), j.draft
	was := r.chunks()
	p := j.p
	p.meta.Revision = max(p.meta.Revision, d.version)
	r.attempt, r.state, r.protocol, r.reason = j.t.Attempt, TxnYes, d.part.Protocol, NoReason
	r.version, r.cost, r.order = d.version, uint64(cost), p.meta.Applied
	r.open = openOf(r.id, r.attempt, r.home, d.part)
	r.holds = p.locks.take(r.open, d.locks, r.holds)
	p.txns.addYes(r)
	if weight := d.weight(uint64(len(d.body()))); d.keep && p.txns.kept+weight <= maxKept {
		d.detach()
		p.drafts.hold(d)
		r.kept = d
		p.txns.kept += weight
	}
	return p.writeRecord(j.b, r, d.body(), was)
}

// toCommitted executes decision d, which ev has evaluated, and keeps what later questions need. The locks are released
// already.
func (j *judgement) toCommitted(ev *evaluation, d Decision, answer []byte) error {
	r, p := j.rec, j.p
	if err := p.writeEdits(j.b, ev.edits(d), ev.version); err != nil {
		return err
	}
	was := r.chunks()
	r.attempt, r.state, r.reason, r.decision, r.at = j.t.Attempt, TxnCommitted, NoReason, d, p.meta.Clock
	if ev.part.Token != nil {
		if err := j.storeToken(ev.part, answer); err != nil {
			return err
		}
	}
	vote := ev.voteFor(d)
	if p.buf.body = appendVote(p.buf.body[:0], &vote); cap(p.buf.body) > MaxCellBytes {
		defer func() { p.buf.body = nil }()
	}
	return p.writeRecord(j.b, r, p.buf.body, was)
}

// writeEdits gives every key that a branch changes the version reserved at the vote. A removal is a change of its own, so
// that absent keys have a fresh version too (R10).
func (p *Partition) writeEdits(b Batch, edits []edit, version Version) error {
	for i := range edits {
		e := &edits[i]
		if !e.changes() {
			continue
		}
		if !e.exists {
			if err := p.remove(b, e.key, &e.old); err != nil {
				return err
			}
			continue
		}
		rec := e.record(version, p.meta.Clock)
		if err := p.replace(b, e.key, &e.old, &rec); err != nil {
			return err
		}
	}
	return nil
}

// maxKept bounds what a partition keeps in memory of evaluated parts, in bytes.
const maxKept = 1 << 20

// mayKeep tells whether a prepare of so many bytes may be kept in memory until its decision.
func (x *txnIndex) mayKeep(bytes int) bool {
	return bytes <= inlineBody && x.kept+bytes <= maxKept
}
