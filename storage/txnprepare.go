package storage

import "github.com/ringkv/ringkv/ring"

// MaxApplyBytes is what applying one entry may add to an engine's batch. Every engine takes as much, with room for the
// flushes; a part that would need more is refused (TooLarge). It is the same everywhere, as the refusal is replicated.
const MaxApplyBytes = 8<<20 + 768<<10

// earlier is the answer to a prepare that comes too late to be judged, nil where it is to be judged.
func (j *judgement) earlier() (*TxnReply, error) {
	switch {
	case j.gone, j.passed(), j.committed(), j.rec != nil && j.rec.attempt == j.t.Attempt:
		r, err := j.about()
		if err == nil && r.Reason == TokenAnswered {
			r.Answer, err = j.storedAnswer()
		}
		return r, err
	case j.closed:
		if err := j.toNo(Sealed, Closed); err != nil {
			return nil, err
		}
		return j.refusal(), nil
	}
	return nil, nil
}

func (j *judgement) prepare() (*TxnReply, error) {
	if r, err := j.earlier(); r != nil || err != nil {
		return r, err
	}
	d := j.draft
	d.lock()
	no, err := j.objection(d.part, d.locks)
	if err != nil || no != nil {
		return j.voteNo(no, err)
	}
	d.read = j.p.reading(j.b)
	if d.part.writes() {
		d.version = j.p.meta.Revision + 1
	}
	if err := d.both(); err != nil {
		return nil, err
	}
	cost := d.cost(len(d.body()))
	if d.tooLarge || cost > MaxApplyBytes {
		return j.voteNo(j.no(TooLarge), nil)
	}
	r := j.reply(ReplyYes)
	r.Vote = &d.vote
	return r, j.toYes(cost)
}

func (j *judgement) single() (*TxnReply, error) {
	if r, err := j.earlier(); r != nil || err != nil {
		return r, err
	}
	ev := &j.draft.evaluation
	if j.p.locks.Len() > 0 {
		j.draft.lock() // it holds none, so that they matter only beside those of others
	}
	no, err := j.objection(ev.part, j.draft.locks)
	if err != nil || no != nil {
		return j.voteNo(no, err)
	}
	ev.read, ev.version = j.p.reading(j.b), j.p.meta.Revision+1
	d, err := ev.alone()
	if err != nil {
		return nil, err
	}
	if ev.tooLarge || ev.cost(0) > MaxApplyBytes {
		return j.voteNo(j.no(TooLarge), nil)
	}
	if ev.wrote(d) {
		j.p.meta.Revision = ev.version
	}
	rec := j.record()
	j.release()
	rec.protocol = ev.part.Protocol
	r := j.reply(ReplyCommitted)
	r.Decision, r.Vote = d, &ev.vote
	return r, j.toCommitted(ev, d, nil)
}

// objection is why the part cannot be prepared, nil if it can.
func (j *judgement) objection(part *Prepare, locks []lock) (*TxnReply, error) {
	switch {
	case part.Deny != NoReason:
		return j.no(part.Deny), nil
	case !part.belongs(j.p.ringOf(part.Partitions), j.p.id):
		return j.no(WrongPartition), nil
	}
	if part.Token != nil {
		if no, err := j.tokenObjection(part.Token); no != nil || err != nil {
			return no, err
		}
	}
	if holder := j.p.locks.conflict(locks, j.t.ID); holder != nil {
		no := j.no(Conflict)
		no.Holder = holder
		return no, nil
	}
	return nil, nil
}

func (j *judgement) no(why Reason) *TxnReply {
	r := j.reply(ReplyNo)
	r.Reason = why
	return r
}

// voteNo leaves the tombstone that makes a refusal a vote (R3).
func (j *judgement) voteNo(no *TxnReply, err error) (*TxnReply, error) {
	if err != nil {
		return nil, err
	}
	return no, j.toNo(j.t.Attempt, no.Reason)
}

// ringOf returns the mapping to so many partitions, nil if there is none such. It keeps the last one: they hardly change.
func (p *Partition) ringOf(partitions uint32) *ring.Ring {
	if p.ring == nil || p.ring.Partitions() != int(partitions) {
		p.ring, _ = ring.New(int(partitions))
	}
	return p.ring
}

// belongs tells whether every name of the part is the partition's under the coordinator's mapping.
func (p *Prepare) belongs(rg *ring.Ring, id PartitionID) bool {
	if rg == nil {
		return false
	}
	for i := range p.If {
		if rg.Partition(p.If[i].Key) != id {
			return false
		}
	}
	for _, ops := range [...][]TxnOp{p.Then, p.Else} {
		for i := range ops {
			if rg.Partition(ops[i].Key) != id {
				return false
			}
		}
	}
	return p.Token == nil || rg.Partition(p.Token.Key[:]) == id
}

// writes tells whether either branch may change anything here.
func (p *Prepare) writes() bool {
	for _, ops := range [...][]TxnOp{p.Then, p.Else} {
		for i := range ops {
			if ops[i].Kind != OpGet {
				return true
			}
		}
	}
	return false
}

// cost bounds what committing either branch adds to a batch; the body that is dropped then has so many bytes. The
// token's answer and the removal of other records are apart.
func (e *evaluation) cost(body int) int {
	most := 0
	for _, o := range [...]*overlay{&e.then, &e.otherwise} {
		n := 0
		for i := range o.edits {
			n += o.edits[i].cost()
		}
		most = max(most, n)
	}
	vote := int(e.size) + len(e.vote.If)*resultOverhead + 2*(MaxKeyBytes+resultOverhead)
	return most + e.marks + recordCost(len(e.part.Participants), vote, body) + tokenCost(len(e.part.Participants))
}

// recordCost bounds what storing a record with a body adds to a batch, where another body goes.
func recordCost(participants, body, was int) int {
	chunks := body/MaxCellBytes + 1 + was/MaxCellBytes + 1
	return txnHeadMax(participants) + body + (1+chunks)*writeCost(txnIDBytes+4)
}
