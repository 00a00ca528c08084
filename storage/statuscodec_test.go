package storage_test

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

func TestTxnStatusRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := storage.TxnStatus{
			State: storage.TxnState(rapid.IntRange(0, 4).Draw(t, "state")), Attempt: storage.Attempt(rapid.Uint32().Draw(t, "attempt")),
			Reason: storage.Reason(rapid.IntRange(0, 9).Draw(t, "reason")), Decision: storage.Decision(rapid.IntRange(0, 4).Draw(t, "decision")),
		}
		if rapid.Bool().Draw(t, "open") {
			s.Open = &storage.OpenTxn{
				ID:      storage.TxnID{Node: ring.NodeID(rapid.Uint32().Draw(t, "node")), Incarnation: 2, Seq: rapid.Uint64().Draw(t, "seq")},
				Attempt: 3, Protocol: storage.TwoPhase, Home: 1, Participants: []storage.PartitionID{1, 7},
				Age: storage.Millis(rapid.Uint64().Draw(t, "age")), Ordered: rapid.Bool().Draw(t, "ordered"),
			}
		}
		b := storage.AppendTxnStatus(nil, &s)
		got, err := storage.DecodeTxnStatus(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
		for i := range b {
			if _, err := storage.DecodeTxnStatus(b[:i]); !errors.Is(err, storage.ErrMalformed) {
				t.Fatalf("the first %d of %d bytes: %v", i, len(b), err)
			}
		}
	})
}

// FuzzTxnStatus: what decodes is encoded so that it decodes to the same.
func FuzzTxnStatus(f *testing.F) {
	f.Add(storage.AppendTxnStatus(nil, &storage.TxnStatus{State: storage.TxnGone, Decision: storage.DecideThen}))
	f.Add(storage.AppendTxnStatus(nil, &storage.TxnStatus{State: storage.TxnYes, Attempt: 1, Open: &storage.OpenTxn{Attempt: 1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := storage.DecodeTxnStatus(b)
		if err != nil {
			return
		}
		again, err := storage.DecodeTxnStatus(storage.AppendTxnStatus(nil, &s))
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
