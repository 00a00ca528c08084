package serial_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/ringkv/ringkv/txn/serial"
)

func TestRecorder(t *testing.T) {
	now := serial.Time(100)
	r := serial.NewRecorder(func() serial.Time { return now })
	a := r.Begin(1, serial.Append("x", 1), serial.Read("x"), serial.Read("y"))
	b := r.Begin(2, serial.Append("x", 2), serial.Read("x"))
	now = 200
	a.Commit([]serial.Value{1}, nil)
	early := mustHistory(t, r)
	now = 150 // a clock that goes back is not followed
	b.Commit([]serial.Value{1, 2})
	r.Begin(1, serial.Append("x", 3)).Abort()
	r.Begin(2, serial.Append("x", 4)).Unknown()
	r.Begin(3, serial.Read("x"))
	const first = "T0 client 1 [100, 200] committed: append x 1, read x [1], read y []\n"
	if got, want := render(early), first+"T1 client 2 [101, ?] unknown: append x 2, read x []\n"; got != want {
		t.Errorf("early:\n%swant:\n%s", got, want)
	}
	want := first + "T1 client 2 [101, 201] committed: append x 2, read x [1 2]\n" +
		"T2 client 1 [202, 203] aborted: append x 3\n" +
		"T3 client 2 [204, ?] unknown: append x 4\nT4 client 3 [206, ?] unknown: read x []\n"
	if got := render(mustHistory(t, r)); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func mustHistory(t *testing.T, r *serial.Recorder) []serial.Txn {
	t.Helper()
	h, err := r.History()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRecorderMisuse(t *testing.T) {
	tests := []struct {
		name string
		run  func(*serial.Recorder)
	}{
		{"ended twice", func(r *serial.Recorder) { h := r.Begin(1, serial.Append("x", 1)); h.Unknown(); h.Commit() }},
		{"too few lists", func(r *serial.Recorder) { r.Begin(1, serial.Read("x")).Commit() }},
		{"too many lists", func(r *serial.Recorder) { r.Begin(1, serial.Append("x", 1)).Commit(nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := serial.NewRecorder(func() serial.Time { return 0 })
			tt.run(r)
			if _, err := r.History(); !errors.Is(err, serial.ErrMalformed) {
				t.Errorf("History gives %v, want %v", err, serial.ErrMalformed)
			}
		})
	}
}

// TestRecorderConcurrently records clients of a locked list, under a clock that stands still: the order of the calls alone
// must then be enough to see that a read is stale.
func TestRecorderConcurrently(t *testing.T) {
	r := serial.NewRecorder(func() serial.Time { return 0 })
	var mu sync.Mutex
	var x []serial.Value
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range 50 {
				v := serial.Value(c*50 + i)
				h := r.Begin(serial.Client(c), serial.Append("x", v), serial.Read("x"))
				mu.Lock()
				x = append(x, v)
				seen := x[:len(x):len(x)]
				mu.Unlock()
				h.Commit(seen)
			}
		})
	}
	clients.Wait()
	h := mustHistory(t, r)
	if rep := mustCheckFinal(t, h, lists{"x": x}); rep.Worst() != serial.None {
		t.Fatal(rep)
	}
	r.Begin(9, serial.Read("x")).Commit(x)
	r.Begin(9, serial.Read("x")).Commit(x[:len(x)-1])
	if rep := mustCheck(t, mustHistory(t, r)); rep.Worst() != serial.GSingleRealtime {
		t.Errorf("a stale read is judged %v", rep)
	}
}
