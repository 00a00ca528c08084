package api_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/api"
)

// anyName is a key or the name of a lock: text, with whatever must be escaped, or bytes.
func anyName() *rapid.Generator[[]byte] {
	text := rapid.Map(rapid.StringOfN(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("\"\\/\x00\x1f\u2028<\U0001F600"))), 1, 20, -1), func(s string) []byte { return []byte(s) })
	return rapid.OneOf(text, rapid.SliceOfN(rapid.Byte(), 1, 20))
}

func anyValue() *rapid.Generator[[]byte] {
	return rapid.OneOf(rapid.Just([]byte{}), anyName())
}

func anyCondition() *rapid.Generator[api.TxnCondition] {
	return rapid.Custom(func(t *rapid.T) api.TxnCondition {
		c := api.TxnCondition{Test: rapid.SampledFrom([]api.TxnTest{api.TestVersion, api.TestExists, api.TestAbsent, api.TestValue, api.TestToken}).Draw(t, "test")}
		c.Key = anyName().Draw(t, "key")
		switch c.Test {
		case api.TestVersion:
			c.Version = api.Version(rapid.Uint64Range(0, uint64(api.MaxVersion)).Draw(t, "version"))
		case api.TestValue:
			c.Value = anyValue().Draw(t, "value")
		case api.TestToken:
			c.Token = api.FencingToken(rapid.Uint64Range(1, uint64(api.MaxVersion)).Draw(t, "token"))
		}
		return c
	})
}

func anyOp() *rapid.Generator[api.TxnOp] {
	return rapid.Custom(func(t *rapid.T) api.TxnOp {
		o := api.TxnOp{Kind: rapid.SampledFrom([]api.TxnOpKind{api.OpGet, api.OpPut, api.OpDelete, api.OpAdd}).Draw(t, "op")}
		o.Key = anyName().Draw(t, "key")
		switch o.Kind {
		case api.OpPut:
			o.Value = anyValue().Draw(t, "value")
			if o.KeepTTL = rapid.Bool().Draw(t, "keepttl"); !o.KeepTTL {
				o.TTL = anyMillis(t, "ttl", api.MaxTTL)
			}
		case api.OpAdd:
			o.By = rapid.Int64().Draw(t, "by")
			o.Min, o.Max = rapid.Ptr(rapid.Int64(), true).Draw(t, "min"), rapid.Ptr(rapid.Int64(), true).Draw(t, "max")
		}
		return o
	})
}

func anyMillis(t *rapid.T, name string, most time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(0, most.Milliseconds()).Draw(t, name)) * time.Millisecond
}

// TestTxnsSurviveTheWire checks that any transaction is read back as it was written, and that encoding/json agrees.
func TestTxnsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := api.Txn{
			If: rapid.SliceOfN(anyCondition(), 1, 5).Draw(t, "if"), Then: rapid.SliceOfN(anyOp(), 0, 5).Draw(t, "then"),
			Protocol: rapid.SampledFrom([]api.TxnProtocol{"", api.ProtocolAuto, api.Protocol2PC, api.Protocol3PC}).Draw(t, "protocol"),
			Timeout:  anyMillis(t, "timeout", api.MaxTxnTimeout),
		}
		if rapid.Bool().Draw(t, "has else") {
			sent.Else = rapid.SliceOfN(anyOp(), 0, 5).Draw(t, "else")
		}
		text := sent.AppendJSON(nil)
		got, err := api.DecodeTxn(text, 0)
		if want := withDefaults(sent); err != nil || !reflect.DeepEqual(*got, want) {
			t.Fatalf("%s\ncame back as %+v, %v\nwant %+v", text, got, err, want)
		}
		var lax laxTxn
		if err := json.Unmarshal(text, &lax); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := lax.agrees(got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	})
}
