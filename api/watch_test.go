package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/ringkv/ringkv/api"
)

func TestWatchChangeJSON(t *testing.T) {
	for _, tt := range []struct {
		change api.WatchChange
		text   string
	}{
		{api.WatchChange{Key: []byte("k"), Value: []byte("v"), Version: 17}, `{"key":"k","value":"v","version":17}`},
		{api.WatchChange{Key: []byte("a\r\n\x00"), Value: []byte{}, Version: 1}, `{"key":"a\r\n\u0000","value":"","version":1}`},
		{api.WatchChange{Key: []byte{0xff}, Value: []byte{0xfe}, Version: 2, Txn: "0a"}, `{"key_b64":"/w==","value_b64":"/g==","version":2,"txn":"0a"}`},
		{api.WatchChange{Key: []byte("k"), Version: 3}, `{"key":"k","version":3}`},
	} {
		text, err := json.Marshal(tt.change)
		if err != nil || string(text) != tt.text {
			t.Errorf("%+v became %s, %v", tt.change, text, err)
		}
		var got api.WatchChange
		if err := json.Unmarshal([]byte(tt.text), &got); err != nil || !reflect.DeepEqual(got, tt.change) {
			t.Errorf("%s became %+v, %v", tt.text, got, err)
		}
	}
	var c api.WatchChange
	for _, text := range []string{`{"version":1}`, `{"key":"a","key_b64":"YQ==","version":1}`, `{"key":1}`} {
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestQuotaProblem(t *testing.T) {
	p := api.NewProblem(&api.QuotaError{What: "watches on this node", Limit: 7}, false)
	var quota *api.QuotaError
	if p.Status != 429 || !p.Retryable || !errors.As(p, &quota) || quota.Limit != 7 || quota.What != "watches on this node" {
		t.Errorf("%+v", p)
	}
}
