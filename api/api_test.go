package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
)

// TestErrorsSurviveTheWire sends every sentinel and typed error through JSON.
func TestErrorsSurviveTheWire(t *testing.T) {
	errs := []error{
		&api.ConditionError{Version: 17}, &api.ConditionError{}, &api.LimitError{What: "value", Limit: 10, Actual: 11},
		&api.LimitError{What: "value", Limit: 10}, &api.LimitError{What: "transaction", Limit: 10, Actual: 11, Unit: "operations"},
		&api.TxnFailedError{Failed: []api.TxnFailure{{In: api.SectionIf, Index: 2, Lock: []byte("l")}}},
		&api.TxnError{Txn: "t1", Err: api.ErrUnknownOutcome}, &api.TxnError{Txn: "t1", Err: &api.LimitError{What: "value", Limit: 10}},
		&api.TxnError{Txn: "t1", Err: &api.TxnFailedError{Failed: []api.TxnFailure{{In: api.SectionThen, Key: []byte("k"), Code: api.FailedBound}}}},
		&api.InvalidError{Where: "header If-Match", Detail: "is odd"},
	}
	for _, code := range api.Codes() {
		errs = append(errs, code.Sentinel(), fmt.Errorf("get from partition 7: %w", code.Sentinel()))
	}
	for _, err := range errs {
		for _, write := range []bool{false, true} {
			p := decodeProblem(t, api.NewProblem(err, write))
			if !errors.Is(p, api.CodeOf(err).Sentinel()) || p.Code != api.CodeOf(err) {
				t.Errorf("%v came back as %v", err, p)
			}
			if (p.Outcome != "") != write {
				t.Errorf("%v, write %v: outcome %q", err, write, p.Outcome)
			}
			if unknown := errors.Is(p, api.ErrUnknownOutcome); unknown != (p.Outcome == api.Unknown || p.Code == api.CodeUnknownOutcome) {
				t.Errorf("%v, write %v: outcome %q, unknown %v", err, write, p.Outcome, unknown)
			}
			checkTyped(t, err, p)
		}
	}
}

func decodeProblem(t *testing.T, p *api.Problem) *api.Problem {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var decoded api.Problem
	if err := json.Unmarshal(text, &decoded); err != nil {
		t.Fatal(err)
	}
	return &decoded
}

// checkTyped checks that a typed error comes back equal.
func checkTyped(t *testing.T, sent error, got *api.Problem) {
	t.Helper()
	var (
		condition *api.ConditionError
		limit     *api.LimitError
		invalid   *api.InvalidError
		failed    *api.TxnFailedError
		txn       *api.TxnError
	)
	switch sent.(type) {
	case *api.ConditionError:
		if !errors.As(got, &condition) || !reflect.DeepEqual(condition, sent) {
			t.Errorf("%v came back as %v", sent, condition)
		}
	case *api.LimitError:
		if !errors.As(got, &limit) || !reflect.DeepEqual(limit, sent) {
			t.Errorf("%v came back as %v", sent, limit)
		}
	case *api.InvalidError:
		if !errors.As(got, &invalid) || !reflect.DeepEqual(invalid, sent) {
			t.Errorf("%v came back as %v", sent, invalid)
		}
	case *api.TxnFailedError:
		if !errors.As(got, &failed) || !reflect.DeepEqual(failed, sent) {
			t.Errorf("%v came back as %v", sent, failed)
		}
	case *api.TxnError:
		if !errors.As(got, &txn) || !reflect.DeepEqual(txn, sent) || got.StatusURL != "/v1/txn/"+txn.Txn {
			t.Errorf("%v came back as %v with status at %s", sent, txn, got.StatusURL)
		}
	}
}

// TestCodesKeepTheirMeaning holds what is released: codes and their statuses are append-only.
func TestCodesKeepTheirMeaning(t *testing.T) {
	released := map[api.Code]int{
		"invalid_request": 400, "not_found": 404, "no_route": 404, "method_not_allowed": 405, "request_timeout": 408,
		"conflict": 409, "condition_failed": 412, "too_large": 413, "internal": 500, "corrupt": 500, "unavailable": 503,
		"overloaded": 503, "not_ready": 503, "unknown_outcome": 504, "disk_full": 507,
		"txn_not_found": 404, "idempotency_in_flight": 409, "idempotency_key_reused": 422,
		"lock_held": 423, "lock_lost": 410, "lock_not_found": 404,
		"cursor_too_old": 410, "too_many_requests": 429,
	}
	for code, status := range released {
		if code.Sentinel() == nil || code.Status() != status {
			t.Errorf("%s: sentinel %v, status %d, want %d", code, code.Sentinel(), code.Status(), status)
		}
	}
	if len(api.Codes()) != len(released) {
		t.Errorf("%d codes, %d are in this test", len(api.Codes()), len(released))
	}
	for _, code := range api.Codes() {
		p := api.NewProblem(code.Sentinel(), true)
		if p.Retryable && p.Outcome != api.Aborted && code != api.CodeIdempotencyInFlight { // its key makes that safe
			t.Errorf("%s is retryable with outcome %q", code, p.Outcome)
		}
		if p.Status == http.StatusServiceUnavailable && p.Outcome != api.Aborted {
			t.Errorf("%s is a 503 with outcome %q", code, p.Outcome)
		}
	}
}

func TestUnknownCodeFromANewerNode(t *testing.T) {
	p := &api.Problem{Code: "from_the_future", Status: 418, Outcome: api.Unknown}
	if !errors.Is(p, api.ErrUnknownOutcome) || errors.Is(p, api.ErrInternal) {
		t.Errorf("unwraps to %v", p.Unwrap())
	}
	var txn *api.TxnError
	p.Txn = "t1"
	if !errors.As(p, &txn) || txn.Txn != "t1" || errors.Is(p, api.ErrInternal) || txn.Error() != "transaction t1: from_the_future" {
		t.Errorf("unwraps to %v", p.Unwrap())
	}
}

func TestETags(t *testing.T) {
	cases := []struct {
		tag     string
		version api.Version
		ok      bool
	}{
		{`"1"`, 1, true}, {`"17"`, 17, true}, {`"9007199254740991"`, api.MaxVersion, true},
		{`"9007199254740992"`, 0, false}, {`"99999999999999999"`, 0, false}, {`"0"`, 0, false}, {`"01"`, 0, false}, {`""`, 0, false},
		{`"`, 0, false}, {``, 0, false}, {`1`, 0, false}, {`W/"1"`, 0, false}, {`"+1"`, 0, false}, {`"1 "`, 0, false}, {`"1`, 0, false},
	}
	for _, c := range cases {
		v, ok := api.ParseETag(c.tag)
		if ok != c.ok || (ok && (v != c.version || v.ETag() != c.tag)) {
			t.Errorf("%s: %d, %v", c.tag, v, ok)
		}
	}
}

func TestItemJSON(t *testing.T) {
	cases := []struct {
		name string
		item api.Item
		want string
	}{
		{"text", api.Item{Key: []byte("k"), Value: []byte("v"), Version: 3}, `{"key":"k","value":"v","version":3}`},
		{"no value", api.Item{Key: []byte("k"), Version: 3}, `{"key":"k","version":3}`},
		{"empty value", api.Item{Key: []byte("k"), Value: []byte{}, Version: 3}, `{"key":"k","value":"","version":3}`},
		{"bytes", api.Item{Key: []byte{0xff}, Value: []byte{0, 0xfe}, Version: 3}, `{"key_b64":"/w==","value_b64":"AP4=","version":3}`},
		{"ttl", api.Item{Key: []byte("k"), Version: 3, TTL: 1500 * time.Millisecond}, `{"key":"k","version":3,"ttl_ms":1500}`},
		{"escapes", api.Item{Key: []byte("\"\\\n\r\t\x00\x1f\x7f"), Version: 1}, `{"key":"\"\\\n\r\t\u0000\u001F` + "\x7f" + `","version":1}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := string(c.item.AppendJSON(nil))
			if got != c.want || !json.Valid([]byte(got)) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			var back api.Item
			if err := json.Unmarshal([]byte(got), &back); err != nil || !reflect.DeepEqual(back, c.item) {
				t.Errorf("came back as %+v, %v", back, err)
			}
		})
	}
	short := api.Item{Key: []byte("k"), Version: 1, TTL: time.Microsecond}
	if got := string(short.AppendJSON(nil)); got != `{"key":"k","version":1,"ttl_ms":1}` {
		t.Errorf("a life under 1 ms: %s", got)
	}
}

func TestBrokenItems(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"version":1}`, `{"key":"a","key_b64":"YQ==","version":1}`, `{"key_b64":"YQ","version":1}`, `{"key_b64":"Y Q==","version":1}`,
		`{"key_b64":"YQ==\n","version":1}`, `{"key":"a","value":"x","value_b64":"eA==","version":1}`, `{"key":"","version":1}`, `{"key":"a","version":-1}`, `{"key":7}`, `[]`,
	} {
		var item api.Item
		if err := json.Unmarshal([]byte(text), &item); err == nil {
			t.Errorf("%s was taken as %+v", text, item)
		}
	}
}

func TestStreamLine(t *testing.T) {
	var line api.StreamLine
	if err := json.Unmarshal([]byte(`{"end":true,"count":7}`), &line); err != nil || line.End == nil || line.End.Count != 7 {
		t.Errorf("%+v, %v", line, err)
	}
	if err := json.Unmarshal([]byte(`{"key":"a","value":"b","version":2}`), &line); err != nil || line.End != nil || string(line.Item.Key) != "a" {
		t.Errorf("%+v, %v", line, err)
	}
	if err := json.Unmarshal([]byte(`{"count":7}`), &line); err == nil {
		t.Errorf("neither item nor end was taken")
	}
}

func TestLocationJSON(t *testing.T) {
	for key, want := range map[string]string{
		"a<":   `{"key":"a\u003c","partition":12,"replicas":["n1"],"leader":""}`,
		"\xff": `{"key_b64":"/w==","partition":12,"replicas":["n1"],"leader":""}`,
	} {
		l := api.Location{Key: []byte(key), Partition: 12, Replicas: []string{"n1"}}
		text, err := json.Marshal(l)
		if err != nil || string(text) != want {
			t.Errorf("got %s, %v", text, err)
		}
		var back api.Location
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, l) {
			t.Errorf("came back as %+v, %v", back, err)
		}
	}
}

// TestClientsStaySmall holds what the package imports of ours, itself and indirectly: no server, no storage.
func TestClientsStaySmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") {
			continue // standard library
		}
		switch name {
		case "github.com/ringkv/ringkv/api", "github.com/ringkv/ringkv/api/internal/strictjson", "github.com/ringkv/ringkv/ring", "github.com/cespare/xxhash/v2":
		default:
			t.Errorf("package api pulls in %s", name)
		}
	}
}

func FuzzItemJSON(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), true, uint64(1), int64(5))
	f.Add([]byte{0xff, 0}, []byte("\u2028<>&\"\\\x00"), true, uint64(1<<53-1), int64(0))
	f.Fuzz(func(t *testing.T, key, value []byte, hasValue bool, version uint64, ttl int64) {
		if len(key) == 0 || ttl < 0 || ttl > api.MaxTTL.Milliseconds() {
			return
		}
		item := api.Item{Key: key, Version: api.Version(version), TTL: time.Duration(ttl) * time.Millisecond}
		if hasValue {
			item.Value = append([]byte{}, value...)
		}
		var back api.Item
		if err := json.Unmarshal(item.AppendJSON(nil), &back); err != nil || !reflect.DeepEqual(item, back) {
			t.Fatalf("%+v came back as %+v, %v", item, back, err)
		}
	})
}

func FuzzDecoders(f *testing.F) {
	for _, seed := range []string{`{"key":"a","version":1}`, `{"end":true,"count":1}`, `{"items":[{"key_b64":"AA==","version":2}],"next_cursor":"x"}`, `{"code":"not_found","status":404}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var (
			line     api.StreamLine
			page     api.ListPage
			location api.Location
			p        api.Problem
		)
		_ = json.Unmarshal(text, &line)
		_ = json.Unmarshal(text, &location)
		if json.Unmarshal(text, &p) == nil {
			_, _ = p.Error(), p.Unwrap()
		}
		if json.Unmarshal(text, &page) != nil {
			return // what was decoded before the error counts for nothing
		}
		for _, item := range page.Items {
			if len(item.Key) == 0 {
				t.Fatalf("an item without a key: %s", text)
			}
		}
	})
}

// FuzzKeyPath checks that a key's path is read back by net/url as the key, and has nothing that anybody would clean.
func FuzzKeyPath(f *testing.F) {
	for _, seed := range []string{"a", "a/../b", "//", "/", ".", "..", "a/.", "%", "\x00\xff", "a b+c?d#e", "a/b.c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		path := string(api.AppendKeyPath([]byte(api.PathKV+"/"), key))
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Path != api.PathKV+"/"+string(key) || u.EscapedPath() != path {
			t.Fatalf("%q is written %q and read as %v, %v", key, path, u, err)
		}
		for _, segment := range strings.Split(path[len(api.PathKV)+1:], "/") {
			if len(key) > 0 && (segment == "" || segment == "." || segment == "..") {
				t.Fatalf("%q is written %q", key, path)
			}
		}
	})
}
