package storage

import (
	"encoding/binary"
	"errors"
)

// TokenTTL is how long an idempotency token's record is kept, on the partition's clock, counted from the commit.
const TokenTTL Millis = 24 * 60 * 60 * 1000

// tokenRecord is what an idempotency token stands for: a transaction that committed, and the answer it gave.
type tokenRecord struct {
	key    [16]byte
	body   [32]byte // hash of the request
	txn    TxnID
	due    Millis // when it is removed
	answer uint64 // length; 0 while it is not known
}

const tokenFormat = 1

func (r *tokenRecord) chunks() uint32 {
	if r.answer <= inlineBody {
		return 0
	}
	return uint32((r.answer + MaxCellBytes - 1) / MaxCellBytes)
}

func tokenKey(id PartitionID, key [16]byte) []byte {
	return append(appendPrefix(make([]byte, 0, prefixBytes+len(key)), id, colToken), key[:]...)
}

func answerKey(id PartitionID, key [16]byte, chunk uint32) []byte {
	k := append(appendPrefix(make([]byte, 0, prefixBytes+len(key)+4), id, colAnswer), key[:]...)
	return binary.BigEndian.AppendUint32(k, chunk)
}

func tokenDueKey(id PartitionID, due Millis, key []byte) []byte {
	k := appendPrefix(make([]byte, 0, prefixBytes+8+len(key)), id, colTokenDue)
	return append(binary.BigEndian.AppendUint64(k, uint64(due)), key...)
}

// appendToken appends the cell of r without the answer.
func appendToken(dst []byte, r *tokenRecord) []byte {
	dst = append(append(dst, tokenFormat), r.body[:]...)
	dst = binary.AppendUvarint(appendTxnID(dst, r.txn), uint64(r.due))
	return binary.AppendUvarint(dst, r.answer)
}

func decodeToken(key [16]byte, cell []byte) (r tokenRecord, inline []byte, err error) {
	d := decoder{b: cell}
	if d.byte() != tokenFormat {
		d.fail(errBadFormat)
	}
	r.key = key
	d.fixed(r.body[:])
	r.txn, r.due, r.answer = d.txnID(), Millis(d.uvarint()), d.uvarint()
	if r.chunks() == 0 {
		inline, d.b = d.b, nil
	}
	err = d.finish()
	if err != nil || r.answer > MaxAnswerBytes || r.chunks() == 0 && uint64(len(inline)) != r.answer {
		return tokenRecord{}, nil, corruptf("record of token %x: %v", key, err)
	}
	return r, inline, nil
}

// readToken returns a token's record, false where there is none. inline is the answer where it stands in the cell.
func readToken(from Reader, id PartitionID, key [16]byte) (r tokenRecord, inline []byte, found bool, err error) {
	cell, err := from.Get(tokenKey(id, key))
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			err = nil
		}
		return tokenRecord{}, nil, false, err
	}
	r, inline, err = decodeToken(key, cell)
	return r, inline, err == nil, err
}

// readAnswer returns the answer of r, which the caller may keep.
func readAnswer(from Reader, id PartitionID, r *tokenRecord, inline []byte) ([]byte, error) {
	if r.chunks() == 0 {
		return append([]byte(nil), inline...), nil
	}
	return readChunks(from, func(chunk uint32) []byte { return answerKey(id, r.key, chunk) }, r.answer)
}

// writeToken stores r with its answer, over a record without one or over none.
func (p *Partition) writeToken(b Batch, r *tokenRecord, answer []byte) error {
	r.answer = uint64(len(answer))
	if r.chunks() > 0 {
		if err := setChunks(b, func(chunk uint32) []byte { return answerKey(p.id, r.key, chunk) }, answer); err != nil {
			return err
		}
		answer = nil
	}
	cell := appendToken(make([]byte, 0, 128+len(answer)), r)
	return b.Set(tokenKey(p.id, r.key), append(cell, answer...))
}

// tokenCost bounds what a commit adds to a batch for a token, the answer apart.
func tokenCost(participants int) int {
	return 2*writeCost(8+16) + 128 + txnHeadMax(participants)
}

// answerCost bounds what storing an answer adds to a batch.
func answerCost(answer int) int {
	if answer == 0 {
		return 0
	}
	return answer + (2+answer/MaxCellBytes+1)*writeCost(txnIDBytes+4)
}

// tokenObjection is why a transaction with this token cannot be prepared, nil if it can (section 5).
func (j *judgement) tokenObjection(t *Token) (*TxnReply, error) {
	if holder, held := j.p.locks.Holder(TokenSpace, t.Key[:], true, j.t.ID); held {
		no := j.no(TokenBusy)
		no.Holder = holder
		return no, nil
	}
	r, inline, found, err := readToken(j.b, j.p.id, t.Key)
	switch {
	case err != nil || !found:
		return nil, err
	case r.body != t.Body:
		return j.no(TokenReused), nil
	case r.answer == 0:
		no := j.no(TokenBusy)
		no.Holder = j.p.unanswered(r.txn)
		return no, nil
	}
	no := j.no(TokenAnswered)
	no.Answer, err = readAnswer(j.b, j.p.id, &r, inline)
	return no, err
}

// unanswered is the transaction whose answer a token waits for.
func (p *Partition) unanswered(t TxnID) *OpenTxn {
	if r := p.txns.node(t.Node).run(t.Incarnation).record(t.Seq); r != nil && r.open != nil {
		return r.open
	}
	return &OpenTxn{ID: t}
}

// storedAnswer is the answer for the command's token, nil if it has none any more.
func (j *judgement) storedAnswer() ([]byte, error) {
	if j.t.Prepare.Token == nil {
		return nil, nil
	}
	r, inline, found, err := readToken(j.b, j.p.id, j.t.Prepare.Token.Key)
	if err != nil || !found || r.body != j.t.Prepare.Token.Body {
		return nil, err
	}
	return readAnswer(j.b, j.p.id, &r, inline)
}

// storeToken makes the token stand for the transaction, which commits just now. Without an answer the record is kept as
// unfinished until a Commit brings one.
func (j *judgement) storeToken(part *Prepare, answer []byte) error {
	p, r := j.p, j.rec
	due := p.meta.Clock + TokenTTL
	p.nextToken = min(p.nextToken, due)
	if err := j.b.Set(tokenDueKey(p.id, due, part.Token.Key[:]), nil); err != nil {
		return err
	}
	if len(answer) == 0 {
		r.token = part.Token.Key
		r.open = openOf(r.id, r.attempt, r.home, part)
		r.open.Decision = r.decision
	}
	return p.writeToken(j.b, &tokenRecord{key: part.Token.Key, body: part.Token.Body, txn: r.id, due: due}, answer)
}

// fill stores the answer that a Commit brings to a record that lacks it, and acknowledges.
func (j *judgement) fill() (*TxnReply, error) {
	r := j.rec
	if !r.unanswered() || len(j.t.Answer) == 0 {
		return j.ack(), nil
	}
	tok, _, found, err := readToken(j.b, j.p.id, r.token)
	if err != nil {
		return nil, err
	}
	if found && tok.txn == r.id {
		if err := j.p.writeToken(j.b, &tok, j.t.Answer); err != nil {
			return nil, err
		}
	}
	r.open, r.token = nil, [16]byte{}
	return j.ack(), j.p.rewriteRecord(j.b, r)
}

type dueToken struct {
	at  Millis
	key [16]byte
}

// sweepTokens removes the token records whose time is over.
func (p *Partition) sweepTokens(g *budget) error {
	if g.spent() || p.nextToken > p.meta.Clock {
		return nil
	}
	due, err := p.dueTokens(g.b, g.left)
	if err != nil {
		return err
	}
	for _, d := range due {
		if g.spent() {
			break
		}
		if err := p.removeToken(g.b, d); err != nil {
			return err
		}
		g.left--
	}
	p.nextToken, err = firstToken(g.b, p.id, p.nextToken)
	return err
}

func (p *Partition) dueTokens(r Reader, limit int) ([]dueToken, error) {
	var due []dueToken
	start, end := tokenDueKey(p.id, p.nextToken, nil), tokenDueKey(p.id, p.meta.Clock+1, nil)
	err := r.Scan(start, end, true, func(k, _ []byte) (bool, error) {
		d, err := splitTokenDueKey(k)
		due = append(due, d)
		return len(due) < limit, err
	})
	return due, err
}

func splitTokenDueKey(k []byte) (d dueToken, err error) {
	if len(k) != prefixBytes+8+len(d.key) {
		return d, corruptf("token index key of %d bytes", len(k))
	}
	d.at = Millis(binary.BigEndian.Uint64(k[prefixBytes:]))
	copy(d.key[:], k[prefixBytes+8:])
	return d, nil
}

func (p *Partition) removeToken(b Batch, d dueToken) error {
	r, _, found, err := readToken(b, p.id, d.key)
	if err != nil {
		return err
	}
	if !found || r.due != d.at {
		return corruptf("partition %d token %x: its index says %d, its record %d", p.id, d.key, d.at, r.due)
	}
	if err := deleteChunks(b, func(chunk uint32) []byte { return answerKey(p.id, d.key, chunk) }, 0, r.chunks()); err != nil {
		return err
	}
	if err := b.Delete(tokenDueKey(p.id, d.at, d.key[:])); err != nil {
		return err
	}
	return b.Delete(tokenKey(p.id, d.key))
}

// firstToken returns when the first token record at or after from is to be removed.
func firstToken(r Reader, id PartitionID, from Millis) (Millis, error) {
	first := noDeadline
	if from == noDeadline {
		return first, nil
	}
	_, end := columnRange(id, colTokenDue)
	err := r.Scan(tokenDueKey(id, from, nil), end, true, func(k, _ []byte) (bool, error) {
		d, err := splitTokenDueKey(k)
		first = d.at
		return false, err
	})
	return first, err
}
