package watch_test

import (
	"errors"
	"testing"

	"github.com/ringkv/ringkv/cluster/watch"
)

// FuzzCursor: what is accepted is the one cursor of its position; everything else is ErrBadCursor or too old.
func FuzzCursor(f *testing.F) {
	c := newFake(2, 1)
	c.commit(0, "x", "y", "z")
	c.commit(1, "x", "y")
	h := watch.New(watch.Config{Cluster: seenFrom{c, 1}})
	f.Cleanup(h.Close)
	w, err := h.Watch(f.Context(), nil, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(w.Cursor())
	w.Close()
	f.Add("AQAAAAAAAAAAAgAAAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		w, err := h.Watch(t.Context(), nil, cursor)
		if err != nil {
			if !errors.Is(err, watch.ErrBadCursor) {
				t.Fatalf("%q: %v", cursor, err)
			}
			return
		}
		defer w.Close()
		if again := w.Cursor(); cursor != "" && again != cursor {
			t.Fatalf("%q became %q", cursor, again)
		}
	})
}
