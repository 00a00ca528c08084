package server_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// oneGet is a least request.
const oneGet = `{"then":[{"op":"get","key":"k"}]}`

// txnServer returns a Server over txns.
func txnServer(t testing.TB, txns *fakeTxns) *server.Server {
	t.Helper()
	return newServer(t, server.Config{}, newFakeStore(), server.WithTransactor(txns))
}

// post sends a transaction.
func post(body string, header ...string) call {
	return call{method: "POST", target: api.PathTxn, body: body, header: header}
}

// TestTxnRequest checks what reaches the Transactor.
func TestTxnRequest(t *testing.T) {
	bound := func(n int64) *int64 { return &n }
	k := []byte("k")
	cases := []struct {
		name, body string
		want       txn.Request
	}{
		{"least", oneGet, txn.Request{
			If: []storage.TxnCondition{}, Then: []storage.TxnOp{{Kind: storage.OpGet, Key: k}}, Else: []storage.TxnOp{},
			Protocol: storage.Auto, Timeout: 5 * time.Second,
		}},
		{"conditions", `{"if":[{"key":"k","version":17},{"key":"k","version":0},{"key":"k","exists":true},{"key":"k","exists":false},{"key_b64":"aw==","value":""},{"lock":"k","token":42}],"then":[],"protocol":"2pc","timeout":"1ms"}`,
			txn.Request{
				If: []storage.TxnCondition{
					{Test: storage.TestVersion, Key: k, Want: 17}, {Test: storage.TestVersion, Key: k}, {Test: storage.TestExists, Key: k},
					{Test: storage.TestAbsent, Key: k}, {Test: storage.TestValue, Key: k, Value: []byte{}}, {Test: storage.TestToken, Key: k, Want: 42},
				},
				Then: []storage.TxnOp{}, Else: []storage.TxnOp{}, Protocol: storage.TwoPhase, Timeout: time.Millisecond,
			}},
		{"operations", `{"then":[{"op":"put","key":"k","value":"v","ttl":"24h"},{"op":"put","key":"k","value_b64":"/w==","keepttl":true},{"op":"delete","key":"k"}],` +
			`"else":[{"op":"add","key":"k","by":-100,"min":0},{"op":"add","key":"k","by":1,"max":9}],"protocol":"3pc","timeout":"60s"}`,
			txn.Request{
				If: []storage.TxnCondition{},
				Then: []storage.TxnOp{
					{Kind: storage.OpPut, Key: k, Value: []byte("v"), TTL: 24 * 3600 * 1000}, {Kind: storage.OpPut, Key: k, Value: []byte{0xff}, KeepTTL: true},
					{Kind: storage.OpDelete, Key: k},
				},
				Else: []storage.TxnOp{{Kind: storage.OpAdd, Key: k, By: -100, Min: bound(0)}, {Kind: storage.OpAdd, Key: k, By: 1, Max: bound(9)}}, HasElse: true,
				Protocol: storage.ThreePhase, Timeout: time.Minute,
			}},
		{"empty else", `{"then":[{"op":"get","key":"k"}],"else":[]}`, txn.Request{
			If: []storage.TxnCondition{}, Then: []storage.TxnOp{{Kind: storage.OpGet, Key: k}}, Else: []storage.TxnOp{}, HasElse: true,
			Protocol: storage.Auto, Timeout: 5 * time.Second,
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			txns := &fakeTxns{}
			if w := do(t, txnServer(t, txns), post(c.body)); w.Code != http.StatusOK {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if got := txns.last(); !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got  %+v\nwant %+v", *got, c.want)
			}
		})
	}
}

func TestTxnAnswers(t *testing.T) {
	two := []storage.PartitionID{12, 88}
	cases := []struct {
		name string
		out  txn.Outcome
		want string
	}{
		{
			"then",
			txn.Outcome{
				ID: "t1", Decision: storage.DecideThen, Protocol: storage.Auto, Participants: two, Attempts: 1,
				Results: []storage.OpResult{
					{Kind: storage.OpAdd, Key: []byte("acct/1"), Exists: true, Value: []byte("0"), Version: 18},
					{Kind: storage.OpPut, Key: []byte("tx/9"), Exists: true, Version: 19, Value: []byte("ignored")},
					{Kind: storage.OpGet, Key: []byte("a"), Exists: true, Version: 4}, {Kind: storage.OpGet, Key: []byte("b")},
					{Kind: storage.OpGet, Key: []byte{0xff}, Exists: true, Value: []byte{0xfe}, Version: 5}, {Kind: storage.OpDelete, Key: []byte("hold/9")},
				},
			},
			`{"txn":"t1","committed":true,"branch":"then","results":[{"key":"acct/1","value":"0","version":18},{"key":"tx/9","version":19},` +
				`{"key":"a","value":"","version":4},{"key":"b","exists":false},{"key_b64":"/w==","value_b64":"/g==","version":5},{"key":"hold/9","exists":false}],` +
				`"protocol":"auto","partitions":[12,88],"attempts":1}`,
		},
		{
			"else", txn.Outcome{ID: "t1", Decision: storage.DecideElse, Protocol: storage.OnePhase, Participants: two[:1], Attempts: 3},
			`{"txn":"t1","committed":true,"branch":"else","results":[],"protocol":"1pc","partitions":[12],"attempts":3}`,
		},
		{
			"results that were not kept", txn.Outcome{ID: "t1", Decision: storage.DecideThen, Protocol: storage.Auto, Participants: two, Attempts: 1, Truncated: true},
			`{"txn":"t1","committed":true,"branch":"then","results":[],"protocol":"auto","partitions":[12,88],"attempts":1,"results_truncated":true}`,
		},
		{
			"2pc", txn.Outcome{ID: "t1", Decision: storage.DecideThen, Protocol: storage.TwoPhase, Participants: two, Attempts: 1},
			`{"txn":"t1","committed":true,"branch":"then","results":[],"protocol":"2pc","partitions":[12,88],"attempts":1}`,
		},
		{
			"3pc", txn.Outcome{ID: "t1", Decision: storage.DecideThen, Protocol: storage.ThreePhase, Participants: two, Attempts: 1},
			`{"txn":"t1","committed":true,"branch":"then","results":[],"protocol":"3pc","partitions":[12,88],"attempts":1}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { checkAnswered(t, c.out, c.want) })
	}
}

// checkAnswered checks the answer for out, as it is and as a stored one.
func checkAnswered(t *testing.T, out txn.Outcome, want string) {
	t.Helper()
	for _, replayed := range []bool{false, true} {
		out.Replayed = replayed
		w := do(t, txnServer(t, answering(&out, nil)), post(oneGet))
		if w.Code != http.StatusOK || w.Body.String() != want+"\n" || w.Header().Get("Content-Type") != api.TypeJSON {
			t.Errorf("%d\ngot  %swant %s", w.Code, w.Body, want)
		}
		checkReplayed(t, w.Header(), replayed)
	}
}

func checkReplayed(t *testing.T, h http.Header, replayed bool) {
	t.Helper()
	want := ""
	if replayed {
		want = "true"
	}
	if got := h.Get("Idempotency-Replayed"); got != want {
		t.Errorf("Idempotency-Replayed %q, want %q", got, want)
	}
}

func TestTxnConditionsFailed(t *testing.T) {
	out := txn.Outcome{
		ID: "t1", Decision: storage.DecideNothing, Protocol: storage.Auto, Participants: []storage.PartitionID{1, 2}, Attempts: 1,
		Failed: []txn.Failure{
			{In: txn.InIf, Index: 0, Key: []byte("acct/1"), Version: 18}, {In: txn.InIf, Index: 1, Key: []byte{0xff}},
			{In: txn.InIf, Index: 3, Key: []byte("ledger"), Lock: true, Version: 43},
		},
	}
	cases := []struct {
		name, want string
		failed     []txn.Failure
	}{
		{
			"conditions", `"failed":[{"in":"if","index":0,"key":"acct/1","version":18},{"in":"if","index":1,"key_b64":"/w==","version":0},{"in":"if","index":3,"lock":"ledger","token":43}]`,
			out.Failed,
		},
		{"free lock", `"failed":[{"in":"if","index":0,"lock":"l","token":0}]`, []txn.Failure{{In: txn.InIf, Key: []byte("l"), Lock: true}}},
		{"bound", `"failed":[{"in":"then","index":2,"key":"k","version":7,"code":"bound"}]`, []txn.Failure{{In: txn.InThen, Index: 2, Key: []byte("k"), Version: 7, Op: storage.OpBound}}},
		{"overflow", `"failed":[{"in":"else","index":0,"key":"k","version":0,"code":"overflow"}]`, []txn.Failure{{In: txn.InElse, Key: []byte("k"), Op: storage.OpOverflow}}},
		{"not a number", `"failed":[{"in":"then","index":0,"key":"k","version":9,"code":"not_a_number"}]`, []txn.Failure{{In: txn.InThen, Key: []byte("k"), Version: 9, Op: storage.OpNoNumber}}},
	}
	for _, c := range cases {
		for _, replayed := range []bool{false, true} {
			out := out
			out.Failed, out.Replayed = c.failed, replayed
			w := do(t, txnServer(t, answering(&out, nil)), post(oneGet))
			if !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%s: got %s, want %s", c.name, w.Body, c.want)
			}
			checkReplayed(t, w.Header(), replayed)
			p := problem(t, "POST", w)
			if w.Code != http.StatusPreconditionFailed || p.Code != api.CodeConditionFailed || p.Outcome != api.Aborted || p.Retryable ||
				p.Txn != "t1" || p.StatusURL != "/v1/txn/t1" || len(p.Failed) != len(c.failed) || strings.Contains(p.Detail, "t1") {
				t.Errorf("%s: %d %+v", c.name, w.Code, p)
			}
		}
	}
}

func TestTxnStatus(t *testing.T) {
	for status, want := range map[txn.Status]string{txn.StatusPending: "pending", txn.StatusCommitted: "committed", txn.StatusAborted: "aborted"} {
		txns := answering(nil, nil)
		txns.status = func(_ context.Context, _ string) (txn.Status, error) { return status, nil }
		w := do(t, txnServer(t, txns), call{method: "GET", target: "/v1/txn/t1"})
		if w.Code != 200 || w.Body.String() != `{"txn":"t1","status":"`+want+"\"}\n" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := do(t, txnServer(t, txns), call{method: "HEAD", target: "/v1/txn/t1"}); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("HEAD: %d %s", w.Code, w.Body)
		}
	}
}

// TestTxnIDsAreExact checks that an id reaches the Transactor as it was escaped, so that no other id is taken for it.
func TestTxnIDsAreExact(t *testing.T) {
	for target, id := range map[string]string{
		"/v1/txn/abc": "abc", "/v1/txn/": "", "/v1/txn/a%2Fb": "a/b", "/v1/txn/a/../b": "a/../b", "/v1/txn/%61": "a", "/v1/txn//v1/txn/a": "/v1/txn/a",
	} {
		txns := &fakeTxns{}
		do(t, txnServer(t, txns), call{method: "GET", target: target})
		if len(txns.asked) != 1 || txns.asked[0] != id {
			t.Errorf("%s asked for %q, want %q", target, txns.asked, id)
		}
	}
}

func TestTxnVerbs(t *testing.T) {
	s := txnServer(t, &fakeTxns{})
	for target, allow := range map[string]string{"/v1/txn": "POST", "/v1/txn/t1": "GET, HEAD"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "POST", "OPTIONS"} {
			if strings.Contains(allow, method) {
				continue
			}
			w := do(t, s, call{method: method, target: target, body: oneGet})
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, target, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	txns := &fakeTxns{}
	s := txnServer(t, txns)
	token := func(body string, header ...string) *storage.Token {
		t.Helper()
		if w := do(t, s, post(body, header...)); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return txns.last().Token
	}
	if got := token(oneGet); got != nil {
		t.Errorf("a token without a header: %v", got)
	}
	first, again := token(oneGet, "Idempotency-Key: a"), token(oneGet, "idempotency-key: a")
	if *first != *again {
		t.Error("the same key and body make another token")
	}
	if first.Body != sha256.Sum256([]byte(oneGet)) {
		t.Error("the body is not hashed as it came")
	}
	spaced := token(oneGet+" ", "Idempotency-Key: a")
	if spaced.Key != first.Key || spaced.Body == first.Body {
		t.Error("another body, though it means the same, must have the same key and another hash")
	}
	if other := token(oneGet, "Idempotency-Key: b"); other.Key == first.Key || other.Body != first.Body {
		t.Error("another key must be another token")
	}
	for _, key := range []string{"\xff\x80", strings.Repeat("k", 256), "a b", "\"quoted\""} {
		token(oneGet, "Idempotency-Key: "+key)
	}
	refused := map[string][]string{
		"empty": {"Idempotency-Key: "}, "long": {"Idempotency-Key: " + strings.Repeat("k", 257)},
		"twice": {"Idempotency-Key: a", "Idempotency-Key: a"}, "twice, once empty": {"Idempotency-Key: a", "Idempotency-Key: "},
	}
	for name, header := range refused {
		before := txns.count()
		w := do(t, s, post(oneGet, header...))
		if p := problem(t, "POST", w); w.Code != 400 || p.Where != "header Idempotency-Key" || p.Outcome != api.Aborted || txns.count() != before {
			t.Errorf("%s: %d %+v", name, w.Code, p)
		}
	}
}

// TestTxnCountsAreMetrics: what the Transactor counts is there to be watched.
func TestTxnCountsAreMetrics(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore(), server.WithTransactor(&fakeTxns{}))
	body := do(t, s, call{method: http.MethodGet, target: "/metrics"}).Body.String()
	for _, want := range []string{
		"ringkv_transactions_running 3\n", "ringkv_transactions_recovering 2\n",
		"ringkv_transaction_recoveries_total 5\n", "ringkv_transaction_alarms_total 1\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no line %q", want)
		}
	}
}
