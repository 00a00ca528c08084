package storage

import "slices"

// Clone returns a Result that may be kept. Most replicas only look at what they have applied: who has to answer somebody
// makes a copy, and nobody else pays for one.
func (r Result) Clone() Result {
	if r.Txn != nil {
		r.Txn = r.Txn.clone()
	}
	return r
}

// clone copies the reply and the vote in it. OpenTxns are never changed, answers and alarms are nobody else's.
func (r *TxnReply) clone() *TxnReply {
	if r.Vote == nil {
		own := *r
		return &own
	}
	both := &struct {
		reply TxnReply
		vote  Vote
	}{*r, *r.Vote}
	both.reply.Vote = &both.vote
	both.vote.own()
	return &both.reply
}

// own gives v memory of its own.
func (v *Vote) own() {
	v.If = slices.Clone(v.If)
	n := 0
	for _, b := range [...]*BranchVote{&v.Then, &v.Else} {
		if b.Failed != nil {
			n += len(b.Failed.Key)
		}
		for i := range b.Results {
			n += len(b.Results[i].Key) + len(b.Results[i].reused())
		}
	}
	text := make(text, 0, n)
	v.Then.own(&text)
	v.Else.own(&text)
}

func (b *BranchVote) own(t *text) {
	if b.Failed != nil {
		failed := *b.Failed
		failed.Key = t.add(failed.Key)
		b.Failed = &failed
	}
	b.Results = slices.Clone(b.Results)
	for i := range b.Results {
		r := &b.Results[i]
		r.Key = t.add(r.Key)
		if r.reused() != nil {
			r.Value = t.add(r.Value)
		}
	}
}

// reused returns the value if it stands in memory that is used again: a sum. One that was read has its own.
func (r *OpResult) reused() []byte {
	if r.Kind == OpAdd {
		return r.Value
	}
	return nil
}

// text is memory for several byte slices, which it is long enough for.
type text []byte

// add copies v to the end and returns the copy.
func (t *text) add(v []byte) []byte {
	from := len(*t)
	*t = append(*t, v...)
	return (*t)[from:len(*t):len(*t)]
}
