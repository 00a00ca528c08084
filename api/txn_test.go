package api_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
)

func bound(n int64) *int64 { return &n }

// contractTxn is the contract's example, and contractJSON how it is written.
func contractTxn() api.Txn {
	return api.Txn{
		If: []api.TxnCondition{
			{Test: api.TestVersion, Key: []byte("acct/1"), Version: 17}, {Test: api.TestAbsent, Key: []byte("tx/9")},
			{Test: api.TestValue, Key: []byte("sku/7"), Value: []byte("red")}, {Test: api.TestToken, Key: []byte("ledger"), Token: 42},
		},
		Then: []api.TxnOp{
			{Kind: api.OpAdd, Key: []byte("acct/1"), By: -100, Min: bound(0)}, {Kind: api.OpAdd, Key: []byte("acct/2"), By: 100},
			{Kind: api.OpPut, Key: []byte("tx/9"), Value: []byte("paid"), TTL: 24 * time.Hour},
			{Kind: api.OpGet, Key: []byte("acct/2")}, {Kind: api.OpDelete, Key: []byte("hold/9")},
		},
		Else:     []api.TxnOp{{Kind: api.OpGet, Key: []byte("acct/1")}},
		Protocol: api.ProtocolAuto, Timeout: 2 * time.Second,
	}
}

const contractJSON = `{"if":[{"key":"acct/1","version":17},{"key":"tx/9","exists":false},{"key":"sku/7","value":"red"},{"lock":"ledger","token":42}],` +
	`"then":[{"op":"add","key":"acct/1","by":-100,"min":0},{"op":"add","key":"acct/2","by":100},` +
	`{"op":"put","key":"tx/9","value":"paid","ttl":"24h0m0s"},{"op":"get","key":"acct/2"},{"op":"delete","key":"hold/9"}],` +
	`"else":[{"op":"get","key":"acct/1"}],"protocol":"auto","timeout":"2s"}`

func TestTxnJSON(t *testing.T) {
	cases := []struct {
		name string
		txn  api.Txn
		want string
	}{
		{"the contract's", contractTxn(), contractJSON},
		{"nothing", api.Txn{}, `{"then":[]}`},
		{"empty else", api.Txn{Else: []api.TxnOp{}}, `{"then":[],"else":[]}`},
		{
			"bytes",
			api.Txn{
				If: []api.TxnCondition{
					{Test: api.TestValue, Key: []byte{0xff}, Value: []byte{0, 0xfe}}, {Test: api.TestToken, Key: []byte{0xff}, Token: 1},
				},
				Then: []api.TxnOp{{Kind: api.OpPut, Key: []byte{0xff}, Value: []byte{0xfe}}},
			},
			`{"if":[{"key_b64":"/w==","value_b64":"AP4="},{"lock_b64":"/w==","token":1}],"then":[{"op":"put","key_b64":"/w==","value_b64":"/g=="}]}`,
		},
		{
			"the rest",
			api.Txn{
				If:   []api.TxnCondition{{Test: api.TestExists, Key: []byte("a")}, {Test: api.TestValue, Key: []byte("b")}},
				Then: []api.TxnOp{{Kind: api.OpPut, Key: []byte("a"), KeepTTL: true}, {Kind: api.OpAdd, Key: []byte("b"), Min: bound(-1), Max: bound(1)}},
			},
			`{"if":[{"key":"a","exists":true},{"key":"b","value":""}],"then":[{"op":"put","key":"a","value":"","keepttl":true},{"op":"add","key":"b","by":0,"min":-1,"max":1}]}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.txn.AppendJSON(nil)); got != c.want || !json.Valid([]byte(got)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTxnResultJSON(t *testing.T) {
	result := api.TxnResult{
		Txn: "t1", Committed: true, Branch: api.SectionThen, Protocol: api.ProtocolAuto, Partitions: []api.PartitionID{12, 88}, Attempts: 1,
		Results: []api.TxnOpResult{
			{Key: []byte("a"), Exists: true, Value: []byte("1"), Version: 7}, {Key: []byte("b")},
			{Key: []byte("c"), Exists: true, Version: 8}, {Key: []byte{0xff}, Exists: true, Value: []byte{0xfe}, Version: 9},
			{Key: []byte("d"), Exists: true, Value: []byte{}, Version: 10},
		},
	}
	want := `{"txn":"t1","committed":true,"branch":"then","results":[{"key":"a","value":"1","version":7},{"key":"b","exists":false},` +
		`{"key":"c","version":8},{"key_b64":"/w==","value_b64":"/g==","version":9},{"key":"d","value":"","version":10}],` +
		`"protocol":"auto","partitions":[12,88],"attempts":1}`
	checkRoundTrip(t, result, want, string(result.AppendJSON(nil)))
	short := api.TxnResult{Txn: "t1", Committed: true, Results: []api.TxnOpResult{}, Partitions: []api.PartitionID{1}, Attempts: 2, ResultsTruncated: true}
	checkRoundTrip(t, short, `{"txn":"t1","committed":true,"branch":"","results":[],"protocol":"","partitions":[1],"attempts":2,"results_truncated":true}`, string(short.AppendJSON(nil)))
	empty := api.TxnResult{Results: []api.TxnOpResult{}, Partitions: []api.PartitionID{}}
	checkRoundTrip(t, empty, `{"txn":"","committed":false,"branch":"","results":[],"protocol":"","partitions":[],"attempts":0}`, string(empty.AppendJSON(nil)))
}

// checkRoundTrip checks that value is written as want, by encoding/json too, and read back equal.
func checkRoundTrip[T any](t *testing.T, value T, want, got string) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil || string(text) != want || got != want {
		t.Errorf("got  %s\nand  %s, %v\nwant %s", text, got, err, want)
	}
	var back T
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, value) {
		t.Errorf("came back as %+v, %v", back, err)
	}
}

func TestTxnFailureJSON(t *testing.T) {
	cases := []struct {
		failure    api.TxnFailure
		want, text string
	}{
		{api.TxnFailure{In: api.SectionIf, Key: []byte("acct/1"), Version: 18}, `{"in":"if","index":0,"key":"acct/1","version":18}`, `/if/0: key "acct/1" is at version 18`},
		{api.TxnFailure{In: api.SectionIf, Index: 1, Key: []byte{0xff}}, `{"in":"if","index":1,"key_b64":"/w==","version":0}`, `/if/1: key "\xff" is absent`},
		{api.TxnFailure{In: api.SectionIf, Index: 2, Lock: []byte("l"), Token: 7}, `{"in":"if","index":2,"lock":"l","token":7}`, `/if/2: lock "l" is held with token 7`},
		{api.TxnFailure{In: api.SectionIf, Index: 2, Lock: []byte{0xff}}, `{"in":"if","index":2,"lock_b64":"/w==","token":0}`, `/if/2: lock "\xff" is free`},
		{
			api.TxnFailure{In: api.SectionThen, Index: 3, Key: []byte("k"), Version: 4, Code: api.FailedBound},
			`{"in":"then","index":3,"key":"k","version":4,"code":"bound"}`, `/then/3: key "k" would pass its bound`,
		},
		{
			api.TxnFailure{In: api.SectionElse, Key: []byte("k"), Version: 4, Code: api.FailedOverflow},
			`{"in":"else","index":0,"key":"k","version":4,"code":"overflow"}`, `/else/0: key "k" would pass 64 bits`,
		},
		{
			api.TxnFailure{In: api.SectionElse, Key: []byte(strings.Repeat("k", 65)), Version: 4, Code: api.FailedNotANumber},
			`{"in":"else","index":0,"key":"` + strings.Repeat("k", 65) + `","version":4,"code":"not_a_number"}`,
			`/else/0: key "` + strings.Repeat("k", 64) + `"… holds no number`,
		},
	}
	for _, c := range cases {
		checkRoundTrip(t, c.failure, c.want, string(c.failure.AppendJSON(nil)))
		if got := c.failure.String(); got != c.text {
			t.Errorf("got %s, want %s", got, c.text)
		}
	}
	two := &api.TxnFailedError{Failed: []api.TxnFailure{cases[0].failure, cases[1].failure}}
	if got := two.Error(); got != `/if/0: key "acct/1" is at version 18 (and 1 more)` {
		t.Error(got)
	}
}
