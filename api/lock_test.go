package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/api"
)

// What a client encodes a node decodes to the same.
func TestLockRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := api.LockRequest{
			Owner: rapid.StringMatching(`[a-z"\\ é]{1,50}`).Draw(t, "owner"),
			TTL:   time.Duration(rapid.Int64Range(100, 86_400_000).Draw(t, "ttl")) * time.Millisecond,
			Wait:  time.Duration(rapid.Int64Range(0, 600_000).Draw(t, "wait")) * time.Millisecond,
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := api.DecodeLockRequest(b); err != nil || got != want {
			t.Fatalf("%s: %+v, %v, want %+v", b, got, err, want)
		}
	})
}

func TestLockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := api.Lock{
			Name: rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "name"), Owner: rapid.String().Draw(t, "owner"),
			Token: api.FencingToken(rapid.Uint64Range(1, 1<<53-1).Draw(t, "token")),
			TTL:   time.Duration(rapid.Int64Range(1, 1<<40).Draw(t, "ttl")) * time.Millisecond,
		}
		if rapid.Bool().Draw(t, "read") {
			want.Waiters = new(rapid.IntRange(0, 9).Draw(t, "waiters"))
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got api.Lock
		if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v, %v, want %+v", b, got, err, want)
		}
	})
}

// A problem about a lock turns back into the error that it was made of.
func TestLockProblems(t *testing.T) {
	held := &api.LockHeldError{Holder: api.LockHolder{Owner: "w", TTLMs: 5}}
	b, err := json.Marshal(api.NewProblem(held, true))
	if err != nil {
		t.Fatal(err)
	}
	p := new(api.Problem)
	if err := json.Unmarshal(b, p); err != nil {
		t.Fatal(err)
	}
	var got *api.LockHeldError
	if !errors.As(p, &got) || got.Holder != held.Holder || !errors.Is(p, api.ErrLockHeld) || p.Status != 423 || !p.Retryable {
		t.Fatalf("%s became %+v", b, p)
	}
}

// FuzzLockRequest: no body is anything but a request within its limits, or refused.
func FuzzLockRequest(f *testing.F) {
	f.Add([]byte(`{"owner":"worker-7","ttl":"30s","wait":"10s"}`))
	f.Add([]byte(`{"owner":"\ud800"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := api.DecodeLockRequest(b)
		if err != nil {
			if !errors.Is(err, api.ErrInvalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if r.Owner == "" || len(r.Owner) > api.MaxLockOwnerBytes || r.TTL < api.MinLockTTL || r.TTL > api.MaxLockTTL || r.Wait < 0 || r.Wait > api.MaxLockWait {
			t.Fatalf("%+v", r)
		}
	})
}
