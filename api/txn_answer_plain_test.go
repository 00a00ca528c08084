package api_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/ringkv/ringkv/api"
)

// usualAnswer is what a transfer is answered with.
const usualAnswer = `{"txn":"0123456789abcdef0123456789abcdef","committed":true,"branch":"then","results":[` +
	`{"key":"benchn/k-00000017","value":"999999999999","version":17},{"key":"benchn/k-00000018","exists":false},{"key":"c","version":18}],` +
	`"protocol":"auto","partitions":[12,48],"attempts":1}`

// FuzzDecodeTxnResult holds that answers are read as encoding/json reads them, whichever way is taken.
func FuzzDecodeTxnResult(f *testing.F) {
	for _, seed := range []string{
		usualAnswer, usualAnswer + "\n", usualAnswer + "\n\n", usualAnswer + " ", usualAnswer + "x", usualAnswer[:len(usualAnswer)-1], ``, `null`, `{}`,
		`{"txn":"t","committed":true,"branch":"else","results":[],"protocol":"1pc","partitions":[],"attempts":2}`,
		`{"txn":"t","committed":true,"branch":"else","results":[],"protocol":"1pc","partitions":[65536],"attempts":2}`,
		`{"txn":"t","committed":true,"branch":"else","results":[{"key":"","value":"","version":9007199254740992}],"protocol":"1pc","partitions":[01],"attempts":2}`,
		`{"txn":"\u0041","committed":false,"branch":"ä","results":[{"key_b64":"/w==","value_b64":"/g==","version":1}],"protocol":"","partitions":[1],"attempts":0,"new":7}`,
		`{"txn":"t","committed":true,"branch":"then","results":[{"key":"a","version":1}{"key":"b","version":1}],"protocol":"1pc","partitions":[1],"attempts":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want api.TxnResult
		wantErr := json.Unmarshal(body, &want)
		got, err := api.DecodeTxnResult(body)
		if (err != nil) != (wantErr != nil) || err == nil && !reflect.DeepEqual(*got, want) {
			t.Fatalf("%s\nis %+v, %v\nnot %+v, %v", body, got, err, want, wantErr)
		}
	})
}

func BenchmarkDecodeTxnResult(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := api.DecodeTxnResult([]byte(usualAnswer + "\n")); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := api.DecodeTxnResult([]byte(usualAnswer + " ")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
