package storage

import "encoding/binary"

// The flags of a Vote, of a BranchVote and of an OpResult. The numbers are on disk: append only.
const (
	voteElse = 1 << iota
	voteToken
	voteFlags = voteElse | voteToken

	resultExists = 1
	resultFlags  = resultExists
)

func appendVote(dst []byte, v *Vote) []byte {
	dst = append(dst, boolByte(v.HasElse)*voteElse|boolByte(v.Token)*voteToken)
	dst = binary.AppendUvarint(dst, uint64(len(v.If)))
	for i := range v.If {
		s := &v.If[i]
		dst = binary.AppendUvarint(dst, uint64(s.Index))
		dst = binary.AppendUvarint(append(dst, boolByte(s.Holds)), uint64(s.Version))
	}
	return appendBranch(appendBranch(dst, &v.Then), &v.Else)
}

func (d *decoder) vote() *Vote {
	flags := d.flags(voteFlags)
	v := &Vote{HasElse: flags&voteElse != 0, Token: flags&voteToken != 0}
	if n := d.items(); n > 0 {
		v.If = make([]Seen, n)
	}
	for i := range v.If {
		v.If[i] = Seen{Index: d.uint32(), Holds: d.bool(), Version: Version(d.uvarint())}
	}
	d.branch(&v.Then)
	d.branch(&v.Else)
	return v
}

func appendBranch(dst []byte, b *BranchVote) []byte {
	dst = append(dst, boolByte(b.Failed != nil))
	if f := b.Failed; f != nil {
		dst = binary.AppendUvarint(dst, uint64(f.Index))
		dst = binary.AppendUvarint(append(dst, byte(f.Failure)), uint64(f.Version))
		dst = appendBytes(dst, f.Key)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Results)))
	for i := range b.Results {
		dst = appendOpResult(dst, &b.Results[i])
	}
	return dst
}

func (d *decoder) branch(b *BranchVote) {
	if d.bool() {
		b.Failed = &FailedOp{
			Index: d.uint32(), Failure: OpFailure(d.enum(byte(OpNoNumber))), Version: Version(d.uvarint()), Key: d.bytes(),
		}
	}
	if n := d.items(); n > 0 {
		b.Results = make([]OpResult, n)
	}
	for i := range b.Results {
		d.opResult(&b.Results[i])
	}
}

// hasValue tells which results carry a value.
func (r *OpResult) hasValue() bool { return r.Exists && (r.Kind == OpGet || r.Kind == OpAdd) }

func appendOpResult(dst []byte, r *OpResult) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.Index))
	dst = append(dst, byte(r.Kind), boolByte(r.Exists)*resultExists)
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	dst = appendBytes(dst, r.Key)
	if r.hasValue() {
		dst = appendBytes(dst, r.Value)
	}
	return dst
}

func (d *decoder) opResult(r *OpResult) {
	r.Index = d.uint32()
	r.Kind = OpKind(d.enum(byte(OpAdd)))
	r.Exists = d.flags(resultFlags)&resultExists != 0
	r.Version = Version(d.uvarint())
	r.Key = d.bytes()
	if r.hasValue() {
		r.Value = d.bytes()
	}
}
