package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

// listStore holds a, a/1 … a/5, b, "\xff", "\xff\xff" and NUL.
func listStore(t *testing.T, s http.Handler) {
	t.Helper()
	for _, key := range []string{"a", "a/1", "a/2", "a/3", "a/4", "a/5", "b", "%ff", "%ff%ff", "%00"} {
		put(t, s, "/v1/kv/"+key, "value of "+key)
	}
}

func TestListRanges(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	listStore(t, s)
	cases := []struct{ query, want string }{
		{"", `"\x00" "a" "a/1" "a/2" "a/3" "a/4" "a/5" "b" "\xff" "\xff\xff"`},
		{"?prefix=&start=&end=&limit=&cursor=&keys_only=", `"\x00" "a" "a/1" "a/2" "a/3" "a/4" "a/5" "b" "\xff" "\xff\xff"`},
		{"?prefix=a/", `"a/1" "a/2" "a/3" "a/4" "a/5"`},
		{"?prefix=a%2F", `"a/1" "a/2" "a/3" "a/4" "a/5"`},
		{"?prefix=%ff", `"\xff" "\xff\xff"`},
		{"?prefix=%00", `"\x00"`},
		{"?prefix=c", ``},
		{"?start=a/4", `"a/4" "a/5" "b" "\xff" "\xff\xff"`},
		{"?end=a/1", `"\x00" "a"`},
		{"?start=a/2&end=a/4", `"a/2" "a/3"`},
		{"?prefix=a/&start=a/4", `"a/4" "a/5"`},
		{"?prefix=a/&start=0&end=zz", `"a/1" "a/2" "a/3" "a/4" "a/5"`},
		{"?prefix=a/&end=a/3", `"a/1" "a/2"`},
		{"?start=b&end=a", ``},
		{"?start=a&end=a", ``},
		{"?limit=2&start=a", `"a" "a/1"`},
		{"?limit=1000&start=b", `"b" "\xff" "\xff\xff"`},
		{"&prefix=a/&&limit=1&", `"a/1"`},
	}
	for _, c := range cases {
		t.Run(c.query, func(t *testing.T) {
			target := "/v1/kv" + c.query
			if strings.HasPrefix(c.query, "&") {
				target = "/v1/kv?" + c.query
			}
			page := getPage(t, s, target)
			if got := quoted(page.Items); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func quoted(items []api.Item) string {
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%q", item.Key)
	}
	return b.String()
}

func getPage(t *testing.T, s http.Handler, target string) api.ListPage {
	t.Helper()
	w := do(t, s, call{method: "GET", target: target})
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != api.TypeJSON {
		t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	var page api.ListPage
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
		t.Fatalf("decode %s: %v", w.Body, err)
	}
	return page
}

func TestListBody(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	put(t, s, "/v1/kv/k%22%0a", "v<&>\"\\\u2028", "Content-Type: text/plain")
	put(t, s, "/v1/kv/l%fe?ttl=2s", "\x00\xff")
	put(t, s, "/v1/kv/m", "")
	cases := []struct{ name, query, want string }{
		{"values", "", `{"items":[{"key":"k\"\n","value":"v<&>\"\\` + "\u2028" + `","version":1},` +
			`{"key_b64":"bP4=","value_b64":"AP8=","version":2,"ttl_ms":2000},{"key":"m","value":"","version":3}]}` + "\n"},
		{"keys only", "?keys_only=true", `{"items":[{"key":"k\"\n","version":1},{"key_b64":"bP4=","version":2,"ttl_ms":2000},{"key":"m","version":3}]}` + "\n"},
		{"none", "?start=z", `{"items":[]}` + "\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := do(t, s, call{method: "GET", target: "/v1/kv" + c.query}).Body.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestListPagesCoverEverythingOnce(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 10, 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			s := newServer(t, server.Config{}, newFakeStore())
			listStore(t, s)
			first := fmt.Sprintf("prefix=&start=%%00&limit=%d", limit)
			var got []api.Item
			for query := first; ; {
				page := getPage(t, s, "/v1/kv?"+query)
				got = append(got, page.Items...)
				if page.NextCursor == "" {
					break
				}
				query = first + "&cursor=" + page.NextCursor
			}
			want := `"\x00" "a" "a/1" "a/2" "a/3" "a/4" "a/5" "b" "\xff" "\xff\xff"`
			if quoted(got) != want {
				t.Errorf("got %s", quoted(got))
			}
		})
	}
}

func TestCursorCarriesTheQuery(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	listStore(t, s)
	cursor := getPage(t, s, "/v1/kv?prefix=a/&start=a/2&end=a/5&limit=1&keys_only=true").NextCursor
	same := []string{"", "&prefix=a/", "&start=a/2", "&end=a/5", "&keys_only=true", "&limit=50", "&prefix=a/&start=a/2&end=a/5&keys_only=true&limit=7"}
	for _, query := range same {
		page := getPage(t, s, "/v1/kv?cursor="+cursor+query)
		if got := quoted(page.Items); got != `"a/3" "a/4"` || page.NextCursor != "" {
			t.Errorf("%q: got %s, next %q", query, got, page.NextCursor)
		}
		for _, item := range page.Items {
			if item.Value != nil {
				t.Errorf("%q: %q has a value", query, item.Key)
			}
		}
	}
	changed := []string{"&prefix=a", "&start=a/1", "&end=a/6", "&keys_only=false"}
	for _, query := range changed {
		w := do(t, s, call{method: "GET", target: "/v1/kv?cursor=" + cursor + query})
		name, _, _ := strings.Cut(query[1:], "=")
		if p := problem(t, "GET", w); w.Code != 400 || p.Where != fmt.Sprintf("query parameter %q", name) {
			t.Errorf("%q: %d %+v", query, w.Code, p)
		}
	}
	plain := getPage(t, s, "/v1/kv?limit=1").NextCursor
	if w := do(t, s, call{method: "GET", target: "/v1/kv?prefix=a&cursor=" + plain}); w.Code != 400 {
		t.Errorf("a prefix beside a cursor without one: %d", w.Code)
	}
}

func TestDamagedCursorsAreRefused(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	listStore(t, s)
	cursor := getPage(t, s, "/v1/kv?prefix=a/&limit=1").NextCursor
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	for i := range raw {
		for bit := range 8 {
			flipped := slices.Clone(raw)
			flipped[i] ^= 1 << bit
			bad = append(bad, base64.RawURLEncoding.EncodeToString(flipped))
		}
		bad = append(bad, base64.RawURLEncoding.EncodeToString(raw[:i]))
	}
	bad = append(bad, cursor+"A", cursor+"=", cursor+"\n", " "+cursor, cursor[:5]+"\r\n"+cursor[5:], strings.Repeat("A", 10000), cursor+cursor)
	for _, text := range bad {
		if text == "" {
			continue // absent, by contract
		}
		w := do(t, s, call{method: "GET", target: "/v1/kv?cursor=" + url.QueryEscape(text)})
		if w.Code != http.StatusBadRequest {
			t.Errorf("cursor %q: status %d", text, w.Code)
		}
	}
}

func TestPageBytesEndAPageEarly(t *testing.T) {
	store := newFakeStore()
	s := newServer(t, server.Config{PageBytes: 20}, store)
	listStore(t, s)
	page := getPage(t, s, "/v1/kv?start=a&limit=1000")
	if len(page.Items) != 2 || page.NextCursor == "" {
		t.Errorf("%d items, next %q", len(page.Items), page.NextCursor)
	}
	if q := store.lists[0]; q.MaxBytes != 20 || q.Limit != 1000 {
		t.Errorf("asked for %+v", q)
	}
}

func TestStoreWithoutProgressIsAnError(t *testing.T) {
	s := newServer(t, server.Config{}, circularStore{newFakeStore()})
	for _, accept := range []string{api.TypeJSON, api.TypeNDJSON} {
		w := do(t, s, call{method: "GET", target: "/v1/kv?start=k", header: []string{"Accept: " + accept}})
		if p := problem(t, "GET", w); p.Code != api.CodeInternal {
			t.Errorf("%s: %+v", accept, p)
		}
	}
}

// circularStore's pages lead to themselves.
type circularStore struct{ *fakeStore }

func (circularStore) List(_ context.Context, q server.ListQuery) (server.ListResult, error) {
	return server.ListResult{Next: q.Start}, nil
}

func TestStream(t *testing.T) {
	all := []string{"\x00", "a", "a/1", "a/2", "a/3", "a/4", "a/5", "b", "\xff", "\xff\xff"}
	cases := []struct {
		name, query string
		pageSize    int
		want        []string
	}{
		{"all in one page", "", 0, all},
		{"page by page", "", 3, all},
		{"single items", "", 1, all},
		{"prefix", "?prefix=a/", 2, all[2:7]},
		{"limit", "?limit=4", 3, all[:4]},
		{"limit on a page's end", "?limit=3", 3, all[:3]},
		{"limit above", "?limit=1000", 3, all},
		{"nothing", "?prefix=q", 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			store := newFakeStore()
			store.pageSize = c.pageSize
			s := newServer(t, server.Config{}, store)
			listStore(t, s)
			checkStream(t, s, "/v1/kv"+c.query, c.want)
		})
	}
	t.Run("from a cursor", func(t *testing.T) {
		s := newServer(t, server.Config{}, newFakeStore())
		listStore(t, s)
		cursor := getPage(t, s, "/v1/kv?limit=3").NextCursor
		checkStream(t, s, "/v1/kv?cursor="+cursor, all[3:])
	})
}

func checkStream(t *testing.T, s http.Handler, target string, want []string) {
	t.Helper()
	w := do(t, s, call{method: "GET", target: target, header: []string{"Accept: application/x-ndjson"}})
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != api.TypeNDJSON {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var got []string
	lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	for i, text := range lines {
		var line api.StreamLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		if (line.End != nil) != (i == len(lines)-1) {
			t.Fatalf("line %d of %d: %q", i, len(lines), text)
		}
		if line.End != nil && line.End.Count != len(want) {
			t.Errorf("end line %q, want count %d", text, len(want))
		}
		if line.End == nil {
			got = append(got, string(line.Item.Key))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAccept(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	cases := []struct {
		accept []string
		stream bool
	}{
		{nil, false},
		{[]string{"*/*"}, false},
		{[]string{"application/json"}, false},
		{[]string{"application/x-ndjson"}, true},
		{[]string{"Application/X-NDJSON ; q=0.5"}, true},
		{[]string{"application/x-ndjson;q=0"}, false},
		{[]string{"application/x-ndjson;q=0.5, application/json"}, false},
		{[]string{"application/json;q=0.5, application/x-ndjson;q=0.9"}, true},
		{[]string{"text/html", "application/x-ndjson"}, true},
	}
	for _, c := range cases {
		var header []string
		for _, line := range c.accept {
			header = append(header, "Accept: "+line)
		}
		w := do(t, s, call{method: "GET", target: "/v1/kv", header: header})
		if got := w.Header().Get("Content-Type") == api.TypeNDJSON; got != c.stream {
			t.Errorf("%q: stream %v", c.accept, got)
		}
	}
}
