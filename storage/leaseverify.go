package storage

// leases finds where what the partition keeps of leases contradicts itself: records that do not decode, that lack their
// time or are ahead of the partition, waiters for what nobody has, times of nothing.
func (v *verifier) leases(meta *Meta) error {
	var times uint64
	each := func(c column, visit func(k, cell []byte) (due []byte, err error)) error {
		start, end := columnRange(v.id, c)
		return v.r.Scan(start, end, false, func(k, cell []byte) (bool, error) {
			due, err := visit(k[prefixBytes:], cell)
			if err != nil {
				return false, err
			}
			times++
			_, err = v.r.Get(due)
			return true, missingCell(err, v.id, k[prefixBytes:])
		})
	}
	err := each(colLease, func(name, cell []byte) ([]byte, error) {
		rec, err := decodeLease(cell)
		if err == nil && rec.token > meta.Revision {
			err = corruptf("lease %q: its token %d is ahead of the partition", name, rec.token)
		}
		return leaseDueKey(v.id, rec.deadline, dueLease, name), err
	})
	if err == nil {
		err = each(colWaiter, v.waiter(meta))
	}
	if err == nil {
		err = each(colWaiterDone, func(k, cell []byte) ([]byte, error) {
			id, err := splitWaiterID(k)
			if err != nil {
				return nil, err
			}
			due, err := decodeDone(cell)
			return waiterDueKey(v.id, due, dueDone, id), err
		})
	}
	if err != nil {
		return err
	}
	return v.count(colLeaseDue, times)
}

func (v *verifier) waiter(meta *Meta) func(k, cell []byte) ([]byte, error) {
	return func(k, cell []byte) ([]byte, error) {
		id, err := splitWaiterID(k)
		if err != nil {
			return nil, err
		}
		w, err := decodeWaiter(id, cell)
		if err != nil {
			return nil, err
		}
		rec, err := readLease(v.r, v.id, []byte(w.name))
		if err == nil && (!rec.held() || w.arrival > meta.Applied) {
			err = corruptf("waiter %v: nobody has %q, or it is ahead of the partition", id, w.name)
		}
		return waiterDueKey(v.id, w.until, dueWaiter, id), err
	}
}
