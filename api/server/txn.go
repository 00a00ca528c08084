package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// Transactor runs transactions. Its methods may be called by any number of goroutines. Their errors match the sentinels
// of package txn, and are inside a *txn.Error once the transaction has an id; an error that matches none is taken for a
// fault of the node (500, outcome unknown).
type Transactor interface {
	// Transact runs r, whose slices are the Transactor's to keep, and returns once its fate is known. It answers by itself
	// about r.Timeout after the call; ctx ends some time later, and when the server is stopped, but not when the client
	// hangs up. If ctx ends first, the error is a *txn.Error with txn.ErrUnknownOutcome. The transaction is finished in any
	// case.
	Transact(ctx context.Context, r *txn.Request) (*txn.Outcome, error)
	// TxnStatus says what became of a transaction. Errors: txn.ErrNotFound, also for text that is no id;
	// txn.ErrUnavailable where nobody could tell in time.
	TxnStatus(ctx context.Context, id string) (txn.Status, error)
	// TxnCounts is how this node's transactions stand, for the metrics.
	TxnCounts() txn.Counts
}

// answerGrace is how much longer than a transaction's timeout its answer is waited for.
const answerGrace = 2 * time.Second

// txnRoutes are the routes of transactions.
func (s *Server) txnRoutes() []route {
	return append(read(api.PathTxn+"/{id}", s.txnStatus), route{http.MethodPost, api.PathTxn, s.transact})
}

// transact answers POST /v1/txn.
func (s *Server) transact(c echo.Context) error {
	req, taken, err := s.readTxn(c.Request())
	defer s.bodies.give(taken)
	if err != nil {
		return err
	}
	// A client that hangs up does not abort: it may have sent the request for its effect.
	started := time.Now()
	ctx, done := s.deadlines.Until(started.Add(req.Timeout + answerGrace))
	defer done()
	s.allowAnswer(c, req.Timeout+answerGrace)
	out, err := s.txns.Transact(ctx, req)
	if err == nil && out.Decision == storage.DecideNothing {
		err = txnFailed(out)
	}
	if err != nil {
		err = txnError(err, req.ReadOnly())
	}
	s.metrics.txns.observe(req, out, err, time.Since(started))
	if out != nil && out.Replayed {
		c.Response().Header()[api.HeaderIdempotencyReplayed] = s.fixed.yes
	}
	if err != nil {
		return err
	}
	return s.answerTxn(c, out)
}

// allowAnswer moves the deadline for taking the answer behind the time that the answer may take: the server's own is
// counted from the header. That for reading needs no such care: net/http lifts it once the request was read.
func (s *Server) allowAnswer(c echo.Context, wait time.Duration) {
	out := http.NewResponseController(c.Response().Writer)
	_ = out.SetWriteDeadline(time.Now().Add(wait + s.cfg.WriteTimeout)) // a fake writer in a test may have none
}

// answerTxn sends the outcome of a transaction that was done.
func (s *Server) answerTxn(c echo.Context, out *txn.Outcome) error {
	result := txnResult(out)
	buf := s.buffer()
	defer s.release(buf)
	*buf = append(result.AppendJSON((*buf)[:0]), '\n')
	return s.writeBody(c, http.StatusOK, s.fixed.json, *buf)
}

// txnStatus answers GET /v1/txn/{id}.
func (s *Server) txnStatus(c echo.Context) error {
	r := c.Request()
	if _, err := parseQuery(r.URL.RawQuery, noParams); err != nil {
		return err
	}
	if s.txns == nil {
		return errNoTransactor
	}
	id := strings.TrimPrefix(r.URL.Path, api.PathTxn+"/")
	ctx, cancel := s.withTimeout(r)
	defer cancel()
	status, err := s.txns.TxnStatus(ctx, id)
	if err != nil {
		return txnError(err, true)
	}
	c.Response().Header()[headerCacheControl] = s.fixed.noStore
	return s.writeJSON(c, api.TxnStatus{Txn: id, Status: txnState(status)})
}
