package client

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/ringkv/ringkv/api"
)

// response is a complete answer: of its headers, those that the client uses. The body is the receiver's.
type response struct {
	status int
	etag, contentType, partition, ttlMs,
	retryAfter, replayed string
	body []byte
}

// field returns where the header called name is kept, nil if it is not. Case does not matter.
func (r *response) field(name string) *string {
	switch {
	case strings.EqualFold(name, api.HeaderETag):
		return &r.etag
	case strings.EqualFold(name, api.HeaderContentType):
		return &r.contentType
	case strings.EqualFold(name, api.HeaderPartition):
		return &r.partition
	case strings.EqualFold(name, api.HeaderTTLMs):
		return &r.ttlMs
	case strings.EqualFold(name, api.HeaderRetryAfter):
		return &r.retryAfter
	case strings.EqualFold(name, api.HeaderIdempotencyReplayed):
		return &r.replayed
	default:
		return nil
	}
}

// responseFrom takes from hresp what the client uses; the body is yet to be read.
func responseFrom(hresp *http.Response) *response {
	r := &response{status: hresp.StatusCode}
	for _, name := range []string{
		api.HeaderETag, api.HeaderContentType, api.HeaderPartition, api.HeaderTTLMs, api.HeaderRetryAfter,
		api.HeaderIdempotencyReplayed,
	} {
		*r.field(name) = hresp.Header.Get(name)
	}
	return r
}

// head is an answer's status line and headers, parsed.
type head struct {
	resp   response
	bytes  int // that it takes on the wire
	length int // of the body
	closes bool
	sized  bool // length was given
}

// parseHead parses the head at the start of b if all of it is there and it is of the plain kind that nodes send for
// keys: a final status, each header at most once, a body of known length. Otherwise ok is false, nothing is decided,
// and net/http, which knows all other kinds, must be asked. Whatever is accepted here, net/http understands alike;
// FuzzParseHead holds that.
func parseHead(b []byte) (h head, ok bool) {
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	if !found || !h.statusLine(line) {
		return head{}, false
	}
	for {
		line, rest, found = bytes.Cut(rest, []byte("\r\n"))
		if !found {
			return head{}, false
		}
		if len(line) == 0 {
			break
		}
		if !h.headerLine(line) {
			return head{}, false
		}
	}
	h.bytes = len(b) - len(rest)
	if h.resp.status == http.StatusNoContent || h.resp.status == http.StatusNotModified {
		h.length, h.sized = 0, true
	}
	return h, h.sized
}

// statusLine parses "HTTP/1.1 200 OK" with a final status.
func (h *head) statusLine(line []byte) bool {
	const proto, digits = "HTTP/1.1 ", 3
	if len(line) <= len(proto)+digits || string(line[:len(proto)]) != proto || line[len(proto)+digits] != ' ' {
		return false
	}
	status, ok := parseDigits(line[len(proto) : len(proto)+digits])
	h.resp.status = status
	return ok && status >= http.StatusOK && plainText(line)
}

// headerLine takes one "Name: value".
func (h *head) headerLine(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !isToken(line[:colon]) || !plainText(line[colon+1:]) {
		return false
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " ")
	switch {
	case isName(name, "content-length"):
		return h.setLength(value)
	case isName(name, "connection"):
		h.closes = true // "close", or something else that one should not rely on
		return string(value) == "close"
	case isName(name, "transfer-encoding"), isName(name, "trailer"), isName(name, "upgrade"):
		return false
	}
	return h.keep(name, value)
}

// isName compares a header name with a lower-case one.
func isName(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if c != lower[i] && (c < 'A' || c > 'Z' || c|0x20 != lower[i]) {
			return false
		}
	}
	return true
}

func (h *head) setLength(value []byte) bool {
	length, ok := parseDigits(value)
	if !ok || h.sized {
		return false
	}
	h.length, h.sized = length, true
	return true
}

// keep stores the value of a header that the client uses, once.
func (h *head) keep(name, value []byte) bool {
	field := h.resp.field(string(name))
	if field == nil {
		return true
	}
	if *field != "" || len(value) == 0 {
		return false
	}
	if string(value) == api.TypeOctetStream { // nearly always: no copy
		*field = api.TypeOctetStream
	} else {
		*field = string(value)
	}
	return true
}

// parseDigits reads a decimal number of 1 to 8 digits, which a body's length never exceeds.
func parseDigits(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// isToken reports whether b is a header name of the usual bytes.
func isToken(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// plainText reports whether b is printable ASCII.
func plainText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
