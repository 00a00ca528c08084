package client

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"17\"\r\nContent-Type: text/plain\r\n" +
	"Ringkv-Partition: 3\r\nRingkv-Ttl-Ms: 900\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\nhello"

func TestParseHead(t *testing.T) {
	h, ok := parseHead([]byte(plainAnswer))
	want := response{status: 200, etag: `"17"`, contentType: "text/plain", partition: "3", ttlMs: "900"}
	if !ok || h.length != 5 || h.closes || h.bytes != len(plainAnswer)-5 {
		t.Fatalf("parseHead = %+v, %v", h, ok)
	}
	if got := h.resp; got.status != want.status || got.etag != want.etag || got.contentType != want.contentType ||
		got.partition != want.partition || got.ttlMs != want.ttlMs || got.retryAfter != "" {
		t.Errorf("response is %+v, want %+v", got, want)
	}
}

func TestParseHeadLeavesTheUnusualToNetHTTP(t *testing.T) {
	for name, answer := range map[string]string{
		"cut":                 plainAnswer[:40],
		"old protocol":        strings.Replace(plainAnswer, "HTTP/1.1", "HTTP/1.0", 1),
		"interim":             "HTTP/1.1 100 Continue\r\n\r\n",
		"chunked":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked and length":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"no length":           "HTTP/1.1 200 OK\r\n\r\nhello",
		"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"signed length":       "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"two etags":           "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"1\"\r\netag: \"2\"\r\n\r\n",
		"folded line":         "HTTP/1.1 200 OK\r\nETag: \"1\"\r\n \"2\"\r\nContent-Length: 0\r\n\r\n",
		"blank before colon":  "HTTP/1.1 200 OK\r\nETag : \"1\"\r\nContent-Length: 0\r\n\r\n",
		"bare line feeds":     "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"unknown connection":  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
		"control character":   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \x01\r\n\r\n",
		"switching protocols": "HTTP/1.1 101 Go\r\nContent-Length: 0\r\n\r\n",
	} {
		if h, ok := parseHead([]byte(answer)); ok {
			t.Errorf("%s: accepted as %+v", name, h)
		}
	}
}

// FuzzParseHead holds that what parseHead accepts, net/http understands in the same way.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte(plainAnswer))
	f.Add([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 7\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\ncontent-type: a\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHead(b)
		if !ok {
			return
		}
		br := bufio.NewReaderSize(bytes.NewReader(b), max(16, len(b)))
		hresp, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("accepted what net/http refuses: %v", err)
		}
		if got := len(b) - br.Buffered(); got != h.bytes {
			t.Errorf("head of %d bytes, net/http says %d", h.bytes, got)
		}
		if want := responseFrom(hresp); !sameHead(&h.resp, want) {
			t.Errorf("understood %+v, net/http %+v", h.resp, want)
		}
		if hresp.Close != h.closes || hresp.Body != http.NoBody && hresp.ContentLength != int64(h.length) {
			t.Errorf("close %v length %d, net/http %v %d", h.closes, h.length, hresp.Close, hresp.ContentLength)
		}
		if hresp.Body == http.NoBody && h.length != 0 {
			t.Errorf("a body of %d bytes where net/http knows of none", h.length)
		}
	})
}

func sameHead(a, b *response) bool {
	return a.status == b.status && a.etag == b.etag && a.contentType == b.contentType &&
		a.partition == b.partition && a.ttlMs == b.ttlMs && a.retryAfter == b.retryAfter
}
