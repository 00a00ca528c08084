package storage

// txnVerifier reads what the partition keeps of transactions and finds where it contradicts itself.
type txnVerifier struct {
	r      Reader
	id     PartitionID
	meta   *Meta
	p      *Partition // opened anew: marks, and the lock table, which it has derived without a conflict (I12)
	bodies uint64     // chunks of bodies that the records account for
	tokens uint64     // token records
	parts  uint64     // chunks of answers that they account for
}

func (v *verifier) txns(meta *Meta) error {
	t := txnVerifier{r: v.r, id: v.id, meta: meta, p: v.p}
	for _, c := range [...]struct {
		col   column
		visit func(k, cell []byte) error
	}{{colTxn, t.record}, {colToken, t.token}} {
		start, end := columnRange(v.id, c.col)
		err := v.r.Scan(start, end, false, func(k, cell []byte) (bool, error) { return true, c.visit(k, cell) })
		if err != nil {
			return err
		}
	}
	for _, c := range [...]struct {
		col  column
		want uint64
	}{{colTxnBody, t.bodies}, {colTokenDue, t.tokens}, {colAnswer, t.parts}} {
		if err := v.count(c.col, c.want); err != nil {
			return err
		}
	}
	return nil
}

func (t *txnVerifier) record(k, cell []byte) error {
	id, err := splitTxnKey(k)
	if err != nil {
		return err
	}
	r, body, err := decodeTxnRecord(id, cell)
	if err != nil {
		return err
	}
	t.bodies += uint64(r.chunks())
	if r.split() {
		if body, err = readBody(t.r, t.id, &r); err != nil {
			return err
		}
	}
	if err := t.body(&r, body); err != nil {
		return err
	}
	if r.version > t.meta.Revision || r.order > t.meta.Applied || r.at > t.meta.Clock {
		return corruptf("transaction %v: its record is ahead of the partition", id)
	}
	i := t.p.txns.node(id.Node).run(id.Incarnation)
	if i == nil {
		return corruptf("transaction %v: of an incarnation that was not found", id)
	}
	if id.Seq < i.cleaned && (!r.final() || r.home != t.id || r.body > stubBody || r.unanswered()) {
		return corruptf("transaction %v: its record was to be removed", id)
	}
	return nil
}

// body tells whether the record has the body that goes with its state.
func (t *txnVerifier) body(r *txnRecord, body []byte) error {
	switch {
	case r.state == TxnYes:
		_, err := decodePart(r.id, body)
		return err
	case r.state == TxnNo && len(body) > 0, r.state == TxnCommitted && !r.decision.Commits():
		return corruptf("transaction %v: a record that contradicts itself", r.id)
	case len(body) == 0:
		return nil // a tombstone, or a stub
	}
	_, err := decodeVote(r.id, body)
	return err
}

func (t *txnVerifier) token(k, _ []byte) error {
	var key [16]byte
	if len(k) != prefixBytes+len(key) {
		return corruptf("token key of %d bytes", len(k))
	}
	copy(key[:], k[prefixBytes:])
	r, inline, _, err := readToken(t.r, t.id, key)
	if err != nil {
		return err
	}
	if _, err := readAnswer(t.r, t.id, &r, inline); err != nil {
		return err
	}
	t.tokens++
	t.parts += uint64(r.chunks())
	_, err = t.r.Get(tokenDueKey(t.id, r.due, key[:]))
	return missingCell(err, t.id, key[:])
}
