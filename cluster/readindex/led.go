package readindex

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// led is a group that this node leads, for one leadership.
type led struct {
	Standing
	others   []replica.ID // the voters but this one, each once
	asked    []read       // not confirmed yet, in order
	granted  []read       // confirmed, waiting for the engine to show what they must see
	vouchers []voucher
}

type read struct {
	tag   Tag
	after uint64 // it began behind this question: later ones confirm it
	index uint64 // what it sees must include
}

// voucher is what a voter has said in this leadership.
type voucher struct {
	voter  replica.ID
	known  bool   // moment is one
	moment Moment // at which it knew of no later term
	number uint64 // of the newest question that it has answered at that moment
	denied bool   // it has said otherwise: it is not asked again before the next tick
}

// othersOf are the voters of both halves but the replica itself, each once. The nodes behind this one come first, so that
// not everybody asks the same.
func othersOf(s *Standing) []replica.ID {
	var ids []replica.ID
	for _, half := range [...][]uint64{s.Voters, s.Outgoing} {
		for _, v := range half {
			if id := replica.ID(v); id != s.Replica && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	own := s.Replica.Node()
	slices.SortFunc(ids, func(a, b replica.ID) int { return cmp.Or(cmp.Compare(a.Node()-own, b.Node()-own), cmp.Compare(a, b)) })
	return ids
}

// confirmed reports whether a majority of voters has answered a question newer than after, this replica included if it is
// one of them.
func (l *led) confirmed(voters []uint64, after uint64) bool {
	n := 0
	for _, id := range voters {
		if v := l.find(replica.ID(id)); replica.ID(id) == l.Replica || v != nil && v.number > after {
			n++
		}
	}
	return n > len(voters)/2
}

// vouch takes in what an answer says of the voters on its node. It reports whether that is news.
func (l *led) vouch(from ring.NodeID, a *Answer) bool {
	news := false
	for i := range l.vouchers {
		v := &l.vouchers[i]
		if v.voter.Node() == from && v.known && v.moment == a.Moment && v.number < a.Number {
			v.number, news = a.Number, true
		}
	}
	return news
}

func (l *led) find(voter replica.ID) *voucher {
	for i := range l.vouchers {
		if l.vouchers[i].voter == voter {
			return &l.vouchers[i]
		}
	}
	return nil
}

// voucher finds a voter's, or makes one.
func (l *led) voucher(voter replica.ID) *voucher {
	if v := l.find(voter); v != nil {
		return v
	}
	l.vouchers = append(l.vouchers, voucher{voter: voter})
	return &l.vouchers[len(l.vouchers)-1]
}

// knownAt reports whether a voter was found to know of no later term at the moment that its node was last heard to be at.
func (l *led) knownAt(voter replica.ID, p *peer) bool {
	v := l.find(voter)
	return v != nil && v.known && p.newest > 0 && v.moment == p.moment
}
