package server

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
)

// FuzzKeyPath checks that what follows /v1/kv/ is decoded exactly once.
func FuzzKeyPath(f *testing.F) {
	for _, seed := range []string{"a", "a/../b", "//", "%2F", "%252F", "%00", "%ff%fe", "\xff", "..", "a/", "+", "a%20b?x=%2F", "%", "%zz", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		u, err := url.ParseRequestURI(keyPrefix + rest)
		if err != nil {
			return // net/http answers 400
		}
		escaped, _, _ := strings.Cut(rest, "?")
		want, err := url.PathUnescape(escaped)
		if err != nil {
			t.Fatalf("%q was parsed though its escapes are broken", rest)
		}
		key, err := keyOf(u, keyPrefix, 3)
		if fits := len(want) >= 1 && len(want) <= api.MaxKeyBytes; (err == nil) != fits {
			t.Fatalf("%d bytes: %v", len(want), err)
		}
		if err == nil && (string(key) != want || cap(key)-len(key) < 3) {
			t.Fatalf("%q became %q with %d bytes of room", rest, key, cap(key)-len(key))
		}
	})
}

// FuzzQuery compares with the standard library, which is laxer: it takes unknown and doubled parameters.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "limit=5", "prefix=%ff&start=a+b", "limit=1&limit=2", "x=1", "&&prefix=&", "prefix=%2", "%70refix=a", "=", "start==", "end=a%26b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw, listParams)
		want, wantErr := url.ParseQuery(raw)
		if wantErr != nil && !strings.Contains(raw, ";") {
			if err == nil {
				t.Fatalf("%q was taken, though %v", raw, wantErr)
			}
			return
		}
		if err != nil {
			return
		}
		for _, name := range listParams {
			if got := q.get(name); !strings.Contains(raw, ";") && (got != want.Get(name) || len(want[name]) > 1) {
				t.Fatalf("%q: %s is %q, want %q", raw, name, got, want[name])
			}
		}
		_, _ = parseListing(raw, false)
		_, _, _ = parseLife(raw)
	})
}

// FuzzTagList checks that a list that is taken means the same once it is written in canonical form.
func FuzzTagList(f *testing.F) {
	for _, seed := range []string{`"1"`, `"1", "2"`, `W/"1"`, `*`, `, ,"1",`, `""`, `"a,b"`, `"1" "2"`, `*,*`, `"`, `W/`, "\"\xff\"", "\"1\"\t,\t\"2\""} {
		f.Add(seed, "")
		f.Add(seed, `"3"`)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first}
		if second != "" {
			lines = append(lines, second)
		}
		list, err := parseTagList(http.Header{api.HeaderIfMatch: lines}, api.HeaderIfMatch)
		joined, joinedErr := parseTagList(http.Header{api.HeaderIfMatch: {strings.Join(lines, ", ")}}, api.HeaderIfMatch)
		if (err == nil) != (joinedErr == nil) {
			t.Fatalf("%q: %v, joined: %v", lines, err, joinedErr)
		}
		if err != nil {
			return
		}
		again, err := parseTagList(http.Header{api.HeaderIfMatch: {write(list)}}, api.HeaderIfMatch)
		if err != nil || write(again) != write(list) || write(joined) != write(list) {
			t.Fatalf("%q became %q, then %q (%v)", lines, write(list), write(again), err)
		}
		for _, v := range list.versions() {
			if v < 1 || api.Version(v) > api.MaxVersion {
				t.Fatalf("%q names version %d", lines, v)
			}
		}
	})
}

// write returns l in canonical form.
func write(l tagList) string {
	if l.any {
		return "*"
	}
	var parts []string
	for _, tag := range l.tags {
		prefix := ""
		if tag.weak {
			prefix = "W/"
		}
		parts = append(parts, prefix+`"`+tag.opaque+`"`)
	}
	return strings.Join(parts, ", ")
}

// FuzzCursor checks that only what encode writes is decoded.
func FuzzCursor(f *testing.F) {
	for _, c := range []cursor{{}, {prefix: "a/", position: []byte("a/1")}, {start: "\x00", end: "\xff", keysOnly: true, position: []byte("k\x00")}} {
		f.Add(c.encode())
	}
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := decodeCursor(text)
		if err == nil && c.encode() != text {
			t.Fatalf("%q decodes, but is written %q", text, c.encode())
		}
	})
}

// FuzzCursorRoundTrip checks that a cursor keeps everything, and that its bounds are those of its query.
func FuzzCursorRoundTrip(f *testing.F) {
	f.Add("a/", "a/1", "b", true, []byte("a/2"), "a/3")
	f.Add("\xff\xff", "", "", false, []byte{}, "\xff\xff\x00")
	f.Fuzz(func(t *testing.T, prefix, start, end string, keysOnly bool, position []byte, key string) {
		if max(len(prefix), len(start), len(end), len(position)-1) > api.MaxKeyBytes {
			return
		}
		c := cursor{prefix: prefix, start: start, end: end, keysOnly: keysOnly, position: position}
		d, err := decodeCursor(c.encode())
		if err != nil {
			t.Fatal(err)
		}
		if d.prefix != prefix || d.start != start || d.end != end || d.keysOnly != keysOnly || !bytes.Equal(d.position, position) {
			t.Fatalf("%+v became %+v", c, d)
		}
		low, high := d.bounds()
		inside := key >= string(low) && (high == nil || key < string(high))
		wanted := strings.HasPrefix(key, prefix) && key >= start && (end == "" || key < end) && key >= string(position)
		if inside != wanted {
			t.Fatalf("key %q: inside %v, wanted %v by %+v", key, inside, wanted, c)
		}
	})
}
