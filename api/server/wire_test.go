package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

// dial opens a connection to addr that is closed with the test.
func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends text as it stands and reads one answer to a request with that method, body included.
func exchange(t testing.TB, conn net.Conn, in *bufio.Reader, method, text string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("answer to %.200q: %v", text, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body of the answer to %.200q: %v", text, err)
	}
	return resp, string(body)
}

// TestKeysOnTheWire puts every key through a real socket as it is written in wire, and expects exactly key in the store.
func TestKeysOnTheWire(t *testing.T) {
	cases := []struct{ wire, key string }{
		{"a", "a"}, {"a/b", "a/b"}, {"a//b", "a//b"}, {"/", "/"}, {"//", "//"}, {"///", "///"}, {"a/", "a/"}, {"/a", "/a"},
		{".", "."}, {"..", ".."}, {"./", "./"}, {"../", "../"}, {"a/../b", "a/../b"}, {"a/./b", "a/./b"}, {"../../etc/passwd", "../../etc/passwd"},
		{"%2e%2e/b", "../b"}, {"%2E", "."},
		{"%2F", "/"}, {"%2f%2F", "//"}, {"a%2Fb", "a/b"}, {"a%252Fb", "a%2Fb"}, {"%25", "%"}, {"%2525", "%25"}, {"a%2F..%2Fb", "a/../b"},
		{"%00", "\x00"}, {"a%00b", "a\x00b"}, {"%ff%fe", "\xff\xfe"}, {"%C3%28", "\xc3\x28"}, {"%80", "\x80"}, {"\xff\xfe", "\xff\xfe"},
		{"ä", "ä"}, {"%C3%A4", "ä"}, {"日本", "日本"}, {"%E2%80%A8", "\u2028"},
		{"a+b", "a+b"}, {"a%2Bb", "a+b"}, {"a%20b", "a b"}, {"%20", " "}, {"+", "+"},
		{"%0d%0a", "\r\n"}, {"%09", "\t"}, {"%7F", "\x7f"},
		{"a%3Fb", "a?b"}, {"a%23b", "a#b"}, {"a#b", "a#b"}, {"a;b=c", "a;b=c"}, {"a&b=c", "a&b=c"}, {"a:b", "a:b"}, {"a@b", "a@b"}, {"*", "*"},
		{":key", ":key"}, {"{tag}/x", "{tag}/x"}, {"\\", "\\"}, {"a%5Cb", "a\\b"}, {"\"<>^`|", "\"<>^`|"}, {"~!$'()*,;=", "~!$'()*,;="},
		{"http://x/y", "http://x/y"}, {"v1/kv/a", "v1/kv/a"}, {"%76", "v"},
		{strings.Repeat("k", 1024), strings.Repeat("k", 1024)}, {strings.Repeat("%ff", 1024), strings.Repeat("\xff", 1024)},
		{strings.Repeat("/", 1024), strings.Repeat("/", 1024)},
	}
	store := newFakeStore()
	conn := dial(t, listen(t, newServer(t, server.Config{}, store)))
	in := bufio.NewReader(conn)
	for _, c := range cases {
		name := fmt.Sprintf("%.40q", c.wire)
		request := func(method, header, body string) (*http.Response, string) {
			return exchange(t, conn, in, method, method+" /v1/kv/"+c.wire+" HTTP/1.1\r\nHost: x\r\n"+header+"\r\n"+body)
		}
		resp, _ := request("PUT", "Content-Length: 4\r\n", "\x00\r\n\xff")
		if resp.StatusCode != http.StatusCreated {
			t.Errorf("%s: PUT %d", name, resp.StatusCode)
			continue
		}
		if keys := store.keys(); len(keys) != 1 || keys[0] != c.key {
			t.Errorf("%s: stored as %.60q", name, keys)
		}
		if resp, body := request("GET", "", ""); resp.StatusCode != 200 || body != "\x00\r\n\xff" {
			t.Errorf("%s: GET %d %q", name, resp.StatusCode, body)
		}
		if resp, body := request("HEAD", "", ""); resp.StatusCode != 200 || resp.ContentLength != 4 || body != "" {
			t.Errorf("%s: HEAD %d, length %d, body %q", name, resp.StatusCode, resp.ContentLength, body)
		}
		if resp, _ := request("DELETE", "", ""); resp.StatusCode != 204 || len(store.keys()) != 0 {
			t.Errorf("%s: DELETE %d, left %q", name, resp.StatusCode, store.keys())
		}
	}
}

// TestMalformedOnTheWire sends what no client library would. Such requests may be answered by net/http in plain text.
func TestMalformedOnTheWire(t *testing.T) {
	long := strings.Repeat("k", 1025)
	cases := []struct {
		name, text string
		status     int
	}{
		{"broken escape", "GET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"half an escape", "GET /v1/kv/a% HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"half an escape 2", "PUT /v1/kv/a%2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 400},
		{"space in key", "GET /v1/kv/a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"NUL in key", "GET /v1/kv/a\x00b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"no host", "GET /v1/kv/a HTTP/1.1\r\n\r\n", 400},
		{"negative length", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		{"two lengths", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", 400},
		{"broken chunk", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n", 400},
		{"unknown coding", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"control character in a header", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Type: a\x01b\r\nContent-Length: 0\r\n\r\n", 400},
		{"empty key", "PUT /v1/kv/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 400},
		{"empty key with a query", "PUT /v1/kv/? HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 400},
		{"long key", "PUT /v1/kv/" + long + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 413},
		{"long escaped key", "PUT /v1/kv/" + strings.Repeat("%41", 1025) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", 413},
		{"large body announced", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413},
		{"large body, asked first", "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n", 413},
		{"large header", "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", 431},
		{"many headers", "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 10000) + "\r\n", 431},
		{"options for all", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"connect", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 404},
		{"semicolon in query", "GET /v1/kv/a?x;y HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"absolute form", "GET http://x/v1/kv/none HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		{"HTTP/1.0", "GET /v1/kv/none HTTP/1.0\r\n\r\n", 404},
	}
	store := newFakeStore()
	addr := listen(t, newServer(t, server.Config{}, store))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, addr)
			method, _, _ := strings.Cut(c.text, " ")
			resp, _ := exchange(t, conn, bufio.NewReader(conn), method, c.text)
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
			if keys := store.keys(); len(keys) != 0 {
				t.Errorf("stored %q", keys)
			}
		})
	}
}

// TestCutOffBodyWritesNothing hangs up, wholly or on one side, in the middle of a body.
func TestCutOffBodyWritesNothing(t *testing.T) {
	store := newFakeStore()
	s := newServer(t, server.Config{}, store)
	addr := listen(t, s)
	starts := map[string]string{
		"length":         "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
		"chunks":         "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"before a chunk": "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"no last line":   "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
	}
	for name, text := range starts {
		t.Run(name+", half closed", func(t *testing.T) {
			conn := dial(t, addr)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "PUT"})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
		t.Run(name+", gone", func(t *testing.T) {
			conn := dial(t, addr)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
	t.Cleanup(func() { // runs before the server is stopped, and the connections above may still be in work
		if keys := store.keys(); len(keys) != 0 {
			t.Errorf("half a write was stored: %q", store.items["a"].Value)
		}
	})
}

// TestPipelinedRequests checks that answers come in order and that a body ends where it says.
func TestPipelinedRequests(t *testing.T) {
	conn := dial(t, listen(t, newServer(t, server.Config{}, newFakeStore())))
	in := bufio.NewReader(conn)
	text := "PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none" +
		"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n" +
		"PUT /v1/kv/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nthree"
	for i, want := range []int{201, 200, 400} {
		resp, _ := exchange(t, conn, in, "PUT", text)
		if text = ""; resp.StatusCode != want {
			t.Errorf("answer %d: status %d, want %d", i, resp.StatusCode, want)
		}
	}
	resp, body := exchange(t, conn, in, "GET", "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n")
	if body != "two" || resp.Header.Get(api.HeaderETag) != `"2"` {
		t.Errorf("got %q, tag %s", body, resp.Header.Get(api.HeaderETag))
	}
}
