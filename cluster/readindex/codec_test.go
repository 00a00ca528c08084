package readindex_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/readindex"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

func TestQuestionsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := readindex.Question{Number: rapid.Uint64().Draw(t, "number")}
		for range rapid.IntRange(0, 5).Draw(t, "claims") {
			q.Claims = append(q.Claims, readindex.Claim{
				Group:   ring.PartitionID(rapid.Uint16().Draw(t, "group")),
				Replica: replica.ID(rapid.Uint64().Draw(t, "replica")),
				Term:    rapid.Uint64().Draw(t, "term"),
			})
		}
		if got, err := readindex.DecodeQuestion(readindex.AppendQuestion(nil, &q)); err != nil || !reflect.DeepEqual(got, q) {
			t.Fatalf("got %+v, %v, want %+v", got, err, q)
		}
	})
}

func TestAnswersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := readindex.Answer{
			Number: rapid.Uint64().Draw(t, "number"),
			Moment: readindex.Moment{Run: rapid.Uint64().Draw(t, "run"), Moves: rapid.Uint64().Draw(t, "moves")},
		}
		for range rapid.IntRange(0, 5).Draw(t, "denied") {
			a.Denied = append(a.Denied, rapid.IntRange(0, math.MaxUint16).Draw(t, "place"))
		}
		if got, err := readindex.DecodeAnswer(readindex.AppendAnswer(nil, &a)); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("got %+v, %v, want %+v", got, err, a)
		}
	})
}

// Both are appended: what is in front stays.
func TestAppendsBehindWhatIsThere(t *testing.T) {
	if b := readindex.AppendQuestion([]byte{7}, &readindex.Question{Number: 1}); !bytes.Equal(b, []byte{7, 0, 0, 0, 0, 0, 0, 0, 1}) {
		t.Errorf("question %x", b)
	}
	if b := readindex.AppendAnswer([]byte{7}, &readindex.Answer{Denied: []int{2}}); len(b) != 1+24+4 || b[0] != 7 || b[28] != 2 {
		t.Errorf("answer %x", b)
	}
}

func TestDecodersRefuse(t *testing.T) {
	q := readindex.AppendQuestion(nil, &readindex.Question{Number: 1, Claims: make([]readindex.Claim, 2)})
	for n := range q {
		if _, err := readindex.DecodeQuestion(q[:n]); (n != 8 && n != 8+18) != errors.Is(err, readindex.ErrMalformed) {
			t.Errorf("%d bytes of a question: %v", n, err)
		}
	}
	a := readindex.AppendAnswer(nil, &readindex.Answer{Number: 1, Denied: make([]int, 2)})
	for n := range a {
		if _, err := readindex.DecodeAnswer(a[:n]); (n != 24 && n != 28) != errors.Is(err, readindex.ErrMalformed) {
			t.Errorf("%d bytes of an answer: %v", n, err)
		}
	}
}

func FuzzDecodeQuestion(f *testing.F) {
	f.Add([]byte{})
	f.Add(readindex.AppendQuestion(nil, &readindex.Question{Number: 1}))
	f.Add(readindex.AppendQuestion(nil, &readindex.Question{Number: 2, Claims: []readindex.Claim{{1, 2, 3}, {4, 5, 6}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readindex.DecodeQuestion(b)
		if err != nil {
			if !errors.Is(err, readindex.ErrMalformed) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if again := readindex.AppendQuestion(nil, &q); !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x", b, again)
		}
		readindex.NewWitness(1).Answer(&q)
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte{})
	f.Add(readindex.AppendAnswer(nil, &readindex.Answer{Number: 1}))
	f.Add(readindex.AppendAnswer(nil, &readindex.Answer{Number: 2, Moment: readindex.Moment{Run: 3, Moves: 4}, Denied: []int{0, 5}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readindex.DecodeAnswer(b)
		if err != nil {
			if !errors.Is(err, readindex.ErrMalformed) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if again := readindex.AppendAnswer(nil, &a); !bytes.Equal(again, b) {
			t.Fatalf("%x comes back as %x", b, again)
		}
		s := lead(t, 2, 1, 2, 3) // whatever it says, nothing breaks
		s.read(1, "r")
		s.ask()
		s.deliver(3, a)
	})
}
