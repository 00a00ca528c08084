package txn

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/storage"
)

const outcomeFormat = 1

// The flags of an outcome and of a result in it. The numbers are on disk: append only.
const (
	outcomeTruncated = 1 << 0
	resultExists     = 1 << 0
)

// MaxAnswerBytes is the length of the longest outcome that an idempotency token keeps in full: well under what a group
// takes (storage.MaxAnswerBytes), because it is written in one batch with what the transaction writes there.
const MaxAnswerBytes = 2 << 20

// AppendOutcome appends to dst what the record of an idempotency token keeps of o: everything but Replayed and the keys,
// which the repeated request has again. Where that is more than MaxAnswerBytes, the results are left out and
// Truncated is set: the replay then tells what became of the transaction, but not what it read.
func AppendOutcome(dst []byte, o *Outcome) []byte {
	start := len(dst)
	dst = appendOutcome(dst, o)
	if len(dst)-start <= MaxAnswerBytes {
		return dst
	}
	short := *o
	short.Results, short.Truncated = nil, true
	return appendOutcome(dst[:start], &short)
}

func appendOutcome(dst []byte, o *Outcome) []byte {
	var flags byte
	if o.Truncated {
		flags |= outcomeTruncated
	}
	dst = append(dst, outcomeFormat, flags, byte(o.Decision), byte(o.Protocol))
	dst = binary.AppendUvarint(dst, uint64(o.Attempts))
	dst = appendBytes(dst, []byte(o.ID))
	dst = binary.AppendUvarint(dst, uint64(len(o.Participants)))
	for _, p := range o.Participants {
		dst = binary.AppendUvarint(dst, uint64(p))
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Results)))
	for i := range o.Results {
		dst = appendOpResult(dst, &o.Results[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Failed)))
	for i := range o.Failed {
		f := &o.Failed[i]
		dst = append(dst, byte(f.In), byte(f.Op))
		dst = binary.AppendUvarint(dst, uint64(f.Index))
		dst = binary.AppendUvarint(dst, uint64(f.Version))
	}
	return dst
}

func appendOpResult(dst []byte, r *storage.OpResult) []byte {
	var flags byte
	if r.Exists {
		flags |= resultExists
	}
	dst = append(dst, byte(r.Kind), flags)
	dst = binary.AppendUvarint(dst, uint64(r.Index))
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	return appendBytes(dst, r.Value)
}

// DecodeOutcome decodes what AppendOutcome made; anything else is ErrMalformed. Keys are left to Outcome.Name. Values
// alias b.
func DecodeOutcome(b []byte) (*Outcome, error) {
	d := decoder{b: b}
	if d.byte() != outcomeFormat {
		d.fail(errFormat)
	}
	flags := d.enum(outcomeTruncated)
	o := &Outcome{Truncated: flags&outcomeTruncated != 0}
	o.Decision = storage.Decision(d.enum(byte(storage.DecideNothing)))
	o.Protocol = storage.Protocol(d.enum(byte(storage.ThreePhase)))
	if o.Decision == storage.Undecided || o.Protocol == 0 {
		d.fail(errValue)
	}
	o.Attempts = uint32(d.uint(1<<32 - 1))
	o.ID = string(d.bytes())
	for range d.count() {
		o.Participants = append(o.Participants, storage.PartitionID(d.uint(1<<16-1)))
	}
	for range d.count() {
		o.Results = append(o.Results, d.opResult())
	}
	for range d.count() {
		o.Failed = append(o.Failed, d.failure())
	}
	if err := d.finish(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return o, nil
}

func (d *decoder) opResult() storage.OpResult {
	kind, flags := d.enum(byte(storage.OpAdd)), d.enum(resultExists)
	r := storage.OpResult{Kind: storage.OpKind(kind), Exists: flags&resultExists != 0}
	r.Index = uint32(d.uint(1<<32 - 1))
	r.Version = storage.Version(d.uint(1<<64 - 1))
	if v := d.bytes(); len(v) > 0 {
		r.Value = slices.Clip(v)
	}
	return r
}

func (d *decoder) failure() Failure {
	in, op := d.enum(byte(InElse)), d.enum(byte(storage.OpNoNumber))
	if in == 0 {
		d.fail(errValue)
	}
	f := Failure{In: Section(in), Op: storage.OpFailure(op)}
	f.Index = uint32(d.uint(1<<32 - 1))
	f.Version = storage.Version(d.uint(1<<64 - 1))
	return f
}
