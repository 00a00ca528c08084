package main

import "testing"

func TestNearestVariable(t *testing.T) {
	known := knownVariables()
	for name, want := range map[string]string{
		"RINGKV_DATADIR":         "RINGKV_DATA_DIR",
		"RINGKV_NODE":            "RINGKV_NODES",
		"RINGKV_GOSIP":           "RINGKV_GOSSIP",
		"RINGKV_MAX_VALUE_BYTE":  "RINGKV_MAX_VALUE_BYTES",
		"RINGKV_PARTITION_COUNT": "RINGKV_PARTITIONS",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"ab", "ba", 2}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
