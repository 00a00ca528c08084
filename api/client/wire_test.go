package client_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// rawServer answers each request on each connection with what answer returns, byte for byte, and hangs up after "".
// answer gets the number of the connection and of the request on it, from 0 on.
func rawServer(t *testing.T, answer func(conn, req int) string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	conns := make(chan net.Conn, 64)
	go func() {
		defer close(ended)
		defer close(conns)
		for i := 0; ; i++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns <- conn
			go serveRaw(conn, func(req int) string { return answer(i, req) })
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-ended
		for conn := range conns {
			_ = conn.Close()
		}
	})
	return ln.Addr().String()
}

func serveRaw(conn net.Conn, answer func(req int) string) {
	defer func() { _ = conn.Close() }()
	br := bufio.NewReader(conn)
	for i := 0; ; i++ {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		text := answer(i)
		if _, err := io.WriteString(conn, text); err != nil || text == "" {
			return
		}
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"17\"\r\n\r\nhello"

// TestAnswersOfEveryKind reads answers that the plain parser leaves to net/http, and refuses broken ones.
func TestAnswersOfEveryKind(t *testing.T) {
	const etag = "ETag: \"17\"\r\n"
	for _, test := range []struct {
		name, answer string
		want         string // value; "" if the answer is to be refused
	}{
		{"plain", okAnswer, "hello"},
		{"chunked", "HTTP/1.1 200 OK\r\n" + etag + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + okAnswer, "hello"},
		{"HTTP/1.0 to the end", "HTTP/1.0 200 OK\r\n" + etag + "Content-Length: 5\r\n\r\nhello", "hello"},
		{"large head", "HTTP/1.1 200 OK\r\n" + etag + "X: " + strings.Repeat("x", 8000) + "\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20_000) + "\r\n", ""},
		{"no version", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"odd version", "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\nhello", ""},
		{"huge body", "HTTP/1.1 200 OK\r\n" + etag + "Content-Length: 99999999999\r\n\r\nhello", ""},
		{"no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n", ""},
		{"endless interim", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9), ""},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", ""},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := rawServer(t, func(int, int) string { return test.answer })
			c := newClient(t, client.Config{Nodes: []string{addr}, Direct: true, MaxAttempts: 1, ReadTimeout: time.Second})
			for range 2 { // the second time perhaps on the same connection
				item, err := c.Get(t.Context(), "k")
				if test.want == "" {
					if err == nil {
						t.Fatalf("accepted: %+v", item)
					}
				} else if err != nil || string(item.Value) != test.want || item.Version != 17 {
					t.Fatalf("get: %+v, %v", item, err)
				}
			}
		})
	}
}

// TestAbandonedIdleConnection holds that a write is not lost to a connection that the node closed meanwhile.
func TestAbandonedIdleConnection(t *testing.T) {
	closed := make(chan struct{})
	addr := rawServerClosing(t, closed)
	c := newClient(t, client.Config{Nodes: []string{addr}, Direct: true})
	for range 3 {
		if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
			t.Fatal(err)
		}
		<-closed // the node has hung up, after its answer
	}
}

// rawServerClosing answers one request a connection without saying that it will hang up, hangs up, and says so.
func rawServerClosing(t *testing.T, closed chan<- struct{}) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(conn, okAnswer)
			}
			_ = conn.Close()
			closed <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

// TestConnectionsAreReused holds that requests one after another share a connection, and that an answer's surplus
// bytes end it.
func TestConnectionsAreReused(t *testing.T) {
	for name, answer := range map[string]string{
		"plain":   okAnswer,
		"chunked": "HTTP/1.1 200 OK\r\nETag: \"17\"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			used := make(chan int, 10) // the connection of each request
			addr := rawServer(t, func(conn, req int) string {
				used <- conn
				if conn == 0 && req == 4 {
					return answer + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"1\"\r\n\r\nevil"
				}
				return answer
			})
			c := newClient(t, client.Config{Nodes: []string{addr}, Direct: true})
			for i := range 10 {
				item, err := c.Get(t.Context(), "k")
				if err != nil || string(item.Value) != "hello" {
					t.Fatalf("get %d: %q, %v", i, item.Value, err)
				}
				if conn, want := <-used, i/5; conn != want {
					t.Errorf("request %d on connection %d, want %d", i, conn, want)
				}
			}
		})
	}
}

// TestEarlyAnswer holds that a node's refusal is read although it did not take all of the body.
func TestEarlyAnswer(t *testing.T) {
	c := newClient(t, client.Config{Nodes: newCluster(t, 1).Addrs(), Direct: true})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Put(ctx, "k", make([]byte, 3<<20))
	if !errors.Is(err, api.ErrTooLarge) || errors.Is(err, client.ErrUnknownOutcome) {
		t.Errorf("put of too large a value: %v", err)
	}
}
