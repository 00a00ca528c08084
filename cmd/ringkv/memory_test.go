package main

import "testing"

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 100}, {4 << 20, 100}, {heapHeadroom, 100}, {2 * heapHeadroom, 50}, {4 * heapHeadroom, 20}, {3 * heapHeadroom, 30}, {64 * heapHeadroom, 20},
	} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MiB alive: %d %%, want %d %%", c.live>>20, got, c.want)
		}
	}
}

func TestMemoryIsSet(t *testing.T) {
	for env, want := range map[string]bool{"GOGC=50": true, "GOMEMLIMIT=1GiB": true, "GOGCX=1": false, "PATH=GOGC=": false} {
		if got := memoryIsSet([]string{"HOME=/", env}); got != want {
			t.Errorf("%s: %t", env, got)
		}
	}
}
