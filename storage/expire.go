package storage

import "slices"

const (
	// MaxExpire is how many keys one expire lets go, whatever its Limit.
	MaxExpire = 1024
	// expireBytes is about how many bytes of keys it lets go at most: watchers are told of all of them at once.
	expireBytes = 128 << 10
)

// expire moves the horizon towards the command's clock, past as many keys as it may: from then on they are absent. It reads
// the expiry index only. All that expire in one entry get one new version. What they occupy is given back later, see purge.
func (p *Partition) expire(b Batch, c *Command) (Result, error) {
	s := expiring{p: p, b: b, to: c.Clock, left: min(c.Limit, MaxExpire), bytes: expireBytes}
	if err := s.run(); err != nil {
		return Result{}, err
	}
	res := Result{Status: StatusExpired, Count: s.count}
	if s.count > 0 {
		res.Version = p.meta.Revision
	}
	return res, nil
}

// expiring is an expire while it is applied.
type expiring struct {
	p     *Partition
	b     Batch
	to    Millis
	left  uint32 // keys, and bytes of keys
	bytes int
	last  Horizon // right behind the last key
	next  Millis  // the first deadline that is not passed
	cut   bool    // it stopped short of the clock
	count uint32  // keys that expired
}

func (s *expiring) run() error {
	p := s.p
	if p.next == noDeadline {
		s.next = noDeadline // not a cell to look at
	} else if err := s.scan(); err != nil {
		return err
	}
	switch {
	case !s.cut && s.to > p.meta.Horizon.At:
		p.meta.Horizon = Horizon{At: s.to}
	case s.cut && s.last.Key != nil:
		p.meta.Horizon = s.last
	}
	p.next = s.next
	return nil
}

func (s *expiring) scan() error {
	s.next = noDeadline
	_, end := columnRange(s.p.id, colExpiry)
	return s.b.Scan(s.p.beyond(s.p.next), end, false, func(k, cell []byte) (bool, error) {
		at, key, err := splitExpiryKey(k)
		if err != nil {
			return false, err
		}
		s.cut = at <= s.to && (s.left == 0 || s.bytes <= 0)
		if s.cut || at > s.to {
			s.next = at
			return false, nil
		}
		s.left--
		s.bytes -= len(key)
		s.last = Horizon{At: at - 1, Key: append(s.last.Key[:0], key...)}
		return true, s.pass(at, key, cell)
	})
}

// pass lets one key expire, or holds it while a transaction has it locked: what was there at the vote is there at the
// decision.
func (s *expiring) pass(at Millis, key, cell []byte) error {
	p := s.p
	if _, locked := p.locks.Holder(ItemSpace, key, true, TxnID{}); locked {
		p.hold(key)
		return s.b.Set(heldKey(p.id, key), nil)
	}
	length, err := p.lengthOf(s.b, key, cell)
	if err != nil {
		return err
	}
	if s.count == 0 {
		p.meta.Revision++
	}
	s.count++
	p.lapsed(at, key, length)
	return nil
}

// lapsed takes in that a key has expired, at the newest version.
func (p *Partition) lapsed(deadline Millis, key []byte, length uint64) {
	p.meta.LastRemoval = p.meta.Revision
	p.meta.Expired++
	p.lapses++
	p.meta.ExpiredBytes += uint64(len(key)) + length
	p.oldest = min(p.oldest, deadline)
	p.recorder.expire(p.meta.Applied, key, p.meta.Revision)
}

// settleHeld ends the hold of those unlocked keys that no other transaction has locked: after every command that may have
// released locks. It does not look at all that are held, of which there may be thousands while a coordinator is gone.
func (p *Partition) settleHeld(b Batch) error {
	slices.Sort(p.unlocked)
	for _, name := range p.unlocked {
		if _, locked := p.locks.Holder(ItemSpace, []byte(name), true, TxnID{}); locked {
			continue
		}
		if err := p.endHold(b, []byte(name)); err != nil {
			return err
		}
	}
	clear(p.unlocked)
	p.unlocked = p.unlocked[:0]
	return nil
}

// endHold lets a held key expire, unless it was overwritten or removed under the lock.
func (p *Partition) endHold(b Batch, key []byte) error {
	delete(p.held, string(key))
	if err := b.Delete(heldKey(p.id, key)); err != nil {
		return err
	}
	rec, err := p.lookup(b, key)
	if err != nil {
		return err
	}
	if p.expired(key, &rec) {
		p.meta.Revision++
		p.lapsed(rec.deadline, key, rec.length)
	}
	return nil
}

// noteUnlocked takes note of the held keys among those whose locks are to be released.
func (p *Partition) noteUnlocked(holds []hold) {
	if len(p.held) == 0 {
		return
	}
	for i := range holds {
		name := holds[i].of
		if _, held := p.held[string(name.name)]; held && name.space == ItemSpace {
			p.unlocked = append(p.unlocked, string(name.name))
		}
	}
}

// heldCost bounds what settleHeld adds to a batch once r's locks are released.
func (p *Partition) heldCost(r *txnRecord) int {
	if len(p.held) == 0 || r == nil {
		return 0
	}
	cost := 0
	for i := range r.holds {
		name := r.holds[i].of
		if _, held := p.held[string(name.name)]; held && name.space == ItemSpace {
			cost += writeCost(len(name.name))
		}
	}
	return cost
}

// beyond is where the expiry index goes on behind the horizon, given that there is no deadline before next.
func (p *Partition) beyond(next Millis) []byte {
	h := &p.meta.Horizon
	if len(h.Key) > 0 && next <= h.At+1 {
		return expiryKey(p.id, h.At+1, append(slices.Clone(h.Key), 0))
	}
	return expiryKey(p.id, max(next, h.At+1), nil)
}

// firstDeadline returns the first deadline beyond the horizon.
func (p *Partition) firstDeadline(r Reader) (Millis, error) {
	first := noDeadline
	_, end := columnRange(p.id, colExpiry)
	err := r.Scan(p.beyond(0), end, true, func(k, _ []byte) (bool, error) {
		at, _, err := splitExpiryKey(k)
		first = at
		return false, err
	})
	return first, err
}
