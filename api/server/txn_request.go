package server

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

const (
	// maxTxnBody is the longest body of a transaction, in bytes: its keys and values with every byte escaped as \u0000, and
	// 2 KiB for the rest of each condition and operation.
	maxTxnBody = 6*api.MaxTxnBytes + api.MaxTxnItems*(2<<10)
	// freeTxnBody is how much of a body is read whatever else is going on, in bytes.
	freeTxnBody = 64 << 10
	// txnBodyBudget is how many bytes of larger bodies there may be at once. Who finds it spent is told to come back.
	txnBodyBudget = 256 << 20
)

// budget is a number of bytes that requests share.
type budget struct{ left atomic.Int64 }

// take takes n bytes, and reports whether there were so many.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) give(n int64) { b.left.Add(n) }

// errNoTransactor is the answer of a server that was made without one.
var errNoTransactor = detailed{api.ErrNotReady, "this node runs no transactions"}

// readTxn reads and checks the whole request. It returns what it took of s.bodies, also with an error.
func (s *Server) readTxn(r *http.Request) (req *txn.Request, taken int64, err error) {
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return nil, 0, err
	}
	if s.txns == nil {
		return nil, 0, errNoTransactor
	}
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return nil, 0, err
	}
	body, taken, err := s.readTxnBody(r)
	if err != nil {
		return nil, taken, err
	}
	wire, err := api.DecodeTxn(body, s.cfg.MaxValueBytes)
	if err != nil {
		return nil, taken, err
	}
	req = txnRequest(wire)
	if key != "" {
		req.Token = idempotencyToken("", key, body)
	}
	return req, taken, nil
}

// readTxnBody reads the body. What is beyond freeTxnBody is taken from s.bodies before it is read; it returns how much
// that was, also with an error.
func (s *Server) readTxnBody(r *http.Request) (body []byte, taken int64, err error) {
	if r.ContentLength > maxTxnBody {
		return nil, 0, &api.LimitError{What: "body", Limit: maxTxnBody, Actual: r.ContentLength}
	}
	top := maxTxnBody
	if r.ContentLength >= 0 {
		top = int(r.ContentLength) // more will not come
	}
	body = make([]byte, 0, txnBodyHint(r.ContentLength))
	for limit := freeTxnBody; ; {
		body, err = readAll(r.Body, body, limit)
		switch {
		case err != nil:
			return nil, taken, bodyError(err)
		case len(body) <= limit:
			return body, taken, nil
		case limit >= top:
			return nil, taken, &api.LimitError{What: "body", Limit: maxTxnBody}
		}
		more := min(3*limit, top-limit)
		if !s.bodies.take(int64(more)) {
			return nil, taken, detailed{api.ErrOverloaded, "too many large transactions are being read"}
		}
		limit, taken = limit+more, taken+int64(more)
	}
}

// txnBodyHint returns how much room to set aside for a body of that length, -1 if it is not known.
func txnBodyHint(length int64) int {
	if length < 0 {
		return firstRead
	}
	return int(min(length, freeTxnBody))
}

// idempotencyKey returns the header of that name, "" if there is none.
func idempotencyKey(header http.Header) (string, error) {
	lines := header[api.HeaderIdempotencyKey]
	const where = "header Idempotency-Key"
	switch {
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", &api.InvalidError{Where: where, Detail: "is given more than once"}
	case lines[0] == "" || len(lines[0]) > api.MaxIdempotencyKeyBytes:
		return "", &api.InvalidError{Where: where, Detail: "has not 1 to 256 bytes"}
	default:
		return lines[0], nil
	}
}

// idempotencyToken makes of a client's key and its request's body what the cluster remembers. Two principals may use the
// same key; "" stands for nobody in particular.
func idempotencyToken(principal, key string, body []byte) *storage.Token {
	text := binary.AppendUvarint(make([]byte, 0, len(principal)+len(key)+1), uint64(len(principal)))
	text = append(append(text, principal...), key...)
	sum := sha256.Sum256(text)
	t := &storage.Token{Body: sha256.Sum256(body)}
	copy(t.Key[:], sum[:])
	return t
}

// txnRequest turns a checked transaction into what the core takes.
func txnRequest(t *api.Txn) *txn.Request {
	r := &txn.Request{
		If: make([]storage.TxnCondition, len(t.If)), Then: txnOps(t.Then), Else: txnOps(t.Else), HasElse: t.Else != nil,
		Protocol: coreProtocol(t.Protocol), Timeout: t.Timeout,
	}
	for i := range t.If {
		r.If[i] = coreCondition(&t.If[i])
	}
	return r
}

func coreProtocol(p api.TxnProtocol) storage.Protocol {
	switch p {
	case api.Protocol2PC:
		return storage.TwoPhase
	case api.Protocol3PC:
		return storage.ThreePhase
	default:
		return storage.Auto
	}
}

func coreCondition(c *api.TxnCondition) storage.TxnCondition {
	core := storage.TxnCondition{Key: c.Key}
	switch c.Test {
	case api.TestVersion:
		core.Test, core.Want = storage.TestVersion, storage.Version(c.Version)
	case api.TestExists:
		core.Test = storage.TestExists
	case api.TestAbsent:
		core.Test = storage.TestAbsent
	case api.TestValue:
		core.Test, core.Value = storage.TestValue, c.Value
	case api.TestToken:
		core.Test, core.Want = storage.TestToken, storage.Version(c.Token)
	}
	return core
}

func txnOps(ops []api.TxnOp) []storage.TxnOp {
	core := make([]storage.TxnOp, len(ops))
	for i := range ops {
		o := &ops[i]
		core[i] = storage.TxnOp{
			Kind: coreKind(o.Kind), Key: o.Key, Value: o.Value, TTL: storage.Millis(o.TTL / time.Millisecond),
			KeepTTL: o.KeepTTL, By: o.By, Min: o.Min, Max: o.Max,
		}
	}
	return core
}

func coreKind(kind api.TxnOpKind) storage.OpKind {
	switch kind {
	case api.OpPut:
		return storage.OpPut
	case api.OpDelete:
		return storage.OpDelete
	case api.OpAdd:
		return storage.OpAdd
	default:
		return storage.OpGet
	}
}
