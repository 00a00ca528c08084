package storage

import (
	"errors"
	"fmt"
	"slices"
)

// TxnStatus is what a group knows of a transaction.
type TxnStatus struct {
	State   TxnState
	Attempt Attempt // the highest met, Sealed if sealed; 0 with TxnAbsent and TxnGone
	Reason  Reason  // TxnNo

	// Decision is what was committed; DecideAbort where no attempt will ever commit; Undecided otherwise. With TxnGone it
	// is what home remembers for 15 minutes.
	Decision Decision

	// Open is what a recoverer must know: of TxnYes.
	Open *OpenTxn
}

// ReadTxn returns what the group knows of t: for GET /v1/txn/{id}, asked of home.
func ReadTxn(r Reader, id PartitionID, t TxnID) (TxnStatus, error) {
	s, err := readTxn(r, id, t)
	if err != nil {
		return TxnStatus{}, fmt.Errorf("read transaction %v in partition %d: %w", t, id, err)
	}
	return s, nil
}

func readTxn(r Reader, id PartitionID, t TxnID) (TxnStatus, error) {
	limit, closed, err := readLimit(r, id, t)
	if err != nil {
		return TxnStatus{}, err
	}
	gone := t.Seq < limit
	cell, err := r.Get(txnKey(id, t))
	switch {
	case errors.Is(err, ErrNotFound):
		return unrecorded(gone, closed), nil
	case err != nil:
		return TxnStatus{}, err
	}
	rec, inline, err := decodeTxnRecord(t, cell)
	if err != nil {
		return TxnStatus{}, err
	}
	s := TxnStatus{State: rec.state, Attempt: rec.attempt, Reason: rec.reason, Decision: rec.decided(gone)}
	switch {
	case rec.state == TxnYes:
		s.Open, err = readOpen(r, id, &rec, inline)
	case gone:
		s.State, s.Attempt, s.Reason = TxnGone, 0, NoReason
	}
	return s, err
}

// unrecorded is the status where there is no record.
func unrecorded(gone, closed bool) TxnStatus {
	switch {
	case gone:
		return TxnStatus{State: TxnGone}
	case closed:
		return TxnStatus{State: TxnNo, Attempt: Sealed, Reason: Closed, Decision: DecideAbort}
	}
	return TxnStatus{State: TxnAbsent}
}

// decided is what the record says about the transaction as a whole. What is GONE without having committed was aborted.
func (r *txnRecord) decided(gone bool) Decision {
	switch {
	case r.state == TxnCommitted:
		return r.decision
	case r.state == TxnNo && (gone || r.attempt == Sealed):
		return DecideAbort
	}
	return Undecided
}

func readOpen(r Reader, id PartitionID, rec *txnRecord, inline []byte) (*OpenTxn, error) {
	if rec.split() {
		var err error
		if inline, err = readBody(r, id, rec); err != nil {
			return nil, err
		}
	}
	part, err := decodePart(rec.id, slices.Clone(inline))
	if err != nil {
		return nil, err
	}
	return openOf(rec.id, rec.attempt, rec.home, part), nil
}
