package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/cluster/watch"
)

// until reads events until it has n.
func until(t *testing.T, w *watch.Watcher, n int) []string {
	t.Helper()
	var got []string
	for len(got) < n {
		e, err := w.Next(t.Context(), 20*time.Second)
		if err != nil {
			t.Fatalf("after %d events: %v", len(got), err)
		}
		if e == nil {
			t.Fatalf("no event in time after %q", got)
		}
		got = append(got, fmt.Sprintf("%v %s=%s", e.Kind, e.Key, e.Value))
	}
	return got
}

func TestWatchOneNode(t *testing.T) {
	n := start(t, config(t, "n1"))
	ready(t, n)
	put(t, n, "a/old", "0")
	w, err := n.Watch(t.Context(), []byte("a/"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first := w.Cursor()
	put(t, n, "a/1", "1")
	put(t, n, "b/1", "1")
	put(t, n, "a/1", "2")
	if _, _, err := n.Write(t.Context(), cluster.Write{Delete: true, Key: []byte("a/1")}); err != nil {
		t.Fatal(err)
	}
	want := "put a/1=1, put a/1=2, delete a/1="
	if got := strings.Join(until(t, w, 3), ", "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	again, err := n.Watch(t.Context(), []byte("a/"), first)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := strings.Join(until(t, again, 3), ", "); got != want {
		t.Errorf("resumed: got %s, want %s", got, want)
	}
	for _, cursor := range []string{"x", first + "A", w.Cursor()[1:]} {
		if _, err := n.Watch(t.Context(), []byte("a/"), cursor); !errors.Is(err, watch.ErrBadCursor) {
			t.Errorf("cursor %q: %v, want ErrBadCursor", cursor, err)
		}
	}
	if _, err := n.Watch(t.Context(), []byte("b/"), first); !errors.Is(err, watch.ErrBadCursor) {
		t.Errorf("cursor of another prefix: %v, want ErrBadCursor", err)
	}
}
