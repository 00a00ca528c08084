package server_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

type object = map[string]any

// document returns the served OpenAPI document.
func document(t *testing.T) object {
	t.Helper()
	w := do(t, newServer(t, server.Config{}, newFakeStore()), call{method: "GET", target: api.PathOpenAPI})
	if w.Code != 200 || w.Header().Get("Content-Type") != api.TypeYAML {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	var doc object
	if err := yaml.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// resolve follows a reference inside doc.
func resolve(t *testing.T, doc object, value any) object {
	t.Helper()
	node, ok := value.(object)
	if !ok {
		t.Fatalf("%v is no object", value)
	}
	ref, ok := node["$ref"].(string)
	if !ok {
		return node
	}
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		if doc, ok = doc[name].(object); !ok {
			t.Fatalf("%s leads nowhere", ref)
		}
	}
	return doc
}

// operations calls fn for every operation in doc.
func operations(t *testing.T, doc object, fn func(name string, op object)) {
	t.Helper()
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			if method != "parameters" {
				fn(strings.ToUpper(method)+" "+path, op.(object))
			}
		}
	}
}

func TestEveryRouteIsDocumentedAndViceVersa(t *testing.T) {
	var documented []string
	ids := make(map[any]bool)
	operations(t, document(t), func(name string, op object) {
		documented = append(documented, name)
		if id := op["operationId"]; id == nil || ids[id] {
			t.Errorf("%s: operationId %v is missing or not unique", name, id)
		}
		ids[op["operationId"]] = true
	})
	slices.Sort(documented)
	served := newServer(t, server.Config{}, newFakeStore()).Routes()
	slices.Sort(served)
	if !slices.Equal(served, documented) {
		t.Errorf("served     %q\ndocumented %q", served, documented)
	}
}

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	doc := document(t)
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case object:
			resolve(t, doc, value)
			for _, inner := range value {
				walk(inner)
			}
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		}
	}
	walk(doc)
}

// TestCursorExample checks that the listing's example of a cursor is one.
func TestCursorExample(t *testing.T) {
	ok := resolve(t, document(t), object{"$ref": "#/paths"})["/v1/kv"].(object)["get"].(object)["responses"].(object)["200"]
	example := ok.(object)["content"].(object)[api.TypeJSON].(object)["example"].(object)["next_cursor"].(string)
	if w := do(t, newServer(t, server.Config{}, newFakeStore()), call{method: "GET", target: "/v1/kv?cursor=" + example}); w.Code != 200 {
		t.Errorf("%s: %d %s", example, w.Code, w.Body)
	}
}

// TestExamples checks that every body has an example and that it is one: it decodes into the Go type without rest.
func TestExamples(t *testing.T) {
	doc := document(t)
	types := map[string]func() any{
		"GET /v1/kv":           func() any { return new(api.ListPage) },
		"GET /v1/cluster":      func() any { return new(api.Cluster) },
		"GET /v1/ring":         func() any { return new(api.Ring) },
		"GET /v1/ring/locate":  func() any { return new(api.Location) },
		"POST /v1/txn":         func() any { return new(api.TxnResult) },
		"GET /v1/txn/{id}":     func() any { return new(api.TxnStatus) },
		"GET /v1/locks/{name}": func() any { return new(api.Lock) }, "POST /v1/locks/{name}": func() any { return new(api.Lock) },
		"PUT /v1/locks/{name}": func() any { return new(api.Lock) },
		"GET /healthz":         func() any { return new(struct{ Status string }) },
		"GET /readyz":          func() any { return new(struct{ Status string }) },
	}
	checked := 0
	operations(t, doc, func(name string, op object) {
		for status, response := range op["responses"].(object) {
			content, _ := resolve(t, doc, response)["content"].(object)
			for mediaType, body := range content {
				where := name + " " + status + " " + mediaType
				example := body.(object)["example"]
				switch {
				case example == nil:
					t.Errorf("%s has no example", where)
				case mediaType == api.TypeProblem:
					checkProblemExample(t, where, status, example)
					checked++
				case mediaType == api.TypeJSON:
					decodeExample(t, where, example, types[name]())
					checked++
				}
			}
		}
	})
	if checked < 30 {
		t.Errorf("only %d examples were checked", checked)
	}
}

// TestTxnExample checks that the example of a transaction is one.
func TestTxnExample(t *testing.T) {
	post := resolve(t, document(t), object{"$ref": "#/paths"})[api.PathTxn].(object)["post"].(object)
	example := post["requestBody"].(object)["content"].(object)[api.TypeJSON].(object)["example"]
	text, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.DecodeTxn(text, 0); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

func decodeExample(t *testing.T, where string, example, into any) {
	t.Helper()
	text, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

func checkProblemExample(t *testing.T, where, status string, example any) {
	t.Helper()
	var p api.Problem
	decodeExample(t, where, example, &p)
	method, _, _ := strings.Cut(where, " ")
	want := api.NewProblem(p.Code.Sentinel(), method == "PUT" || method == "DELETE" || method == "POST")
	if strconv.Itoa(p.Status) != status || p.Status != want.Status || p.Type != want.Type || p.Title != want.Title ||
		p.Retryable != want.Retryable || p.Outcome != want.Outcome || p.Detail == "" {
		t.Errorf("%s: example %+v, the server would say %+v", where, p, *want)
	}
}

func TestEveryCodeIsDocumented(t *testing.T) {
	var codes []string
	for _, code := range api.Codes() {
		codes = append(codes, string(code))
	}
	slices.Sort(codes)

	doc := document(t)
	problem := resolve(t, doc, object{"$ref": "#/components/schemas/Problem"})
	var enum []string
	for _, code := range problem["properties"].(object)["code"].(object)["enum"].([]any) {
		enum = append(enum, code.(string))
	}
	slices.Sort(enum)
	if !slices.Equal(enum, codes) {
		t.Errorf("openapi.yaml lists %q, the codes are %q", enum, codes)
	}

	page, err := os.ReadFile("../PROBLEMS.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]bool)
	for line := range strings.Lines(string(page)) {
		if code, ok := strings.CutPrefix(line, "## "); ok {
			headings[strings.TrimSpace(code)] = true
		}
	}
	if got := slices.Sorted(maps.Keys(headings)); !slices.Equal(got, codes) {
		t.Errorf("PROBLEMS.md describes %q, the codes are %q", got, codes)
	}
}
