package storage

// close ends all incarnations of a node below one: they can prepare nothing any more. It lists what is left to do (R11).
func (p *Partition) close(b Batch, t *TxnCommand) (*TxnReply, error) {
	n := p.txns.addNode(t.ID.Node)
	r := &TxnReply{Kind: ReplyOpen, Open: n.unfinished(t.ID.Incarnation)}
	if t.ID.Incarnation <= n.closed {
		return r, nil
	}
	n.closed = t.ID.Incarnation
	return r, p.writeNode(b, n)
}

// forget makes all transactions of a node's incarnations below one GONE. They must be closed, and nothing of them
// unfinished: otherwise nothing is done, and the reply is that of a close.
func (p *Partition) forget(b Batch, t *TxnCommand) (*TxnReply, error) {
	n := p.txns.addNode(t.ID.Node)
	open := n.unfinished(t.ID.Incarnation)
	if t.ID.Incarnation > n.closed || len(open) > 0 {
		return &TxnReply{Kind: ReplyOpen, Open: open}, nil
	}
	r := &TxnReply{Kind: ReplyAck}
	if t.ID.Incarnation <= n.forgotten {
		return r, nil
	}
	n.forgotten = t.ID.Incarnation
	for _, i := range n.runs {
		if i.number < n.forgotten {
			i.clean(n.limit(i))
			if err := p.markDirty(b, i); err != nil {
				return nil, err
			}
		}
	}
	return r, p.writeNode(b, n)
}

// unfinished lists the transactions of incarnations below one that are YES, or lack the answer of their token.
func (n *nodeTxns) unfinished(below uint32) []*OpenTxn {
	var open []*OpenTxn
	for _, i := range n.runs {
		if i.number >= below {
			break
		}
		limit := n.limit(i)
		for _, r := range i.records {
			if r.state == TxnYes || r.unanswered() && r.seq >= limit {
				open = append(open, r.open)
			}
		}
	}
	return open
}
