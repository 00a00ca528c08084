package storage

// refuse: recovery closes the transaction here, unless the group is bound to it.
func (j *judgement) refuse() (*TxnReply, error) {
	switch {
	case j.gone, j.passed(), j.committed(), j.in(TxnYes) && !j.decides():
		return j.about()
	}
	if err := j.toNo(Sealed, Refused); err != nil {
		return nil, err
	}
	return j.refusal(), nil
}

// decides tells whether the record is the one whose commit decides: of home, in 2pc.
func (j *judgement) decides() bool {
	return j.rec.protocol == TwoPhase && j.rec.home == j.p.id
}

// decide: the coordinator of a 2pc makes home's YES the decision record.
func (j *judgement) decide() (*TxnReply, error) {
	if !j.in(TxnYes) || !j.decides() {
		return j.about()
	}
	if done, err := j.execute(); !done || err != nil {
		return j.alarm(alarmI2), err
	}
	return j.about()
}

// propose: an acceptor of 3pc takes a value, the coordinator's pre-commit at the zero ballot or a recoverer's.
func (j *judgement) propose() (*TxnReply, error) {
	if !j.in(TxnYes) {
		return j.refuse()
	}
	if j.rec.protocol != ThreePhase {
		return j.about()
	}
	acc := &j.rec.acceptor
	if acc.promised.Compare(j.t.Ballot) > 0 {
		return j.nack(), nil
	}
	*acc = acceptor{promised: j.t.Ballot, acceptedAt: j.t.Ballot, accepted: j.t.Decision}
	r := j.reply(ReplyAccepted)
	r.Ballot = j.t.Ballot
	return r, j.p.rewriteRecord(j.b, j.rec)
}

// inquire: a recoverer of 3pc asks for a promise, which is durable also where nothing was accepted (R8).
func (j *judgement) inquire() (*TxnReply, error) {
	if !j.in(TxnYes) {
		return j.refuse()
	}
	if j.rec.protocol != ThreePhase {
		return j.about()
	}
	acc := &j.rec.acceptor
	if acc.promised.Compare(j.t.Ballot) > 0 {
		return j.nack(), nil
	}
	acc.promised = j.t.Ballot
	r := j.reply(ReplyPromise)
	r.Ballot, r.Accepted, r.AcceptedAt = acc.promised, acc.accepted, acc.acceptedAt
	if err := j.p.rewriteRecord(j.b, j.rec); err != nil {
		return nil, err
	}
	return r, j.addVote(r)
}

// nack names the promise that is in the way; an accepted ballot is never above it.
func (j *judgement) nack() *TxnReply {
	r := j.reply(ReplyNack)
	r.Ballot = j.rec.acceptor.promised
	return r
}

func (j *judgement) commit() (*TxnReply, error) {
	switch {
	case j.gone:
		return j.reply(ReplyAck), nil
	case j.in(TxnCommitted) && j.rec.decision == j.t.Decision:
		return j.fill()
	case !j.in(TxnYes):
		return j.alarm(alarmI2), nil
	}
	if done, err := j.execute(); !done || err != nil {
		return j.alarm(alarmI2), err
	}
	return j.ack(), nil
}

// execute commits a YES with the command's decision. It does nothing, and returns false, where the group's own vote says
// that this cannot have been decided.
func (j *judgement) execute() (bool, error) {
	ev, err := j.p.evaluationOf(j.b, j.rec)
	if err != nil || !ev.possible(j.t.Decision) {
		return false, err
	}
	answer := j.t.Answer
	if int(j.rec.cost)+answerCost(len(answer)) > MaxApplyBytes {
		answer = nil // it does not fit beside what is written; the ack says so
	}
	j.release()
	return true, j.toCommitted(ev, j.t.Decision, answer)
}

// ack acknowledges a commit. It says TooLarge where the answer that came with it could not be stored beside the writes:
// the same Commit again will store it.
func (j *judgement) ack() *TxnReply {
	r := j.reply(ReplyAck)
	if j.rec.unanswered() && len(j.t.Answer) > 0 {
		r.Reason = TooLarge
	}
	return r
}

func (j *judgement) abort() (*TxnReply, error) {
	a := j.t.Attempt
	if j.t.Final {
		a = Sealed
	}
	switch {
	case j.gone:
		return j.reply(ReplyAck), nil
	case j.sealed():
		return j.sealedAck(), nil
	case j.passed():
		return j.reply(ReplySuperseded), nil
	case j.in(TxnCommitted):
		return j.alarm(alarmI2), nil
	case j.committed():
		return j.alarm(alarmI1), nil
	case j.in(TxnNo) && !j.t.Final:
		return j.reply(ReplyAck), nil
	}
	if err := j.toNo(a, Refused); err != nil {
		return nil, err
	}
	return j.sealedAck(), nil
}

// sealedAck tells whether the group is sealed: a GONE acknowledges too, and is no evidence of an abort (R8).
func (j *judgement) sealedAck() *TxnReply {
	r := j.reply(ReplyAck)
	r.Sealed = j.sealed()
	return r
}
