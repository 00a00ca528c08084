package storage

import (
	"math"
	"slices"

	"github.com/ringkv/ringkv/ring"
)

// validTxn tells whether a decoded transaction command is within the limits and makes sense.
func (c *Command) validTxn() bool {
	t := c.Txn
	if t.Mark > maxMark || t.ID.Node == 0 || t.ID.Incarnation == 0 || t.ID.Incarnation == math.MaxUint32 {
		return false
	}
	switch c.Kind {
	case KindMark:
		return t.ID.Seq == 0 && t.Attempt == 0 && t.Home == 0
	case KindClose, KindForget:
		return t.ID.Seq == 0 && t.Attempt == 0 && t.Home == 0 && t.Mark == 0
	}
	if t.ID.Seq == 0 || t.ID.Seq > maxMark || t.Attempt == 0 || t.Attempt == Sealed {
		return false
	}
	switch c.Kind {
	case KindPrepare, KindSingle:
		return t.Prepare.valid(c.Kind, t.Home)
	case KindDecide:
		return t.Decision.Commits()
	case KindPropose:
		return t.Decision != Undecided
	case KindCommit:
		return t.Decision.Commits() && len(t.Answer) <= MaxAnswerBytes
	}
	return true // refuse, inquire, abort
}

func (p *Prepare) valid(k Kind, home PartitionID) bool {
	if len(p.Participants) == 0 || len(p.Participants) > MaxTxnParticipants || p.Participants[0] != home {
		return false
	}
	for i, id := range p.Participants[1:] {
		if id <= p.Participants[i] {
			return false
		}
	}
	if (p.Protocol == OnePhase) != (k == KindSingle) || p.Protocol == 0 || k == KindSingle && len(p.Participants) != 1 {
		return false
	}
	if q := p.Partitions; q == 0 || q > ring.MaxPartitions || q&(q-1) != 0 {
		return false
	}
	if len(p.If)+len(p.Then)+len(p.Else) > MaxTxnItems || p.bytes() > MaxTxnBytes {
		return false
	}
	badOp := func(op TxnOp) bool { return !op.valid() }
	badIf := func(c TxnCondition) bool { return !validKey(c.Key) || c.Want >= 1<<53 }
	return !slices.ContainsFunc(p.If, badIf) && !slices.ContainsFunc(p.Then, badOp) && !slices.ContainsFunc(p.Else, badOp)
}

func (op *TxnOp) valid() bool {
	return validKey(op.Key) && len(op.Value) <= MaxValueBytes && op.TTL <= MaxTTL && !(op.KeepTTL && op.TTL != 0)
}

// bytes counts keys and values.
func (p *Prepare) bytes() int {
	n := 0
	for i := range p.If {
		n += len(p.If[i].Key) + len(p.If[i].Value)
	}
	for i := range p.Then {
		n += len(p.Then[i].Key) + len(p.Then[i].Value)
	}
	for i := range p.Else {
		n += len(p.Else[i].Key) + len(p.Else[i].Value)
	}
	return n
}
