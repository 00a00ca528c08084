package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/api"
)

// withDefaults is what DecodeTxn makes of t.
func withDefaults(t api.Txn) api.Txn {
	if t.Protocol == "" {
		t.Protocol = api.ProtocolAuto
	}
	if t.Timeout == 0 {
		t.Timeout = api.DefaultTxnTimeout
	}
	return t
}

func TestDecodeTxn(t *testing.T) {
	k := []byte("k")
	get := []api.TxnOp{{Kind: api.OpGet, Key: k}}
	cases := []struct {
		name, body string
		want       api.Txn
	}{
		{"the contract's", contractJSON, contractTxn()},
		{"the contract's, as it is printed there", `{"if":   [{"key":"acct/1","version":17}, {"key":"tx/9","exists":false}, {"key":"sku/7","value":"red"}, {"lock":"ledger","token":42}],
 "then": [{"op":"add","key":"acct/1","by":-100,"min":0}, {"op":"add","key":"acct/2","by":100},
          {"op":"put","key":"tx/9","value":"paid","ttl":"24h"}, {"op":"get","key":"acct/2"}, {"op":"delete","key":"hold/9"}],
 "else": [{"op":"get","key":"acct/1"}],
 "protocol":"auto", "timeout":"2s"}`, contractTxn()},
		{"least", `{"then":[{"op":"get","key":"k"}]}`, api.Txn{Then: get}},
		{"any order", `{"then":[{"key":"k","op":"get"}],"protocol":"3pc","if":[]}`, api.Txn{Then: get, Protocol: api.Protocol3PC}},
		{"empty then", `{"if":[{"exists":true,"key":"k"}],"then":[]}`, api.Txn{If: []api.TxnCondition{{Test: api.TestExists, Key: k}}, Then: []api.TxnOp{}}},
		{"empty else", `{"then":[{"op":"get","key":"k"}],"else":[],"protocol":"2pc"}`, api.Txn{Then: get, Else: []api.TxnOp{}, Protocol: api.Protocol2PC}},
		{"times are rounded up", `{"then":[{"op":"put","key":"k","value":"","ttl":"1500us"}],"timeout":"1.0000001s"}`, api.Txn{
			Then: []api.TxnOp{{Kind: api.OpPut, Key: k, Value: []byte{}, TTL: 2 * time.Millisecond}}, Timeout: 1001 * time.Millisecond,
		}},
		{"extremes", `{"then":[{"op":"add","key":"k","by":-9223372036854775808,"min":-9223372036854775808,"max":9223372036854775807},` +
			`{"op":"put","key":"k","value":"","ttl":"87600h","keepttl":false},{"op":"put","key":"k","value":"","keepttl":true}],` +
			`"if":[{"key":"k","version":9007199254740991},{"key":"k","version":0},{"lock":"k","token":9007199254740991}],"timeout":"60s"}`, api.Txn{
			If: []api.TxnCondition{
				{Test: api.TestVersion, Key: k, Version: api.MaxVersion}, {Test: api.TestVersion, Key: k}, {Test: api.TestToken, Key: k, Token: 1<<53 - 1},
			},
			Then: []api.TxnOp{
				{Kind: api.OpAdd, Key: k, By: -1 << 63, Min: bound(-1 << 63), Max: bound(1<<63 - 1)},
				{Kind: api.OpPut, Key: k, Value: []byte{}, TTL: api.MaxTTL}, {Kind: api.OpPut, Key: k, Value: []byte{}, KeepTTL: true},
			},
			Timeout: time.Minute,
		}},
		{"contradictory conditions are merely false", `{"if":[{"key":"k","exists":true},{"key":"k","exists":false}],"then":[{"op":"add","key":"k","by":1,"min":2,"max":1}]}`, api.Txn{
			If:   []api.TxnCondition{{Test: api.TestExists, Key: k}, {Test: api.TestAbsent, Key: k}},
			Then: []api.TxnOp{{Kind: api.OpAdd, Key: k, By: 1, Min: bound(2), Max: bound(1)}},
		}},
		{"base64", `{"if":[{"key_b64":"/w==","value_b64":""},{"lock_b64":"/w==","token":1}],"then":[{"op":"put","key_b64":"aw==","value_b64":"AP4="}]}`, api.Txn{
			If: []api.TxnCondition{
				{Test: api.TestValue, Key: []byte{0xff}, Value: []byte{}}, {Test: api.TestToken, Key: []byte{0xff}, Token: 1},
			},
			Then: []api.TxnOp{{Kind: api.OpPut, Key: k, Value: []byte{0, 0xfe}}},
		}},
		{"escapes", `{"th\u0065n":[{"op":"g\u0065t","key":"\u006b"}]}`, api.Txn{Then: get}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := withDefaults(c.want)
			got, err := api.DecodeTxn([]byte(c.body), 0)
			if err != nil || !reflect.DeepEqual(*got, want) {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, want)
			}
			again, err := api.DecodeTxn(got.AppendJSON(nil), 0)
			if err != nil || !reflect.DeepEqual(*again, want) {
				t.Errorf("written and read again: %+v, %v", again, err)
			}
		})
	}
}

// TestDecodeTxnRefuses has every way to be malformed. In a body, C stands for a good condition and O for a good operation.
func TestDecodeTxnRefuses(t *testing.T) {
	cases := []struct{ name, body, where, detail string }{
		{"nothing", ``, "body", "ends too early"},
		{"no object", `[O]`, "body", "is an array, where an object is needed"},
		{"null", `null`, "body", "is null"},
		{"trailing data", `{"then":[O]} {}`, "body", "something follows"},
		{"trailing comma", `{"then":[O],}`, "body", "name in quotes is missing"},
		{"byte order mark", "\ufeff" + `{"then":[O]}`, "body", "a value is missing"},
		{"comment", `{"then":[O] /* */}`, "body", "a comma"},
		{"cut off", `{"then":[O`, "/then", "ends too early"},

		{"unknown member", `{"then":[O],"than":[]}`, "/than", "is not known here"},
		{"wrong case", `{"Then":[O]}`, "/Then", `write it "then"`},
		{"repeated", `{"then":[O],"then":[O]}`, "/then", "is repeated"},
		{"repeated under another spelling", `{"then":[O],"th\u0065n":[O]}`, "/then", "is repeated"},
		{"unknown in a condition", `{"if":[C,{"key":"a","exist":true}],"then":[]}`, "/if/1/exist", "is not known here"},
		{"wrong case in a condition", `{"if":[{"KEY":"a","exists":true}],"then":[]}`, "/if/0/KEY", `write it "key"`},
		{"repeated in a condition", `{"if":[{"key":"a","exists":true,"exists":true}],"then":[]}`, "/if/0/exists", "is repeated"},
		{"unknown in an operation", `{"then":[O,O,{"op":"get","key":"a","if":1}]}`, "/then/2/if", "is not known here"},
		{"wrong case in an operation", `{"then":[{"Op":"get","key":"a"}]}`, "/then/0/Op", `write it "op"`},
		{"repeated in an operation", `{"then":[O],"else":[{"op":"get","op":"get","key":"a"}]}`, "/else/0/op", "is repeated"},

		{"if is no array", `{"if":C,"then":[]}`, "/if", "is an object, where an array is needed"},
		{"then is null", `{"if":[C],"then":null}`, "/then", "is null, where an array is needed"},
		{"else is null", `{"then":[O],"else":null}`, "/else", "is null, where an array is needed"},
		{"a condition is no object", `{"if":["key"],"then":[]}`, "/if/0", "is a string, where an object is needed"},
		{"an operation is no object", `{"then":[[]]}`, "/then/0", "is an array, where an object is needed"},
		{"key is no string", `{"then":[{"op":"get","key":7}]}`, "/then/0/key", "is a number, where a string is needed"},
		{"value is no string", `{"then":[{"op":"put","key":"a","value":7}]}`, "/then/0/value", "is a number, where a string is needed"},
		{"value is null", `{"then":[{"op":"put","key":"a","value":null}]}`, "/then/0/value", "is null"},
		{"exists is no truth value", `{"if":[{"key":"a","exists":"true"}],"then":[]}`, "/if/0/exists", "is a string, where true or false is needed"},
		{"version is a string", `{"if":[{"key":"a","version":"17"}],"then":[]}`, "/if/0/version", "is a string, where a number is needed"},
		{"by is a string", `{"then":[O,O,O,{"op":"add","key":"a","by":"1"}]}`, "/then/3/by", "is a string, where a number is needed"},
		{"min is null", `{"then":[{"op":"add","key":"a","by":1,"min":null}]}`, "/then/0/min", "is null, where a number is needed"},
		{"keepttl is a number", `{"then":[{"op":"put","key":"a","value":"","keepttl":1}]}`, "/then/0/keepttl", "is a number, where true or false is needed"},
		{"ttl is a number", `{"then":[{"op":"put","key":"a","value":"","ttl":30}]}`, "/then/0/ttl", "is a number, where a string is needed"},
		{"timeout is a number", `{"then":[O],"timeout":2}`, "/timeout", "is a number, where a string is needed"},
		{"protocol is null", `{"then":[O],"protocol":null}`, "/protocol", "is null, where a string is needed"},
		{"op is a number", `{"then":[{"op":1,"key":"a"}]}`, "/then/0/op", "is a number, where a string is needed"},
		{"too deep", `{"then":` + strings.Repeat("[", 100000), "/then/0", "is an array, where an object is needed"},
		{"too deep in a value", `{"then":[{"op":"put","key":"a","value":{"a":{"a":{}}}}]}`, "/then/0/value", "is an object, where a string is needed"},

		{"lone surrogate in a key", `{"then":[{"op":"get","key":"\ud800"}]}`, "/then/0/key", "this surrogate stands alone"},
		{"lone surrogate in a value", `{"if":[{"key":"a","value":"x\udc00"}],"then":[]}`, "/if/0/value", "this surrogate stands alone"},
		{"lone surrogate in a name", `{"\ud800":1}`, "body", "this surrogate stands alone"},
		{"no UTF-8", `{"then":[{"op":"get","key":"` + "\xff" + `"}]}`, "/then/0/key", "this is not UTF-8"},
		{"raw control character", "{\"then\":[{\"op\":\"get\",\"key\":\"\n\"}]}", "/then/0/key", "must be escaped"},
		{"not base64", `{"then":[{"op":"get","key_b64":"Y"}]}`, "/then/0/key_b64", "is not standard base64"},
		{"unpadded base64", `{"then":[{"op":"get","key_b64":"YQ"}]}`, "/then/0/key_b64", "is not standard base64"},
		{"URL-safe base64", `{"then":[{"op":"get","key_b64":"_w=="}]}`, "/then/0/key_b64", "is not standard base64"},
		{"base64 with a line break", `{"then":[{"op":"get","key_b64":"YQ==\n"}]}`, "/then/0/key_b64", "is not standard base64"},
		{"base64 with loose bits", `{"then":[{"op":"get","key_b64":"YR=="}]}`, "/then/0/key_b64", "is not standard base64"},

		{"no then", `{"if":[C]}`, "/then", "is missing"},
		{"empty then alone", `{"then":[]}`, "/then", "is empty, and there is no condition"},
		{"empty then beside an empty if", `{"if":[],"then":[],"else":[O]}`, "/then", "is empty, and there is no condition"},

		{"condition on nothing", `{"if":[{"exists":true}],"then":[]}`, "/if/0", "has none of key, key_b64, lock and lock_b64"},
		{"condition on two", `{"if":[{"key":"a","key_b64":"YQ==","exists":true}],"then":[]}`, "/if/0/key_b64", "one too many"},
		{"condition on a key and a lock", `{"if":[{"key":"a","lock":"a","token":1}],"then":[]}`, "/if/0/lock", "one too many"},
		{"no test", `{"if":[{"key":"a"}],"then":[]}`, "/if/0", "has none of version, exists, value and value_b64"},
		{"no condition", `{"if":[{}],"then":[]}`, "/if/0", "has none of key"},
		{"two tests", `{"if":[{"key":"a","version":1,"exists":true}],"then":[]}`, "/if/0/exists", "one too many"},
		{"two values", `{"if":[{"key":"a","value":"","value_b64":""}],"then":[]}`, "/if/0/value_b64", "one too many"},
		{"a token of a key", `{"if":[{"key":"a","token":1}],"then":[]}`, "/if/0/token", "is the test of a lock"},
		{"a token beside another test", `{"if":[{"key":"a","version":1,"token":1}],"then":[]}`, "/if/0/token", "is the test of a lock"},
		{"a lock without its token", `{"if":[{"lock":"a"}],"then":[]}`, "/if/0", "the token is missing"},
		{"a lock with another test", `{"if":[{"lock":"a","exists":true}],"then":[]}`, "/if/0", "the test of a lock is its token"},
		{"a lock with two tests", `{"if":[{"lock":"a","token":1,"version":1}],"then":[]}`, "/if/0", "the test of a lock is its token"},
		{"negative version", `{"if":[{"key":"a","version":-1}],"then":[]}`, "/if/0/version", "is not from 0 to 9007199254740991"},
		{"large version", `{"if":[{"key":"a","version":9007199254740992}],"then":[]}`, "/if/0/version", "is not from 0 to 9007199254740991"},
		{"token 0", `{"if":[{"lock":"a","token":0}],"then":[]}`, "/if/0/token", "is not from 1 to 9007199254740991"},
		{"large token", `{"if":[{"lock":"a","token":9007199254740992}],"then":[]}`, "/if/0/token", "is not from 1"},
		{"fraction", `{"if":[{"key":"a","version":1.5}],"then":[]}`, "/if/0/version", "is not a whole number"},
		{"exponent", `{"if":[{"key":"a","version":1e3}],"then":[]}`, "/if/0/version", "is not a whole number"},

		{"no op", `{"then":[{"key":"a"}]}`, "/then/0/op", "is missing"},
		{"unknown op", `{"then":[{"op":"increment","key":"a"}]}`, "/then/0/op", "is none of get, put, delete, add"},
		{"op in capitals", `{"then":[{"op":"GET","key":"a"}]}`, "/then/0/op", "is none of"},
		{"no key", `{"then":[{"op":"get"}]}`, "/then/0", "has none of key and key_b64"},
		{"empty key", `{"then":[{"op":"get","key":""}]}`, "/then/0/key", "is empty"},
		{"empty key as base64", `{"then":[{"op":"get","key_b64":""}]}`, "/then/0/key_b64", "is empty"},
		{"empty lock", `{"if":[{"lock":"","token":1}],"then":[]}`, "/if/0/lock", "is empty"},
		{"two keys", `{"then":[{"op":"get","key":"a","key_b64":"YQ=="}]}`, "/then/0/key_b64", "one too many"},
		{"put without a value", `{"then":[{"op":"put","key":"a"}]}`, "/then/0", "has none of value and value_b64"},
		{"put with two values", `{"then":[{"op":"put","key":"a","value":"","value_b64":""}]}`, "/then/0/value_b64", "one too many"},
		{"put with two lives", `{"then":[{"op":"put","key":"a","value":"","ttl":"1s","keepttl":true}]}`, "/then/0/keepttl", "beside ttl"},
		{"put with by", `{"then":[{"op":"put","key":"a","value":"","by":1}]}`, "/then/0/by", `does not belong to "put"`},
		{"get with a value", `{"then":[{"op":"get","key":"a","value":""}]}`, "/then/0/value", `does not belong to "get"`},
		{"get with keepttl", `{"then":[{"op":"get","key":"a","keepttl":false}]}`, "/then/0/keepttl", `does not belong to "get"`},
		{"delete with a ttl", `{"then":[{"op":"delete","key":"a","ttl":"1s"}]}`, "/then/0/ttl", `does not belong to "delete"`},
		{"add with a ttl", `{"then":[{"op":"add","key":"a","by":1,"ttl":"1s"}]}`, "/then/0/ttl", `does not belong to "add"`},
		{"add with a value", `{"then":[{"op":"add","key":"a","by":1,"value_b64":""}]}`, "/then/0/value_b64", `does not belong to "add"`},
		{"add without by", `{"then":[{"op":"add","key":"a","min":1}]}`, "/then/0/by", "is missing"},
		{"by above 64 bits", `{"then":[{"op":"add","key":"a","by":9223372036854775808}]}`, "/then/0/by", "is not from -9223372036854775808 to"},
		{"by below 64 bits", `{"then":[{"op":"add","key":"a","by":-9223372036854775809}]}`, "/then/0/by", "is not from"},
		{"by as a fraction", `{"then":[{"op":"add","key":"a","by":1.0}]}`, "/then/0/by", "is not a whole number"},
		{"max above 64 bits", `{"then":[{"op":"add","key":"a","by":1,"max":1e19}]}`, "/then/0/max", "is not a whole number"},
		{"short ttl", `{"then":[{"op":"put","key":"a","value":"","ttl":"999us"}]}`, "/then/0/ttl", "1ms to 87600h"},
		{"long ttl", `{"then":[{"op":"put","key":"a","value":"","ttl":"87600h1ns"}]}`, "/then/0/ttl", "1ms to 87600h"},
		{"negative ttl", `{"then":[{"op":"put","key":"a","value":"","ttl":"-1s"}]}`, "/then/0/ttl", "1ms to 87600h"},
		{"ttl without a unit", `{"then":[{"op":"put","key":"a","value":"","ttl":"30"}]}`, "/then/0/ttl", "1ms to 87600h"},
		{"empty ttl", `{"then":[{"op":"put","key":"a","value":"","ttl":""}]}`, "/then/0/ttl", "1ms to 87600h"},

		{"unknown protocol", `{"then":[O],"protocol":"paxos"}`, "/protocol", "is none of auto, 2pc, 3pc"},
		{"the protocol of answers", `{"then":[O],"protocol":"1pc"}`, "/protocol", "is none of"},
		{"empty protocol", `{"then":[O],"protocol":""}`, "/protocol", "is none of"},
		{"short timeout", `{"then":[O],"timeout":"999us"}`, "/timeout", "1ms to 60s"},
		{"long timeout", `{"then":[O],"timeout":"60001ms"}`, "/timeout", "1ms to 60s"},
		{"timeout without a unit", `{"then":[O],"timeout":"2"}`, "/timeout", "1ms to 60s"},
	}
	fill := strings.NewReplacer("C", `{"key":"c","exists":true}`, "O", `{"op":"get","key":"o"}`)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			body := c.body
			if !strings.Contains(body, "Op") {
				body = fill.Replace(body)
			}
			txn, err := api.DecodeTxn([]byte(body), 0)
			var invalid *api.InvalidError
			if !errors.As(err, &invalid) || invalid.Where != c.where || !strings.Contains(invalid.Detail, c.detail) {
				t.Errorf("%.200s\ngot  %+v, %v\nwant %s: %s", body, txn, err, c.where, c.detail)
			}
		})
	}
}

func ops(n int) string {
	return strings.TrimSuffix(strings.Repeat(`{"op":"get","key":"k"},`, n), ",")
}

func conditions(n int) string {
	return strings.TrimSuffix(strings.Repeat(`{"key":"k","exists":true},`, n), ",")
}

// puts writes n puts of size bytes each, keys included.
func puts(n, size int) string {
	return strings.TrimSuffix(strings.Repeat(`{"op":"put","key":"k","value":"`+strings.Repeat("v", size-1)+`"},`, n), ",")
}

func TestDecodeTxnLimits(t *testing.T) {
	long := strings.Repeat("k", 1025)
	longB64 := base64.StdEncoding.EncodeToString([]byte(long))
	cases := []struct {
		name, body string
		maxValue   int64
		want       *api.LimitError // nil: it is taken
	}{
		{"as many operations as may be", `{"then":[` + ops(1024) + `]}`, 0, nil},
		{"one more", `{"then":[` + ops(1025) + `]}`, 0, &api.LimitError{What: "transaction", Limit: 1024, Actual: 1025, Unit: "conditions and operations"}},
		{"many more", `{"then":[` + ops(50000) + `]}`, 0, &api.LimitError{What: "transaction", Limit: 1024, Actual: 50000, Unit: "conditions and operations"}},
		{"all sections count", `{"if":[` + conditions(24) + `],"then":[` + ops(500) + `],"else":[` + ops(500) + `]}`, 0, nil},
		{
			"one more in any", `{"if":[` + conditions(25) + `],"then":[` + ops(500) + `],"else":[` + ops(500) + `]}`, 0,
			&api.LimitError{What: "transaction", Limit: 1024, Actual: 1025, Unit: "conditions and operations"},
		},
		{"longest key", `{"then":[{"op":"get","key":"` + long[1:] + `"}]}`, 0, nil},
		{"long key", `{"then":[{"op":"get","key":"` + long + `"}]}`, 0, &api.LimitError{What: "/then/0/key", Limit: 1024, Actual: 1025}},
		{"long key as base64", `{"then":[{"op":"get","key_b64":"` + longB64 + `"}]}`, 0, &api.LimitError{What: "/then/0/key_b64", Limit: 1024, Actual: 1025}},
		{"long key with escapes is decoded first", `{"then":[{"op":"get","key":"` + strings.Repeat(`\u006b`, 1024) + `"}]}`, 0, nil},
		{"long key in a condition", `{"if":[{"key":"` + long + `","exists":true}],"then":[]}`, 0, &api.LimitError{What: "/if/0/key", Limit: 1024, Actual: 1025}},
		{"long name of a lock", `{"if":[{"lock":"` + long + `","token":1}],"then":[]}`, 0, &api.LimitError{What: "/if/0/lock", Limit: 1024, Actual: 1025}},
		{"largest value", `{"then":[` + puts(1, 1<<20+1) + `]}`, 0, nil},
		{"large value", `{"then":[` + puts(1, 1<<20+2) + `]}`, 0, &api.LimitError{What: "/then/0/value", Limit: 1 << 20, Actual: 1<<20 + 1}},
		{"large value for this node", `{"then":[` + puts(1, 12) + `]}`, 10, &api.LimitError{What: "/then/0/value", Limit: 10, Actual: 11}},
		{"large value in a condition", `{"if":[{"key":"a","value_b64":"AAAAAAAAAAAAAAA="}],"then":[]}`, 10, &api.LimitError{What: "/if/0/value_b64", Limit: 10, Actual: 11}},
		{"as many bytes as may be", `{"then":[` + puts(8, 1<<20) + `]}`, 0, nil},
		{"one more byte", `{"then":[` + puts(8, 1<<20) + `,{"op":"get","key":"k"}]}`, 0, &api.LimitError{What: "transaction", Limit: 8 << 20, Actual: 8<<20 + 1}},
		{"larger values allowed, but not their sum", `{"then":[` + puts(1, 9<<20) + `]}`, 16 << 20, &api.LimitError{What: "transaction", Limit: 8 << 20, Actual: 9 << 20}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			txn, err := api.DecodeTxn([]byte(c.body), c.maxValue)
			var limit *api.LimitError
			switch {
			case c.want == nil && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != nil && (!errors.As(err, &limit) || *limit != *c.want):
				t.Errorf("got %+v, %v, want %+v", txn, err, c.want)
			}
		})
	}
}

// TestUnmarshalTxnIsStrictAndCopies checks the way through encoding/json, which reuses its buffer.
func TestUnmarshalTxnIsStrictAndCopies(t *testing.T) {
	body := []byte(`{"then":[{"op":"get","key":"key"}]}`)
	var txn api.Txn
	if err := json.Unmarshal(body, &txn); err != nil {
		t.Fatal(err)
	}
	clear(body)
	if string(txn.Then[0].Key) != "key" {
		t.Errorf("the key became %q", txn.Then[0].Key)
	}
	if err := json.Unmarshal([]byte(`{"then":[{"op":"get","key":"key","key":"key"}]}`), &txn); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a repeated member: %v", err)
	}
}

// laxTxn is how encoding/json would read a transaction.
type laxTxn struct {
	If []struct {
		Key, Lock, Value *string
		KeyB64           []byte `json:"key_b64"`
		LockB64          []byte `json:"lock_b64"`
		ValueB64         []byte `json:"value_b64"`
		Version          uint64
		Exists           *bool
		Token            uint64
	}
	Then, Else []laxOp
	Protocol   string
	Timeout    string
}

type laxOp struct {
	Op         string
	Key, Value *string
	KeyB64     []byte `json:"key_b64"`
	ValueB64   []byte `json:"value_b64"`
	TTL        string
	KeepTTL    bool
	By         int64
	Min, Max   *int64
}

func either(plain *string, b64 []byte) []byte {
	if plain != nil {
		return []byte(*plain)
	}
	return b64
}

// agrees compares what the two readers made of the same text.
func (lax *laxTxn) agrees(t *api.Txn) error {
	if len(lax.If) != len(t.If) || (lax.Else == nil) != (t.Else == nil) {
		return errors.New("sections differ")
	}
	for i, c := range t.If {
		l := lax.If[i]
		key, exists := either(l.Key, l.KeyB64), l.Exists != nil && *l.Exists
		if c.Test == api.TestToken {
			key = either(l.Lock, l.LockB64)
		}
		if !bytes.Equal(key, c.Key) || !bytes.Equal(either(l.Value, l.ValueB64), c.Value) || l.Version != uint64(c.Version) ||
			l.Token != uint64(c.Token) || exists != (c.Test == api.TestExists) {
			return fmt.Errorf("condition %d differs: %+v, %+v", i, l, c)
		}
	}
	if t.Protocol != api.ProtocolAuto && string(t.Protocol) != lax.Protocol {
		return errors.New("the protocol differs")
	}
	return errors.Join(agree(lax.Then, t.Then), agree(lax.Else, t.Else))
}

func agree(lax []laxOp, ops []api.TxnOp) error {
	if len(lax) != len(ops) {
		return fmt.Errorf("%d operations, and %d", len(lax), len(ops))
	}
	for i, o := range ops {
		l := lax[i]
		ttl, _ := time.ParseDuration(l.TTL)
		same := l.Op == string(o.Kind) && bytes.Equal(either(l.Key, l.KeyB64), o.Key) && bytes.Equal(either(l.Value, l.ValueB64), o.Value) &&
			l.KeepTTL == o.KeepTTL && l.By == o.By && reflect.DeepEqual(l.Min, o.Min) && reflect.DeepEqual(l.Max, o.Max)
		if !same || o.TTL < ttl || o.TTL >= ttl+time.Millisecond {
			return fmt.Errorf("operation %d differs: %+v, %+v", i, lax[i], o)
		}
	}
	return nil
}

// FuzzDecodeTxn checks that what is taken is taken by encoding/json too, means the same, and survives being written.
func FuzzDecodeTxn(f *testing.F) {
	for _, seed := range []string{
		contractJSON, `{"then":[]}`, `{"if":[{"key_b64":"/w==","value_b64":"AA=="},{"lock":"l","token":1}],"then":[{"op":"put","key":"\ud83d\ude00","value":"","keepttl":true}]}`,
		`{"then":[{"op":"add","key":"k","by":-9223372036854775808,"min":-0,"max":9223372036854775807}],"else":[],"timeout":"1.5ms","protocol":"3pc"}`,
		`{"then":[{"op":"get","key":"\ud800"}]}`, `{"Then":[]}`, `{"then":[{"op":"put","key":"k","value":"v","ttl":"87600h"}],"then":[]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		txn, err := api.DecodeTxn(bytes.Clone(body), 0)
		if err != nil {
			if !errors.Is(err, api.ErrInvalid) && !errors.Is(err, api.ErrTooLarge) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var lax laxTxn
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&lax); err != nil {
			t.Fatalf("%q was taken: %v", body, err)
		}
		if err := lax.agrees(txn); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		again, err := api.DecodeTxn(txn.AppendJSON(nil), 0)
		if err != nil || !reflect.DeepEqual(again, txn) {
			t.Fatalf("%q became %+v, then %+v, %v", body, txn, again, err)
		}
	})
}

func BenchmarkDecodeTxn(b *testing.B) {
	body := []byte(contractJSON)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := api.DecodeTxn(body, 0); err != nil {
			b.Fatal(err)
		}
	}
}
