package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 100\n" // utime 1.5 s, stime 0.5 s
	for name, test := range map[string]struct {
		stat string
		want time.Duration
		bad  bool
	}{
		"plain":            {stat: "7 (ringkv)" + rest, want: 2 * time.Second},
		"blanks in name":   {stat: "7 (a b c)" + rest, want: 2 * time.Second},
		"brackets in name": {stat: "7 (a) S (1 2)" + rest, want: 2 * time.Second},
		"cut":              {stat: "7 (ringkv) S 1 2", bad: true},
		"empty":            {stat: "", bad: true},
		"no number":        {stat: "7 (x) S 1 2 3 4 5 6 7 8 9 10 x 50 0", bad: true},
	} {
		got, err := parseStat([]byte(test.stat))
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestReadUsage(t *testing.T) {
	usages, err := readUsages([]int{os.Getpid()})
	if err != nil || usages[0].rss < 1<<20 || usages[0].peak < usages[0].rss {
		t.Errorf("of this process: %+v, %v", usages, err)
	}
	if _, err := readUsages([]int{1 << 30}); err == nil {
		t.Error("read the usage of a process that cannot be")
	}
}
