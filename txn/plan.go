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
	p := planner{rg: rg, parts: make(map[storage.PartitionID]*Part)}
	for i := range r.If {
		part := p.item(r.If[i].Key, r.If[i].Value)
		c := r.If[i]
		c.Index = uint32(i)
		part.Prepare.If = append(part.Prepare.If, c)
	}
	for i := range r.Then {
		part := p.item(r.Then[i].Key, r.Then[i].Value)
		part.Prepare.Then = append(part.Prepare.Then, numbered(r.Then, i))
	}
	for i := range r.Else {
		part := p.item(r.Else[i].Key, r.Else[i].Value)
		part.Prepare.Else = append(part.Prepare.Else, numbered(r.Else, i))
	}
	if r.Token != nil {
		p.part(r.Token.Key[:], len(r.Token.Body)).Prepare.Token = r.Token
	}
	if len(p.parts) == 0 {
		return nil, ErrEmpty
	}
	return p.plan(r), nil
}

func numbered(ops []storage.TxnOp, i int) storage.TxnOp {
	op := ops[i]
	op.Index = uint32(i)
	return op
}

type planner struct {
	rg    *ring.Ring
	parts map[storage.PartitionID]*Part
}

// item is the part that a condition or an operation belongs to, which grows by it.
func (p *planner) item(key, value []byte) *Part {
	part := p.part(key, len(value))
	part.Payload += len(key) + len(value)
	return part
}

func (p *planner) part(key []byte, value int) *Part {
	id := p.rg.Partition(key)
	part := p.parts[id]
	if part == nil {
		part = &Part{Group: id}
		p.parts[id] = part
	}
	part.Bytes += len(key) + value + partOverhead
	return part
}

func (p *planner) plan(r *Request) *Plan {
	groups := make([]storage.PartitionID, 0, len(p.parts))
	for id := range p.parts {
		groups = append(groups, id)
	}
	slices.Sort(groups)
	plan := &Plan{Request: r, Protocol: protocolFor(r.Protocol, len(groups)), Parts: make([]Part, 0, len(groups))}
	for _, id := range groups {
		part := p.parts[id]
		part.Prepare.Protocol = plan.Protocol
		part.Prepare.Participants = groups
		part.Prepare.Partitions = uint32(p.rg.Partitions())
		part.Prepare.HasElse = r.HasElse
		plan.Parts = append(plan.Parts, *part)
	}
	return plan
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
