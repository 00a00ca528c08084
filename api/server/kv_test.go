package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

func TestKeyLife(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	steps := []struct {
		name string
		call
		status int
		want   []string // header lines; "-Name" must be absent
		body   string
	}{
		{"absent", call{method: "GET", target: "/v1/kv/a"}, 404, nil, "*"},
		{"create", call{method: "PUT", target: "/v1/kv/a", body: "one"}, 201,
			[]string{`Etag: "1"`, "Ringkv-Partition: 12", "Content-Length: 0"}, ""},
		{"read", call{method: "GET", target: "/v1/kv/a"}, 200,
			[]string{`Etag: "1"`, "Ringkv-Partition: 12", "Content-Type: application/octet-stream", "Content-Length: 3",
				"X-Content-Type-Options: nosniff", "-Ringkv-Ttl-Ms", "-Content-Security-Policy"}, "one"},
		{"replace with type", call{method: "PUT", target: "/v1/kv/a", body: "<b>", header: []string{"Content-Type: text/html; x=y"}}, 200,
			[]string{`Etag: "2"`}, ""},
		{"read with type", call{method: "GET", target: "/v1/kv/a"}, 200,
			[]string{"Content-Type: text/html; x=y", "Content-Security-Policy: sandbox"}, "<b>"},
		{"head", call{method: "HEAD", target: "/v1/kv/a"}, 200,
			[]string{`Etag: "2"`, "Content-Length: 3", "Content-Type: text/html; x=y"}, ""},
		{"stale", call{method: "GET", target: "/v1/kv/a?consistency=stale"}, 200, nil, "<b>"},
		{"with ttl", call{method: "PUT", target: "/v1/kv/a?ttl=1500ms", body: "ttl"}, 200, nil, ""},
		{"read ttl", call{method: "GET", target: "/v1/kv/a"}, 200, []string{"Ringkv-Ttl-Ms: 1500", "Content-Type: application/octet-stream"}, "ttl"},
		{"keepttl", call{method: "PUT", target: "/v1/kv/a?keepttl=true", body: "kept"}, 200, nil, ""},
		{"kept", call{method: "GET", target: "/v1/kv/a"}, 200, []string{"Ringkv-Ttl-Ms: 1500"}, "kept"},
		{"plain put clears", call{method: "PUT", target: "/v1/kv/a?ttl=&keepttl=false", body: ""}, 200, nil, ""},
		{"cleared, empty value", call{method: "GET", target: "/v1/kv/a"}, 200, []string{"-Ringkv-Ttl-Ms", "Content-Length: 0"}, ""},
		{"delete", call{method: "DELETE", target: "/v1/kv/a"}, 204, []string{"Ringkv-Partition: 12", "-Content-Type"}, ""},
		{"delete again", call{method: "DELETE", target: "/v1/kv/a"}, 204, nil, ""},
		{"gone", call{method: "HEAD", target: "/v1/kv/a"}, 404, []string{"Content-Type: application/problem+json"}, ""},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			w := do(t, s, step.call)
			if w.Code != step.status {
				t.Fatalf("status %d, want %d: %s", w.Code, step.status, w.Body)
			}
			if step.body != "*" && w.Body.String() != step.body {
				t.Errorf("body %q, want %q", w.Body, step.body)
			}
			checkHeader(t, w.Header(), step.want)
		})
	}
}

func checkHeader(t *testing.T, h http.Header, want []string) {
	t.Helper()
	for _, line := range want {
		if name, absent := strings.CutPrefix(line, "-"); absent {
			if h.Values(name) != nil {
				t.Errorf("header %s: %q, want none", name, h.Values(name))
			}
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		if got := h.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("header %s: %q, want %q", name, got, value)
		}
	}
}

func TestConditions(t *testing.T) {
	// In every case the key "here" is at version 2 and "gone" is absent.
	cases := []struct {
		method, key string
		header      []string
		status      int
	}{
		{"PUT", "here", []string{`If-Match: "2"`}, 200},
		{"PUT", "here", []string{`If-Match: "1"`}, 412},
		{"PUT", "here", []string{`If-Match: "1", "2"`}, 200},
		{"PUT", "here", []string{`If-Match: "1"`, `If-Match: "2"`}, 200},
		{"PUT", "here", []string{`If-Match: ,, "2" ,`}, 200},
		{"PUT", "here", []string{`If-Match: *`}, 200},
		{"PUT", "gone", []string{`If-Match: *`}, 412},
		{"PUT", "gone", []string{`If-Match: "2"`}, 412},
		{"PUT", "here", []string{`If-Match: W/"2"`}, 412},
		{"PUT", "here", []string{`If-Match: "02"`}, 412},
		{"PUT", "here", []string{`If-Match: "abc"`}, 412},
		{"PUT", "here", []string{`If-Match: "*"`}, 412},
		{"PUT", "here", []string{`If-Match: ""`}, 412},
		{"PUT", "here", []string{`If-Match: "9007199254740993"`}, 412},
		{"PUT", "here", []string{`If-Match: "18446744073709551618"`}, 412},
		{"PUT", "here", []string{`If-Match: "a,b", "2"`}, 200},
		{"PUT", "here", []string{`If-None-Match: *`}, 412},
		{"PUT", "gone", []string{`If-None-Match: *`}, 201},
		{"PUT", "here", []string{`If-None-Match: "2"`}, 412},
		{"PUT", "here", []string{`If-None-Match: "1"`}, 200},
		{"PUT", "here", []string{`If-None-Match: W/"2"`}, 200},
		{"PUT", "here", []string{`If-Match: "2"`, `If-None-Match: "2"`}, 412},
		{"PUT", "here", []string{`If-Match: 2`}, 400},
		{"PUT", "here", []string{`If-Match: "2`}, 400},
		{"PUT", "here", []string{`If-Match: "2" "1"`}, 400},
		{"PUT", "here", []string{`If-Match: w/"2"`}, 400},
		{"PUT", "here", []string{`If-Match: *, "2"`}, 400},
		{"PUT", "here", []string{`If-Match: "2", *`}, 400},
		{"PUT", "here", []string{`If-Match: *`, `If-Match: *`}, 400},
		{"PUT", "here", []string{`If-Match: "a b"`}, 400},
		{"PUT", "here", []string{`If-Match: `}, 400},
		{"PUT", "here", []string{`If-None-Match: ,`}, 400},
		{"DELETE", "here", []string{`If-Match: "2"`}, 204},
		{"DELETE", "here", []string{`If-Match: "1"`}, 412},
		{"DELETE", "gone", []string{`If-Match: *`}, 412},
		{"DELETE", "here", []string{`If-None-Match: *`}, 412},
		{"DELETE", "gone", []string{`If-None-Match: *`}, 204},
		{"DELETE", "gone", []string{`If-Match: x`}, 400},
		{"GET", "here", []string{`If-None-Match: "2"`}, 304},
		{"HEAD", "here", []string{`If-None-Match: "2"`}, 304},
		{"GET", "here", []string{`If-None-Match: W/"2"`}, 304},
		{"GET", "here", []string{`If-None-Match: *`}, 304},
		{"GET", "here", []string{`If-None-Match: "1"`}, 200},
		{"GET", "gone", []string{`If-None-Match: *`}, 404},
		{"GET", "here", []string{`If-Match: "1"`}, 412},
		{"GET", "here", []string{`If-Match: "1"`, `If-None-Match: "2"`}, 412},
		{"GET", "here", []string{`If-Match: W/"2"`}, 412},
		{"GET", "here", []string{`If-Match: "2"`}, 200},
		{"GET", "gone", []string{`If-Match: *`}, 404},
		{"GET", "here", []string{`If-None-Match: 2`}, 400},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.key+" "+strings.Join(c.header, ";"), func(t *testing.T) {
			s := newServer(t, server.Config{}, newFakeStore())
			put(t, s, "/v1/kv/here", "old")
			put(t, s, "/v1/kv/here", "new")
			w := do(t, s, call{method: c.method, target: "/v1/kv/" + c.key, header: c.header, body: "x"})
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			switch c.status {
			case 304:
				checkHeader(t, w.Header(), []string{`Etag: "2"`, "-Content-Type"})
			case 412:
				p := problem(t, c.method, w)
				want := api.Version(2)
				if c.key == "gone" {
					want = 0
				}
				if p.Version == nil || *p.Version != want {
					t.Errorf("present version %v, want %d", p.Version, want)
				}
			case 400:
				if p := problem(t, c.method, w); !strings.HasPrefix(p.Where, "header If-") {
					t.Errorf("where %q", p.Where)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("k", api.MaxKeyBytes+1)
	cases := []struct {
		name string
		call
		status        int
		code          api.Code
		where         string
		limit, actual int64
	}{
		{"empty key", call{method: "GET", target: "/v1/kv/"}, 400, api.CodeInvalid, "key", 0, 0},
		{"empty key put", call{method: "PUT", target: "/v1/kv/", body: "x"}, 400, api.CodeInvalid, "key", 0, 0},
		{"empty key delete", call{method: "DELETE", target: "/v1/kv/"}, 400, api.CodeInvalid, "key", 0, 0},
		{"long key get", call{method: "GET", target: "/v1/kv/" + long}, 413, api.CodeTooLarge, "key", 1024, 1025},
		{"long key put", call{method: "PUT", target: "/v1/kv/" + long}, 413, api.CodeTooLarge, "key", 1024, 1025},
		{"long key delete", call{method: "DELETE", target: "/v1/kv/" + long}, 413, api.CodeTooLarge, "key", 1024, 1025},
		{"long value", call{method: "PUT", target: "/v1/kv/k", body: strings.Repeat("v", 101)}, 413, api.CodeTooLarge, "value", 100, 101},
		{"long type", call{method: "PUT", target: "/v1/kv/k", header: []string{"Content-Type: " + strings.Repeat("t", 257)}},
			413, api.CodeTooLarge, "header Content-Type", 256, 257},
		{"two types", call{method: "PUT", target: "/v1/kv/k", header: []string{"Content-Type: a/b", "Content-Type: a/b"}},
			400, api.CodeInvalid, "header Content-Type", 0, 0},
		{"part of a value", call{method: "PUT", target: "/v1/kv/k", header: []string{"Content-Range: bytes 0-1/2"}},
			400, api.CodeInvalid, "header Content-Range", 0, 0},
		{"ttl too short", call{method: "PUT", target: "/v1/kv/k?ttl=999us"}, 400, api.CodeInvalid, `query parameter "ttl"`, 0, 0},
		{"ttl too long", call{method: "PUT", target: "/v1/kv/k?ttl=87600h1ms"}, 400, api.CodeInvalid, `query parameter "ttl"`, 0, 0},
		{"ttl negative", call{method: "PUT", target: "/v1/kv/k?ttl=-1s"}, 400, api.CodeInvalid, `query parameter "ttl"`, 0, 0},
		{"ttl without unit", call{method: "PUT", target: "/v1/kv/k?ttl=30"}, 400, api.CodeInvalid, `query parameter "ttl"`, 0, 0},
		{"keepttl odd", call{method: "PUT", target: "/v1/kv/k?keepttl=1"}, 400, api.CodeInvalid, `query parameter "keepttl"`, 0, 0},
		{"ttl and keepttl", call{method: "PUT", target: "/v1/kv/k?ttl=1s&keepttl=true"}, 400, api.CodeInvalid, `query parameter "keepttl"`, 0, 0},
		{"unknown parameter", call{method: "GET", target: "/v1/kv/k?foo=1"}, 400, api.CodeInvalid, `query parameter "foo"`, 0, 0},
		{"unknown empty parameter", call{method: "GET", target: "/v1/kv/k?foo="}, 400, api.CodeInvalid, `query parameter "foo"`, 0, 0},
		{"doubled parameter", call{method: "GET", target: "/v1/kv/k?consistency=stale&consistency=stale"}, 400, api.CodeInvalid, `query parameter "consistency"`, 0, 0},
		{"doubled, one empty", call{method: "GET", target: "/v1/kv/k?consistency=&consistency=stale"}, 400, api.CodeInvalid, `query parameter "consistency"`, 0, 0},
		{"wrong case", call{method: "GET", target: "/v1/kv/k?Consistency=stale"}, 400, api.CodeInvalid, `query parameter "Consistency"`, 0, 0},
		{"consistency odd", call{method: "GET", target: "/v1/kv/k?consistency=weak"}, 400, api.CodeInvalid, `query parameter "consistency"`, 0, 0},
		{"broken escape in query", call{method: "GET", target: "/v1/kv/k?consistency=%zz"}, 400, api.CodeInvalid, `query parameter "consistency"`, 0, 0},
		{"parameter of another verb", call{method: "DELETE", target: "/v1/kv/k?ttl=1s"}, 400, api.CodeInvalid, `query parameter "ttl"`, 0, 0},
		{"limit 0", call{method: "GET", target: "/v1/kv?limit=0"}, 400, api.CodeInvalid, `query parameter "limit"`, 0, 0},
		{"limit 1001", call{method: "GET", target: "/v1/kv?limit=1001"}, 400, api.CodeInvalid, `query parameter "limit"`, 0, 0},
		{"limit signed", call{method: "GET", target: "/v1/kv?limit=%2B5"}, 400, api.CodeInvalid, `query parameter "limit"`, 0, 0},
		{"limit huge", call{method: "GET", target: "/v1/kv?limit=99999999999999999999"}, 400, api.CodeInvalid, `query parameter "limit"`, 0, 0},
		{"limit on a stream", call{method: "GET", target: "/v1/kv?limit=1001", header: []string{"Accept: application/x-ndjson"}},
			400, api.CodeInvalid, `query parameter "limit"`, 0, 0},
		{"keys_only odd", call{method: "GET", target: "/v1/kv?keys_only=yes"}, 400, api.CodeInvalid, `query parameter "keys_only"`, 0, 0},
		{"long prefix", call{method: "GET", target: "/v1/kv?prefix=" + long}, 413, api.CodeTooLarge, "query parameter prefix", 1024, 1025},
		{"cursor garbage", call{method: "GET", target: "/v1/kv?cursor=abc"}, 400, api.CodeInvalid, `query parameter "cursor"`, 0, 0},
		{"cursor not base64", call{method: "GET", target: "/v1/kv?cursor=%21%21"}, 400, api.CodeInvalid, `query parameter "cursor"`, 0, 0},
		{"locate nothing", call{method: "GET", target: "/v1/ring/locate?key="}, 400, api.CodeInvalid, "query parameter key", 0, 0},
		{"locate too long", call{method: "GET", target: "/v1/ring/locate?key=" + long}, 413, api.CodeTooLarge, "query parameter key", 1024, 1025},
		{"ring with a parameter", call{method: "GET", target: "/v1/ring?x=1"}, 400, api.CodeInvalid, `query parameter "x"`, 0, 0},
		{"no route", call{method: "GET", target: "/v2/kv/a"}, 404, api.CodeNoRoute, "", 0, 0},
		{"no route, write", call{method: "POST", target: "/v1/nothing"}, 404, api.CodeNoRoute, "", 0, 0},
		{"root", call{method: "GET", target: "/"}, 404, api.CodeNoRoute, "", 0, 0},
		{"prefix of a route", call{method: "GET", target: "/v1/kvx"}, 404, api.CodeNoRoute, "", 0, 0},
		{"escaped slash is no route", call{method: "GET", target: "/v1/kv%2Fa"}, 404, api.CodeNoRoute, "", 0, 0},
		{"escaped letter is no route", call{method: "GET", target: "/v1/%6Bv/a"}, 404, api.CodeNoRoute, "", 0, 0},
		{"doubled slash is no route", call{method: "GET", target: "//v1/kv/a"}, 404, api.CodeNoRoute, "", 0, 0},
		{"trailing slash is no route", call{method: "GET", target: "/v1/ring/"}, 404, api.CodeNoRoute, "", 0, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			store := newFakeStore()
			s := newServer(t, server.Config{MaxValueBytes: 100}, store)
			w := do(t, s, c.call)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			p := problem(t, c.method, w)
			if p.Code != c.code || p.Where != c.where || p.Limit != c.limit || p.Actual != c.actual {
				t.Errorf("got %+v", p)
			}
			if p.Retryable || (p.Outcome != "" && p.Outcome != api.Aborted) {
				t.Errorf("retryable %v, outcome %q", p.Retryable, p.Outcome)
			}
			if len(store.keys()) != 0 {
				t.Errorf("a refused request wrote %q", store.keys())
			}
		})
	}
}

func TestMethods(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	allow := map[string]string{
		"/v1/kv/k": "GET, HEAD, PUT, DELETE", "/v1/kv/": "GET, HEAD, PUT, DELETE", "/v1/kv": "GET", "/v1/cluster": "GET, HEAD",
		"/v1/ring": "GET, HEAD", "/v1/ring/locate": "GET, HEAD", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD",
		"/metrics": "GET, HEAD", "/openapi.yaml": "GET, HEAD",
	}
	for path, want := range allow {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "FOO"} {
			if strings.Contains(", "+want+", ", ", "+method+", ") {
				continue
			}
			t.Run(method+" "+path, func(t *testing.T) {
				w := do(t, s, call{method: method, target: path})
				checkHeader(t, w.Header(), []string{"Allow: " + want})
				if method == "HEAD" {
					if w.Code != http.StatusMethodNotAllowed {
						t.Errorf("status %d", w.Code)
					}
				} else if p := problem(t, method, w); p.Code != api.CodeMethod || w.Code != http.StatusMethodNotAllowed {
					t.Errorf("status %d, code %s", w.Code, p.Code)
				}
			})
		}
	}
}
