package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// stubStore answers at once, so that a benchmark sees the server alone.
type stubStore struct {
	*fakeStore
	item server.Item
}

func (s *stubStore) Get(context.Context, []byte, api.Consistency) (server.Item, error) {
	return s.item, nil
}

func (s *stubStore) Put(context.Context, server.Put) (server.WriteResult, error) {
	return server.WriteResult{Version: 123456789, Partition: 42}, nil
}

// stubWriter is a ResponseWriter that keeps nothing.
type stubWriter struct {
	header http.Header
	status int
}

func (w *stubWriter) Header() http.Header         { return w.header }
func (w *stubWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *stubWriter) WriteHeader(status int)      { w.status = status }

// body is a request body that can be read again.
type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

func benchServer(b *testing.B) *server.Server {
	item := server.Item{Value: make([]byte, 256), ContentType: api.TypeOctetStream, Version: 123456789, Partition: 42}
	out := &txn.Outcome{
		ID: "04g2o0r1c6tq3v5h8k9m", Decision: storage.DecideThen, Protocol: storage.Auto, Participants: []storage.PartitionID{12, 88}, Attempts: 1,
		Results: []storage.OpResult{
			{Kind: storage.OpPut, Key: []byte("key-0000001234567"), Exists: true, Version: 123456789},
			{Kind: storage.OpPut, Key: []byte("key-0000001234568"), Exists: true, Version: 123456789},
		},
	}
	return newServer(b, server.Config{}, &stubStore{fakeStore: newFakeStore(), item: item}, server.WithTransactor(stubTxns{out}))
}

// stubTxns answers at once.
type stubTxns struct{ out *txn.Outcome }

func (s stubTxns) Transact(context.Context, *txn.Request) (*txn.Outcome, error) { return s.out, nil }

func (stubTxns) TxnStatus(context.Context, string) (txn.Status, error) {
	return txn.StatusCommitted, nil
}

func (stubTxns) TxnCounts() txn.Counts { return txn.Counts{} }

func benchmark(b *testing.B, r *http.Request, reset func(), want int) {
	s := benchServer(b)
	w := &stubWriter{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		reset()
		s.ServeHTTP(w, r)
		if w.status != want {
			b.Fatalf("status %d", w.status)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/v1/kv/key-0000001234567"}, Header: http.Header{}, Body: http.NoBody}
	benchmark(b, r, func() {}, http.StatusOK)
}

func BenchmarkGetNotModified(b *testing.B) {
	r := &http.Request{
		Method: "GET", URL: &url.URL{Path: "/v1/kv/key-0000001234567"}, Body: http.NoBody,
		Header: http.Header{"If-None-Match": {`"123456789"`}},
	}
	benchmark(b, r, func() {}, http.StatusNotModified)
}

func BenchmarkPut(b *testing.B) {
	value := make([]byte, 256)
	in := &body{}
	r := &http.Request{
		Method: "PUT", URL: &url.URL{Path: "/v1/kv/key-0000001234567"}, Header: http.Header{}, Body: in, ContentLength: int64(len(value)),
	}
	benchmark(b, r, func() { in.Reset(value) }, http.StatusOK)
}

// BenchmarkTxn writes two keys of 256 bytes under version conditions.
func BenchmarkTxn(b *testing.B) {
	request := api.Txn{}
	for _, key := range []string{"key-0000001234567", "key-0000001234568"} {
		request.If = append(request.If, api.TxnCondition{Test: api.TestVersion, Key: []byte(key), Version: 123456789})
		request.Then = append(request.Then, api.TxnOp{Kind: api.OpPut, Key: []byte(key), Value: bytes.Repeat([]byte("v"), 256)})
	}
	text := request.AppendJSON(nil)
	in := &body{}
	r := &http.Request{Method: "POST", URL: &url.URL{Path: api.PathTxn}, Header: http.Header{}, Body: in, ContentLength: int64(len(text))}
	benchmark(b, r, func() { in.Reset(text) }, http.StatusOK)
}

// BenchmarkGetOverTCP is the whole way through net/http, client's side included.
func BenchmarkGetOverTCP(b *testing.B) {
	conn := dial(b, listen(b, benchServer(b)))
	request := []byte("GET /v1/kv/key-0000001234567 HTTP/1.1\r\nHost: x\r\n\r\n")
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(answer); err != nil || n < 256 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkPutOverTCP is the same for a put of 256 bytes.
func BenchmarkPutOverTCP(b *testing.B) {
	conn := dial(b, listen(b, benchServer(b)))
	var request bytes.Buffer
	_, _ = io.WriteString(&request, "PUT /v1/kv/key-0000001234567 HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n")
	request.Write(make([]byte, 256))
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request.Bytes()); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}
