package server_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// onePut is a least request that writes.
const onePut = `{"then":[{"op":"put","key":"k","value":"v"}]}`

func TestTxnErrors(t *testing.T) {
	withID := func(err error) error { return fmt.Errorf("run: %w", &txn.Error{ID: "t1", Err: err}) }
	cases := []struct {
		name      string
		err       error
		code      api.Code
		outcome   api.Outcome
		retryable bool
		readCode  api.Code // of a read-only transaction, where it differs
	}{
		{"conflict", txn.ErrConflict, api.CodeConflict, api.Aborted, true, ""},
		{"in flight", txn.ErrInFlight, api.CodeIdempotencyInFlight, api.Unknown, true, ""},
		{"key reused", txn.ErrTokenReused, api.CodeIdempotencyKeyReused, api.Aborted, false, ""},
		{"too large", txn.ErrTooLarge, api.CodeTooLarge, api.Aborted, false, ""},
		{"timeout", txn.ErrTimeout, api.CodeUnavailable, api.Aborted, true, ""},
		{"unavailable", txn.ErrUnavailable, api.CodeUnavailable, api.Aborted, true, ""},
		{"overloaded", txn.ErrOverloaded, api.CodeOverloaded, api.Aborted, true, ""},
		{"disk full", txn.ErrDiskFull, api.CodeDiskFull, api.Aborted, false, ""},
		{"unknown", txn.ErrUnknownOutcome, api.CodeUnknownOutcome, api.Unknown, false, api.CodeUnavailable},
		{"unknown beats known", errors.Join(txn.ErrConflict, txn.ErrUnknownOutcome), api.CodeUnknownOutcome, api.Unknown, false, api.CodeUnavailable},
		{"deadline", context.DeadlineExceeded, api.CodeUnknownOutcome, api.Unknown, false, api.CodeUnavailable},
		{"cancelled", context.Canceled, api.CodeUnknownOutcome, api.Unknown, false, api.CodeUnavailable},
		{"not a member", cluster.ErrNotMember, api.CodeNotReady, api.Aborted, true, ""},
		{"anything else", errors.New("secret path"), api.CodeInternal, api.Unknown, false, ""},
	}
	for _, c := range cases {
		for name, err := range map[string]error{"without an id": c.err, "with an id": withID(c.err), "never begun": &txn.Error{Err: c.err}} {
			t.Run(c.name+" "+name, func(t *testing.T) {
				w := do(t, txnServer(t, answering(nil, err)), post(onePut))
				retryAfter := w.Header().Get("Retry-After")
				p := problem(t, "POST", w)
				if p.Code != c.code || p.Outcome != c.outcome || p.Retryable != c.retryable || w.Code != c.code.Status() {
					t.Errorf("%d %+v", w.Code, p)
				}
				if c.code == api.CodeIdempotencyInFlight && retryAfter == "" {
					t.Error("no Retry-After")
				}
				if c.code == api.CodeTooLarge && p.Limit == 0 {
					t.Error("no limit")
				}
				checkTxnID(t, p, name == "with an id" && c.code != api.CodeIdempotencyInFlight && c.code != api.CodeIdempotencyKeyReused)
				if strings.Contains(p.Detail, "secret") {
					t.Errorf("detail shows an inner error: %q", p.Detail)
				}
				checkReadOnly(t, err, cmp.Or(c.readCode, c.code))
			})
		}
	}
}

// checkTxnID checks that a problem names the transaction, or that it does not.
func checkTxnID(t *testing.T, p *api.Problem, named bool) {
	t.Helper()
	id, url := "", ""
	if named {
		id, url = "t1", "/v1/txn/t1"
	}
	if p.Txn != id || p.StatusURL != url {
		t.Errorf("txn %q, status_url %q, want %q", p.Txn, p.StatusURL, id)
	}
}

// checkReadOnly checks what a transaction that cannot write is told for err.
func checkReadOnly(t *testing.T, err error, want api.Code) {
	t.Helper()
	if p := problem(t, "POST", do(t, txnServer(t, answering(nil, err)), post(oneGet))); p.Code != want {
		t.Errorf("read-only: %+v, want %s", p, want)
	}
}

func TestTxnStatusErrors(t *testing.T) {
	cases := []struct {
		err  error
		code api.Code
	}{
		{txn.ErrNotFound, api.CodeTxnNotFound}, {fmt.Errorf("transaction id %q: %w", "x", txn.ErrNotFound), api.CodeTxnNotFound},
		{txn.ErrUnavailable, api.CodeUnavailable}, {txn.ErrUnknownOutcome, api.CodeUnavailable},
		{context.DeadlineExceeded, api.CodeUnavailable}, {errors.New("secret"), api.CodeInternal},
	}
	for _, c := range cases {
		p := problem(t, "GET", do(t, txnServer(t, answering(nil, c.err)), call{method: "GET", target: "/v1/txn/t1"}))
		if p.Code != c.code || p.Status != c.code.Status() {
			t.Errorf("%v: %+v", c.err, p)
		}
	}
	s := txnServer(t, &fakeTxns{})
	if p := problem(t, "GET", do(t, s, call{method: "GET", target: "/v1/txn/t1?x=1"})); p.Code != api.CodeInvalid {
		t.Errorf("unknown parameter: %+v", p)
	}
}

// TestTxnRefused sends what must not reach the Transactor. Package api has every way to be malformed.
func TestTxnRefused(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"op":"get","key":"k"},`, 1025), ",")
	cases := []struct {
		name, target, body string
		status             int
		where              string
		limit, actual      int64
	}{
		{"nothing", "", "", 400, "body", 0, 0},
		{"duplicate field", "", `{"then":[{"op":"get","key":"k","key":"k"}]}`, 400, "/then/0/key", 0, 0},
		{"unknown field", "", `{"then":[{"op":"get","key":"k"}],"readonly":true}`, 400, "/readonly", 0, 0},
		{"wrong type", "", `{"then":[{"op":"get","key":"k"},{"op":"add","key":"k","by":"1"}]}`, 400, "/then/1/by", 0, 0},
		{"too deep", "", `{"if":` + strings.Repeat("[", 1<<20), 400, "/if/0", 0, 0},
		{"trailing", "", oneGet + "{}", 400, "body", 0, 0},
		{"unknown parameter", "?dry_run=1", oneGet, 400, `query parameter "dry_run"`, 0, 0},
		{"too many operations", "", `{"then":[` + many + `]}`, 413, "transaction", 1024, 1025},
		{"long key", "", `{"then":[{"op":"get","key":"` + strings.Repeat("k", 1025) + `"}]}`, 413, "/then/0/key", 1024, 1025},
		{"value over this node's limit", "", `{"then":[{"op":"put","key":"k","value":"12345678901"}]}`, 413, "/then/0/value", 10, 11},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			txns := &fakeTxns{}
			s := newServer(t, server.Config{MaxValueBytes: 10}, newFakeStore(), server.WithTransactor(txns))
			w := do(t, s, call{method: "POST", target: api.PathTxn + c.target, body: c.body})
			p := problem(t, "POST", w)
			if w.Code != c.status || p.Where != c.where || p.Limit != c.limit || p.Actual != c.actual || p.Outcome != api.Aborted || txns.count() != 0 {
				t.Errorf("%d %+v, %d run", w.Code, p, txns.count())
			}
		})
	}
}

// TestTxnFalseOrBrokenIsNot400 sends what only the store can judge.
func TestTxnFalseOrBrokenIsNot400(t *testing.T) {
	txns := &fakeTxns{}
	s := txnServer(t, txns)
	for _, body := range []string{
		`{"if":[{"key":"k","exists":true},{"key":"k","exists":false}],"then":[{"op":"get","key":"k"}]}`,
		`{"then":[{"op":"put","key":"k","value":"no number"},{"op":"add","key":"k","by":1}]}`,
		`{"then":[{"op":"add","key":"k","by":9223372036854775807},{"op":"add","key":"k","by":9223372036854775807}]}`,
		`{"then":[{"op":"add","key":"k","by":1,"min":5,"max":4}]}`,
	} {
		if w := do(t, s, post(body)); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if txns.count() != 4 {
		t.Errorf("%d reached the Transactor", txns.count())
	}
}

func TestServerWithoutTransactor(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	for _, c := range []call{post(oneGet), {method: "GET", target: "/v1/txn/t1"}} {
		if p := problem(t, c.method, do(t, s, c)); p.Code != api.CodeNotReady {
			t.Errorf("%s: %+v", c.method, p)
		}
	}
}

// noJSON is a body of that many bytes, refused at its first one, but only once it has been read.
func noJSON(size int) io.Reader { return strings.NewReader(strings.Repeat("x", size)) }

// send sends a body; length is -1 if the request does not say how long it is.
func send(s http.Handler, body io.Reader, length int) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", api.PathTxn, body)
	r.ContentLength = int64(length)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestTxnBodyLimit(t *testing.T) {
	const limit = 6*api.MaxTxnBytes + api.MaxTxnItems*2048
	s := txnServer(t, &fakeTxns{})
	for size, want := range map[int]int{1: 400, 64 << 10: 400, 64<<10 + 1: 400, 1 << 20: 400, limit: 400, limit + 1: 413} {
		for _, length := range []int{size, -1} {
			w := send(s, noJSON(size), length)
			p := problem(t, "POST", w)
			if w.Code != want || p.Where != "body" {
				t.Errorf("%d bytes, announced as %d: %+v", size, length, p)
			}
			if want == 413 && (p.Limit != limit || p.Actual != max(0, int64(length))) {
				t.Errorf("%d bytes, announced as %d: %+v", size, length, p)
			}
		}
	}
}

// gate is the end of a body: it comes once open is closed. It reports that it was reached.
type gate struct {
	reached chan<- struct{}
	open    <-chan struct{}
}

func (g gate) Read([]byte) (int, error) {
	g.reached <- struct{}{}
	<-g.open
	return 0, io.EOF
}

// TestLargeTxnsAreBounded fills the room for large bodies with some that do not end.
func TestLargeTxnsAreBounded(t *testing.T) {
	const fits = 5 // of 256 MiB, each that does not say how long it is and passes 16 may take 50
	reached, open := make(chan struct{}, fits+1), make(chan struct{})
	s := txnServer(t, &fakeTxns{})
	large := func() *httptest.ResponseRecorder {
		return send(s, io.MultiReader(noJSON(17<<20), gate{reached, open}), -1)
	}
	var running sync.WaitGroup
	for range fits {
		running.Go(func() { large() })
		<-reached
	}
	if p := problem(t, "POST", large()); p.Code != api.CodeOverloaded || !p.Retryable || p.Outcome != api.Aborted {
		t.Errorf("one too many: %+v", p)
	}
	if w := do(t, s, post(oneGet)); w.Code != http.StatusOK {
		t.Errorf("a small one beside them: %d %s", w.Code, w.Body)
	}
	close(open)
	running.Wait()
	if w := large(); w.Code != http.StatusBadRequest {
		t.Errorf("after the room was given back: %d %s", w.Code, w.Body)
	}
}

func TestTxnBodyThatEndsEarly(t *testing.T) {
	txns := &fakeTxns{}
	r := httptest.NewRequest("POST", api.PathTxn, io.MultiReader(strings.NewReader(oneGet), brokenReader{}))
	w := httptest.NewRecorder()
	txnServer(t, txns).ServeHTTP(w, r)
	if p := problem(t, "POST", w); w.Code != 400 || p.Where != "body" || p.Outcome != api.Aborted || txns.count() != 0 {
		t.Errorf("%d %+v, %d run", w.Code, p, txns.count())
	}
}

// brokenReader is the rest of a body that was cut.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestHangingUpDoesNotAbort lets the client go while its transaction runs.
func TestHangingUpDoesNotAbort(t *testing.T) {
	started, gone, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	txns := &fakeTxns{transact: func(ctx context.Context, _ *txn.Request) (*txn.Outcome, error) {
		close(started)
		<-gone
		left <- ctx.Err()
		return nil, txn.ErrConflict
	}}
	ctx, hangUp := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "POST", api.PathTxn, strings.NewReader(onePut))
	s := txnServer(t, txns)
	var handled sync.WaitGroup
	handled.Go(func() { s.ServeHTTP(httptest.NewRecorder(), r) })
	<-started
	hangUp()
	close(gone)
	if err := <-left; err != nil {
		t.Errorf("the Transactor's context ended with the client's: %v", err)
	}
	handled.Wait()
}

// TestLongTxnIsAnswered runs a transaction to the end of its time, which is above the server's write timeout.
func TestLongTxnIsAnswered(t *testing.T) {
	var waited time.Duration
	txns := &fakeTxns{transact: func(ctx context.Context, _ *txn.Request) (*txn.Outcome, error) {
		begun := time.Now()
		<-ctx.Done()
		waited = time.Since(begun)
		return nil, &txn.Error{ID: "t1", Err: txn.ErrUnknownOutcome}
	}}
	bubble(t, server.Config{WriteTimeout: 20 * time.Second}, newFakeStore(), func(t *testing.T, _ *server.Server, l *pipeListener) {
		conn := l.dial()
		defer conn.Close()
		body := `{"then":[{"op":"delete","key":"k"}],"timeout":"60s"}`
		resp, text := exchange(t, conn, bufio.NewReader(conn), "POST", fmt.Sprintf("POST /v1/txn HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		if resp.StatusCode != http.StatusGatewayTimeout || !strings.Contains(text, `"txn":"t1","status_url":"/v1/txn/t1"`) {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
		if waited < time.Minute || waited > time.Minute+5*time.Second {
			t.Errorf("the Transactor had %s", waited)
		}
	}, server.WithTransactor(txns))
}

func TestTxnMetrics(t *testing.T) {
	outcomes := []struct {
		out *txn.Outcome
		err error
	}{
		{&txn.Outcome{Decision: storage.DecideThen, Protocol: storage.OnePhase, Attempts: 1}, nil},
		{&txn.Outcome{Decision: storage.DecideElse, Protocol: storage.OnePhase, Attempts: 1}, nil},
		{&txn.Outcome{Decision: storage.DecideThen, Protocol: storage.Auto, Attempts: 3}, nil},
		{&txn.Outcome{Decision: storage.DecideNothing, Protocol: storage.Auto, Attempts: 1}, nil},
		{&txn.Outcome{Decision: storage.DecideThen, Protocol: storage.Auto, Attempts: 7, Replayed: true}, nil},
		{nil, txn.ErrConflict}, {nil, txn.ErrUnknownOutcome},
	}
	next := 0
	txns := &fakeTxns{transact: func(context.Context, *txn.Request) (*txn.Outcome, error) {
		o := outcomes[next]
		next++
		return o.out, o.err
	}}
	s := txnServer(t, txns)
	for range outcomes {
		do(t, s, post(onePut))
	}
	do(t, s, post(`{}`)) // never reached the Transactor
	for name, want := range map[string]string{
		`ringkv_transactions_total{outcome="committed",protocol="1pc"}`:          "2",
		`ringkv_transactions_total{outcome="committed",protocol="auto"}`:         "1",
		`ringkv_transactions_total{outcome="condition_failed",protocol="auto"}`:  "1",
		`ringkv_transactions_total{outcome="conflict",protocol="auto"}`:          "1",
		`ringkv_transactions_total{outcome="unknown_outcome",protocol="auto"}`:   "1",
		`ringkv_transactions_total{outcome="invalid_request",protocol="auto"}`:   "",
		`ringkv_transaction_seconds_count{outcome="committed",protocol="1pc"}`:   "2",
		`ringkv_transaction_attempts_count`:                                      "4",
		`ringkv_transaction_attempts_sum`:                                        "6",
		`ringkv_transaction_conflicts_total`:                                     "3",
		`ringkv_transactions_replayed_total`:                                     "1",
		`ringkv_http_requests_total{method="POST",route="/v1/txn",status="200"}`: "4",
	} {
		if got := metric(t, s, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
