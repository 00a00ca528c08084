package storage

// chunksOf is how many overflow cells an item's value in this partition takes at most.
func (p *Partition) chunksOf() int {
	if p.meta.Longest+recordHeadMax <= MaxCellBytes {
		return 0
	}
	return int(p.meta.Longest/MaxCellBytes) + 1
}

// txnCost bounds what a transaction command adds to a batch: its own work and the removal of finished records.
func (p *Partition) txnCost(data []byte) int {
	h, err := CommandKeys(data, nil)
	if err != nil {
		return 0
	}
	n := p.txns.node(h.ID.Node)
	i := n.run(h.ID.Incarnation)
	cost := 2*markCost + p.removalCost(n, i, h.Mark)
	if h.Kind == KindMark || h.Kind == KindClose || h.Kind == KindForget {
		return cost + p.runsCost(n, h.Kind)
	}
	rec := i.record(h.ID.Seq)
	was := 0
	if rec != nil {
		was = int(rec.body)
	}
	if h.Kind == KindDecide || h.Kind == KindCommit {
		return cost + p.commitCost(rec, len(data))
	}
	cost += p.heldCost(rec)
	switch h.Kind {
	case KindPrepare:
		return cost + recordCost(len(data), len(data), was)
	case KindSingle:
		return cost + p.singleCost(data, was)
	}
	// A tombstone, or the cell of a YES again with another promise.
	return cost + recordCost(participantsOf(rec), inlineBody, was)
}

func participantsOf(r *txnRecord) int {
	if r == nil || r.open == nil {
		return 0
	}
	return len(r.open.Participants)
}

// commitCost is what the record of a YES says, and what an answer takes that comes with the command.
func (p *Partition) commitCost(r *txnRecord, answer int) int {
	if r == nil || r.state == TxnNo {
		return 0
	}
	cost := answerCost(answer) + recordCost(participantsOf(r), inlineBody, 0)
	if r.state != TxnYes {
		return cost
	}
	return min(cost+int(r.cost), MaxApplyBytes+recordCost(participantsOf(r), 0, 0))
}

// removalCost bounds the removal of the first records of i below a mark beside an entry.
func (p *Partition) removalCost(n *nodeTxns, i *incarnation, mark uint64) int {
	if i == nil {
		return 0
	}
	cost := 0
	end := max(n.limit(i), mark)
	for at := 0; at < len(i.records) && at < removePerEntry && i.records[at].seq < end && cost < removeBytes; at++ {
		cost += recordCost(0, 0, int(i.records[at].body))
	}
	return cost
}

// runsCost bounds what Forget writes for the incarnations that it makes GONE.
func (p *Partition) runsCost(n *nodeTxns, k Kind) int {
	if k != KindForget || n == nil {
		return 0
	}
	return len(n.runs) * markCost
}

// sweepCost bounds a sweep: its budget, what the last removal may pass it by, and the marks.
func (p *Partition) sweepCost(limit int) int {
	if limit == 0 {
		return 0
	}
	runs := 0
	for _, n := range p.txns.nodes {
		runs += len(n.runs)
	}
	return sweepBytes + recordCost(0, 0, max(MaxApplyBytes, MaxAnswerBytes)) + min(runs, limit)*markCost
}

// singleCost bounds a transaction of one entry by what it asks for and by the longest value there is; the judgement keeps
// it under MaxApplyBytes.
func (p *Partition) singleCost(data []byte, was int) int {
	d := decoder{b: data[denyOffset:]}
	var head Prepare
	flags := d.prepareHead(&head)
	participants := d.count()
	for range participants {
		d.partition()
	}
	if flags&prepareToken != 0 {
		d.token()
	}
	conditions := d.items()
	for range conditions {
		var c TxnCondition
		d.txnCondition(&c)
	}
	cost := p.opsCost(&d)
	if head.HasElse {
		cost = max(cost, p.opsCost(&d))
	}
	if d.err != nil {
		return 0
	}
	vote := conditions*resultOverhead + 2*(MaxKeyBytes+resultOverhead)
	cost += recordCost(participants, vote, was) + tokenCost(participants)
	return min(cost, MaxApplyBytes+recordCost(participants, 0, was))
}

// opsCost bounds what the operations of a branch write, and what they answer, which is kept.
func (p *Partition) opsCost(d *decoder) int {
	cost, longest := 0, max(int(p.meta.Longest), maxNumber)
	for range d.items() {
		var op TxnOp
		d.txnOp(&op)
		longest = max(longest, len(op.Value)) // what a get behind it may answer
		cost += len(op.Key) + resultOverhead
		if op.Kind == OpGet {
			cost += longest
			continue
		}
		length := len(op.Value)
		if op.Kind == OpAdd {
			length = MaxContentTypeBytes + 2*maxNumber
		}
		writes := 5 + length/MaxCellBytes + 1 + p.chunksOf()
		cost += recordFixedMax + length + writes*writeCost(len(op.Key))
	}
	return cost
}
