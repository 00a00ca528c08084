package server_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

// FuzzRequest sends whole requests: every answer is of the contract's shape, and only a success changes the store.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /v1/kv/a HTTP/1.1\r\nHost: x\r\nIf-None-Match: W/\"1\"\r\n\r\n",
		"PUT /v1/kv/a%2Fb?ttl=1s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nIf-Match: \"1\", *\r\n\r\nx",
		"PUT /v1/kv/new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n2\r\nab\r\n0\r\n\r\n",
		"DELETE /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/kv?prefix=a&limit=1 HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson;q=0.1\r\n\r\n",
		"GET /v1/ring/locate?key=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/ring HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
		"POST /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/kv/../../x HTTP/1.0\r\n\r\n",
		"POST /v1/txn HTTP/1.1\r\nHost: x\r\nContent-Length: 35\r\nIdempotency-Key: i\r\n\r\n{\"then\":[{\"op\":\"delete\",\"key\":\"a\"}]}",
		"POST /v1/txn?x=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"GET /v1/txn/t1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /v1/txn/a/../b HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		store := newFakeStore()
		store.items["a"] = server.Item{Key: []byte("a"), Value: []byte("value"), Version: 1}
		txns := &fakeTxns{}
		s := newServer(t, server.Config{MaxValueBytes: 1 << 10}, store, server.WithTransactor(txns))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		checkAnswer(t, r, w)
		if changed := store.revision != 0; changed != (w.Code/100 == 2 && (r.Method == "PUT" || r.Method == "DELETE")) {
			t.Errorf("status %d, store changed: %v", w.Code, changed)
		}
		if ran := len(txns.requests) != 0; ran != (r.Method == "POST" && w.Code == 200) {
			t.Errorf("status %d, transaction run: %v", w.Code, ran)
		}
	})
}

func checkAnswer(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	switch w.Code {
	case 200, 201, 204, 304:
		return
	case 400, 404, 405, 412, 413:
		if r.Method != http.MethodHead {
			problem(t, r.Method, w)
		}
	default:
		body, _ := io.ReadAll(w.Body)
		t.Errorf("status %d: %s", w.Code, strings.TrimSpace(string(body)))
	}
	if got := w.Header().Get("Content-Type"); got != api.TypeProblem {
		t.Errorf("error of type %q", got)
	}
}
