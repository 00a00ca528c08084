package serial

import "fmt"

// validate refuses a history that no client can have recorded, with ErrMalformed. That no value is appended twice is
// seen when the appends are collected.
func validate(history []Txn) error {
	ids := make(map[TxnID]bool, len(history))
	for i := range history {
		t := &history[i]
		if ids[t.ID] {
			return fmt.Errorf("%w: %v stands in it twice", ErrMalformed, t.ID)
		}
		ids[t.ID] = true
		if err := t.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (t *Txn) validate() error {
	switch {
	case t.ID < 0 && t.ID != FinalState:
		return fmt.Errorf("%w: id %d is negative", ErrMalformed, int64(t.ID))
	case t.Outcome > Aborted:
		return fmt.Errorf("%w: %v has %v", ErrMalformed, t.ID, t.Outcome)
	case t.Outcome != Unknown && t.Returned < t.Invoked:
		return fmt.Errorf("%w: %v returned at %d, before it was invoked at %d", ErrMalformed, t.ID, t.Returned, t.Invoked)
	}
	for i, op := range t.Ops {
		if op.Kind != OpAppend && op.Kind != OpRead {
			return fmt.Errorf("%w: operation %d of %v is neither append nor read", ErrMalformed, i, t.ID)
		}
	}
	return nil
}
