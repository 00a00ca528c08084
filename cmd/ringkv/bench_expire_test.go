package main

import (
	"strings"
	"testing"
	"time"
)

// What the nodes say in Prometheus's text format is summed by name, whatever the labels.
func TestSumSamples(t *testing.T) {
	var keys, expired, none int64
	err := sumSamples(strings.NewReader(`# HELP ringkv_partition_keys Live keys.
# TYPE ringkv_partition_keys gauge
ringkv_partition_keys{partition="0"} 3
ringkv_partition_keys{partition="1"} 4
ringkv_expired_keys_total 1.25e+06
ringkv_partition_keys_more 9
`), map[string]*int64{"ringkv_partition_keys": &keys, "ringkv_expired_keys_total": &expired, "absent": &none})
	if err != nil || keys != 7 || expired != 1_250_000 || none != 0 {
		t.Errorf("%d keys, %d expired, %d; %v", keys, expired, none, err)
	}
	if err := sumSamples(strings.NewReader("absent many\n"), map[string]*int64{"absent": &none}); err == nil {
		t.Error("took a word for a number")
	}
}

// The keys of every batch share a partition and fall due all along the measured time.
func TestExpiringKeysAreSpread(t *testing.T) {
	e := &expiry{keys: 10 * expireBatch, over: time.Minute, first: time.Unix(0, 0)}
	names := make(map[string]bool)
	for b := range e.batches() {
		var last time.Time
		n := 0
		for i := b; i < e.keys; i += e.batches() {
			if tag, _, _ := strings.Cut(e.key(i), "}"); tag != "bench-ttl/{"+string(rune('0'+b)) {
				t.Fatalf("batch %d has key %s", b, e.key(i))
			}
			if gap := e.due(i).Sub(last); n > 0 && gap != time.Minute/expireBatch {
				t.Fatalf("batch %d: %v between two deadlines", b, gap)
			}
			names[e.key(i)], last = true, e.due(i)
			n++
		}
	}
	if len(names) != e.keys {
		t.Errorf("%d names for %d keys", len(names), e.keys)
	}
	if end := e.due(e.keys - 1).Sub(e.first); end > time.Minute || end < 59*time.Second {
		t.Errorf("the last is due after %v", end)
	}
}
