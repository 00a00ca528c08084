package txn

import (
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Plan is a request divided among the groups. It is read only.
type Plan struct {
	Request  *Request
	Protocol storage.Protocol // OnePhase where one group takes part
	Parts    []Part           // ascending by group; the first is the home
}

// Part is what one group gets of a transaction.
type Part struct {
	Group   storage.PartitionID
	Prepare storage.Prepare // Age, Ordered and Deny are left zero
	Bytes   int             // keys and values, and something for each condition and operation: about its encoding
	Payload int             // keys and values alone, which the limit of a transaction counts
}

// partOverhead is what the encoding of one condition or operation takes beside its key and value, at most.
const partOverhead = 48

// NewPlan divides r under rg. Every group with a condition, an operation of either branch or the idempotency token takes
// part. ErrEmpty where there is none.
func NewPlan(rg *ring.Ring, r *Request) (*Plan, error) {
	var space [16]storage.PartitionID // of what most requests have
	where := groupsOf(space[:0], rg, r)
	if len(where) == 0 {
		return nil, ErrEmpty
	}
	plan := emptyPlan(rg, r, where)
	for i := range r.If {
		part := plan.item(where[i], r.If[i].Key, r.If[i].Value)
		c := r.If[i]
		c.Index = uint32(i)
		part.Prepare.If = append(part.Prepare.If, c)
	}
	where = where[len(r.If):]
	for i := range r.Then {
		part := plan.item(where[i], r.Then[i].Key, r.Then[i].Value)
		part.Prepare.Then = append(part.Prepare.Then, numbered(r.Then, i))
	}
	where = where[len(r.Then):]
	for i := range r.Else {
		part := plan.item(where[i], r.Else[i].Key, r.Else[i].Value)
		part.Prepare.Else = append(part.Prepare.Else, numbered(r.Else, i))
	}
	if r.Token != nil {
		plan.part(where[len(r.Else)], len(r.Token.Key)+len(r.Token.Body)).Prepare.Token = r.Token
	}
	return plan, nil
}

// groupsOf appends the group of each condition and operation, of then before else, and of the token.
func groupsOf(dst []storage.PartitionID, rg *ring.Ring, r *Request) []storage.PartitionID {
	for i := range r.If {
		dst = append(dst, rg.Partition(r.If[i].Key))
	}
	for i := range r.Then {
		dst = append(dst, rg.Partition(r.Then[i].Key))
	}
	for i := range r.Else {
		dst = append(dst, rg.Partition(r.Else[i].Key))
	}
	if r.Token != nil {
		dst = append(dst, rg.Partition(r.Token.Key[:]))
	}
	return dst
}

// emptyPlan has a part for each group that occurs in where.
func emptyPlan(rg *ring.Ring, r *Request, where []storage.PartitionID) *Plan {
	groups := slices.Clone(where)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	plan := &Plan{Request: r, Protocol: protocolFor(r.Protocol, len(groups)), Parts: make([]Part, len(groups))}
	for i, id := range groups {
		plan.Parts[i] = Part{Group: id, Prepare: storage.Prepare{
			Protocol: plan.Protocol, Participants: groups, Partitions: uint32(rg.Partitions()), HasElse: r.HasElse,
		}}
	}
	return plan
}

func numbered(ops []storage.TxnOp, i int) storage.TxnOp {
	op := ops[i]
	op.Index = uint32(i)
	return op
}

// item is the part of a group that a condition or an operation belongs to, which grows by it.
func (p *Plan) item(group storage.PartitionID, key, value []byte) *Part {
	part := p.part(group, len(key)+len(value))
	part.Payload += len(key) + len(value)
	return part
}

// part is the part of a group, which grows by so many bytes.
func (p *Plan) part(group storage.PartitionID, size int) *Part {
	i, _ := slices.BinarySearch(p.Participants(), group)
	part := &p.Parts[i]
	part.Bytes += size + partOverhead
	return part
}

func protocolFor(wanted storage.Protocol, groups int) storage.Protocol {
	switch {
	case groups == 1:
		return storage.OnePhase
	case wanted == storage.TwoPhase, wanted == storage.ThreePhase:
		return wanted
	}
	return storage.Auto
}

// Home is the lowest participant.
func (p *Plan) Home() storage.PartitionID { return p.Parts[0].Group }

// Participants are all groups, ascending. The slice must not be written to.
func (p *Plan) Participants() []storage.PartitionID { return p.Parts[0].Prepare.Participants }

// Bytes is what all parts take, about.
func (p *Plan) Bytes() int {
	n := 0
	for i := range p.Parts {
		n += p.Parts[i].Bytes
	}
	return n
}

// Fits returns ErrTooLarge where the keys and values that a group gets are over limit bytes.
func (p *Plan) Fits(limit int) error {
	for i := range p.Parts {
		if part := &p.Parts[i]; part.Payload > limit {
			return fmt.Errorf("partition %d gets %d bytes of at most %d: %w", part.Group, part.Payload, limit, ErrTooLarge)
		}
	}
	return nil
}
