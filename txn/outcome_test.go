package txn_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

func anyOutcome(t *rapid.T) *txn.Outcome {
	o := &txn.Outcome{
		ID:       rapid.StringN(0, 40, 60).Draw(t, "id"),
		Decision: storage.Decision(rapid.IntRange(1, 3).Draw(t, "decision")),
		Protocol: storage.Protocol(rapid.IntRange(1, 4).Draw(t, "protocol")),
		Attempts: rapid.Uint32().Draw(t, "attempts"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "participants") {
		o.Participants = append(o.Participants, storage.PartitionID(rapid.Uint16().Draw(t, "p")))
	}
	for range rapid.IntRange(0, 4).Draw(t, "results") {
		r := storage.OpResult{
			Index:   rapid.Uint32().Draw(t, "index"),
			Kind:    storage.OpKind(rapid.IntRange(1, 4).Draw(t, "kind")),
			Exists:  rapid.Bool().Draw(t, "exists"),
			Version: storage.Version(rapid.Uint64().Draw(t, "version")),
		}
		if v := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value"); len(v) > 0 {
			r.Value = v
		}
		o.Results = append(o.Results, r)
	}
	for range rapid.IntRange(0, 4).Draw(t, "failures") {
		o.Failed = append(o.Failed, txn.Failure{
			In:      txn.Section(rapid.IntRange(1, 3).Draw(t, "in")),
			Index:   rapid.Uint32().Draw(t, "index"),
			Version: storage.Version(rapid.Uint64().Draw(t, "version")),
			Op:      storage.OpFailure(rapid.IntRange(0, 3).Draw(t, "op")),
		})
	}
	return o
}

func TestOutcomesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := anyOutcome(t)
		b := txn.AppendOutcome([]byte("before"), o)
		got, err := txn.DecodeOutcome(b[len("before"):])
		if err != nil || !reflect.DeepEqual(got, o) {
			t.Fatalf("%+v comes back as %+v, %v", o, got, err)
		}
	})
}

// TestLongOutcomesLoseTheirResults: what a token keeps is bounded, and says so.
func TestLongOutcomesLoseTheirResults(t *testing.T) {
	result := storage.OpResult{Kind: storage.OpGet, Exists: true, Version: 3}
	o := &txn.Outcome{ID: "T", Decision: storage.DecideThen, Protocol: storage.Auto, Attempts: 1}
	for _, c := range []struct {
		bytes     int
		truncated bool
	}{{txn.MaxAnswerBytes - 100, false}, {txn.MaxAnswerBytes, true}} {
		result.Value = make([]byte, c.bytes)
		o.Results = []storage.OpResult{result}
		b := txn.AppendOutcome(nil, o)
		got, err := txn.DecodeOutcome(b)
		if err != nil || got.Truncated != c.truncated || len(b) > txn.MaxAnswerBytes || len(b) > storage.MaxAnswerBytes {
			t.Errorf("%d bytes: truncated %t, %d bytes, %v", c.bytes, got.Truncated, len(b), err)
		}
		if got.Decision != o.Decision || got.ID != o.ID || c.truncated != (len(got.Results) == 0) {
			t.Errorf("%d bytes: %+v", c.bytes, got)
		}
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	o := &txn.Outcome{ID: "T", Decision: storage.DecideThen, Protocol: storage.Auto, Attempts: 1}
	f.Add(txn.AppendOutcome(nil, o))
	o.Participants = []storage.PartitionID{1, 4}
	o.Results = []storage.OpResult{{Index: 1, Kind: storage.OpGet, Exists: true, Value: []byte("v"), Version: 300}}
	f.Add(txn.AppendOutcome(nil, o))
	o.Decision, o.Results, o.Failed = storage.DecideNothing, nil, []txn.Failure{{In: txn.InIf, Index: 2, Version: 18}}
	f.Add(txn.AppendOutcome(nil, o))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := txn.DecodeOutcome(b)
		switch {
		case err != nil && !errors.Is(err, txn.ErrMalformed):
			t.Fatal(err)
		case err == nil && !bytes.Equal(txn.AppendOutcome(nil, o), b):
			t.Fatalf("%x is a second encoding of %+v", b, o)
		}
	})
}
