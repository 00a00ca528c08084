package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
)

// metric returns the value of one sample, "" if there is none; name holds its labels.
func metric(t *testing.T, s http.Handler, name string) string {
	t.Helper()
	w := do(t, s, call{method: "GET", target: api.PathMetrics})
	if w.Code != http.StatusOK {
		t.Fatalf("metrics: %d %s", w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestMetrics(t *testing.T) {
	s := newServer(t, server.Config{}, newFakeStore())
	for range 3 {
		put(t, s, "/v1/kv/a/b", "v")
	}
	do(t, s, call{method: "GET", target: "/v1/kv/none"})
	do(t, s, call{method: "GET", target: "/v1/kv/a/b"})
	do(t, s, call{method: "POST", target: "/v1/kv/a/b"})
	do(t, s, call{method: "GET", target: "/nowhere/7"})
	do(t, s, call{method: "BREW", target: "/nowhere/8"})

	want := map[string]string{
		`ringkv_http_requests_total{method="PUT",route="/v1/kv/{key}",status="201"}`:                   "1",
		`ringkv_http_requests_total{method="PUT",route="/v1/kv/{key}",status="200"}`:                   "2",
		`ringkv_http_requests_total{method="GET",route="/v1/kv/{key}",status="404"}`:                   "1",
		`ringkv_http_requests_total{method="GET",route="/v1/kv/{key}",status="200"}`:                   "1",
		`ringkv_http_requests_total{method="other",route="/v1/kv/{key}",status="405"}`:                 "1",
		`ringkv_http_requests_total{method="any",route="none",status="404"}`:                           "2",
		`ringkv_http_request_seconds_count{method="PUT",route="/v1/kv/{key}",status="200"}`:            "2",
		`ringkv_http_request_seconds_bucket{method="PUT",route="/v1/kv/{key}",status="200",le="+Inf"}`: "2",
		`ringkv_http_panics_total`:                           "0",
		`ringkv_partition_role{partition="3",role="leader"}`: "1",
		`ringkv_partition_term{partition="3"}`:               "4",
		`ringkv_partition_commit_index{partition="3"}`:       "90",
		`ringkv_partition_applied_index{partition="3"}`:      "89",
		`ringkv_partition_lag_entries{partition="3"}`:        "1",
		`ringkv_partition_keys{partition="3"}`:               "5",
		`ringkv_partition_unpurged_keys{partition="3"}`:      "7",
		`ringkv_partition_bytes{partition="3"}`:              "600",
		`ringkv_leaders`:                                     "1",
		`ringkv_replicas`:                                    "1",
		`ringkv_metadata_epoch`:                              "7",
		`ringkv_gossip_members{state="alive"}`:               "3",
		`ringkv_gossip_members{state="dead"}`:                "1",
		`ringkv_raftlog_fsync_seconds_bucket{le="0.001"}`:    "5",
		`ringkv_raftlog_fsync_seconds_bucket{le="0.01"}`:     "7",
		`ringkv_raftlog_fsync_seconds_count`:                 "8",
		`ringkv_raftlog_fsync_seconds_sum`:                   "0.05",
		`ringkv_engine_disk_bytes`:                           "1000",
		`ringkv_raftlog_disk_bytes`:                          "2000",
		`ringkv_disk_free_bytes`:                             "3000",
		`ringkv_disk_fullness`:                               "2",
		`ringkv_scrub_passes_total`:                          "6",
		`ringkv_scrub_last_end_seconds`:                      "1.7e+09",
		`ringkv_refilled_replicas_total`:                     "4",
		`ringkv_expired_keys_total`:                          "11",
		`ringkv_expiry_overdue_seconds`:                      "1.5",
		`ringkv_locks_held`:                                  "12",
		`ringkv_lock_waiters`:                                "13",
		`ringkv_damaged_replicas`:                            "3",
		`ringkv_apply_seconds_count`:                         "", // the fake leaves that histogram out
	}
	for name, value := range want {
		if got := metric(t, s, name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if metric(t, s, name) == "" {
			t.Errorf("no %s", name)
		}
	}
}

func TestTwoServersShareNothing(t *testing.T) {
	a, b := newServer(t, server.Config{}, newFakeStore()), newServer(t, server.Config{}, newFakeStore())
	put(t, a, "/v1/kv/k", "v")
	if got := metric(t, b, `ringkv_http_requests_total{method="PUT",route="/v1/kv/{key}",status="201"}`); got != "" {
		t.Errorf("the other server counted %s", got)
	}
}
