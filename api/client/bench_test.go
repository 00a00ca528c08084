package client_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ringkv/ringkv/api/client"
)

// BenchmarkTransport compares the transports. The server, in the same process, costs the same with both.
func BenchmarkTransport(b *testing.B) {
	value := make([]byte, 256)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Etag"] = []string{`"17"`}
		_, _ = w.Write(value)
	}))
	defer server.Close()
	const callers = 32 // for each processor
	plain := &http.Transport{MaxIdleConnsPerHost: 1024}
	defer plain.CloseIdleConnections()
	for _, bench := range []struct {
		name string
		hc   *http.Client
	}{{"lean", nil}, {"nethttp", &http.Client{Transport: plain}}} {
		b.Run(bench.name, func(b *testing.B) {
			c, err := client.New(client.Config{Nodes: []string{server.URL}, Direct: true, HTTPClient: bench.hc})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			b.ReportAllocs()
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Get(b.Context(), "bench/k-00000017"); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkTransact is what a small transaction costs the client. The server, in the same process, costs about what it
// costs in BenchmarkTransport.
func BenchmarkTransact(b *testing.B) {
	answer := []byte(`{"txn":"0123456789abcdef0123456789abcdef","committed":true,"branch":"then","results":[` +
		`{"key":"benchn/k-00000017","value":"999999999999","version":17},{"key":"benchn/k-00000018","value":"1000000000001","version":18}],` +
		`"protocol":"auto","partitions":[12,48],"attempts":1}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	defer server.Close()
	c, err := client.New(client.Config{Nodes: []string{server.URL}, Direct: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := c.Transact(b.Context(), client.NewTxn().Add("benchn/k-00000017", -1, client.AtLeast(0)).Add("benchn/k-00000018", 1))
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
