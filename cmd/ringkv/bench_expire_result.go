package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringkv/ringkv/api"
)

// expiryResult is what the workload expire measured beside the load, which is that of the time in which keys fell due.
type expiryResult struct {
	Keys          int          `json:"keys"`
	LoadSeconds   float64      `json:"load_seconds"`
	CalmOpsPerSec float64      `json:"calm_operations_per_second"`
	CalmGet       *opResult    `json:"calm_get,omitempty"` // before any key fell due
	CalmPut       *opResult    `json:"calm_put,omitempty"`
	GetRatio      *ratio       `json:"get_ratio,omitempty"`
	PutRatio      *ratio       `json:"put_ratio,omitempty"`
	ExpiredPerSec float64      `json:"expired_per_second"`        // while it was measured
	CPUUs         float64      `json:"server_cpu_us_per_expired"` // what the servers used beyond that in calm, for a key
	GoneSeconds   float64      `json:"gone_s"`                    // from the last deadline until the space of the last key was given back
	Samples       int          `json:"samples"`                   // keys that were asked for around their deadlines
	Early         int          `json:"early"`                     // of them, gone before: must be 0
	Late          *opResult    `json:"late,omitempty"`            // from a deadline until the key was seen to be gone
	Space         []spaceSight `json:"space"`
}

// ratio is a latency while keys fell due, over that in calm.
type ratio struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// spaceSight is what the nodes hold at one moment, in all.
type spaceSight struct {
	When       string `json:"when"`
	Keys       int64  `json:"replica_keys"` // every replica counted
	Unpurged   int64  `json:"unpurged"`     // expired keys whose space is yet to be given back, likewise
	Expired    int64  `json:"expired"`      // since the nodes started
	EngineDisk int64  `json:"engine_disk_bytes"`
	LogDisk    int64  `json:"log_disk_bytes"`
	RSS        int64  `json:"rss_bytes,omitempty"`
	Heap       int64  `json:"heap_bytes"`
}

// compare sets the time in which keys fell due against that in calm.
func (r *expiryResult) compare(b, calm *benchResult) {
	r.CPUUs = max(0, b.ServerCPUUs-calm.ServerCPUUs) * float64(b.Ops) / float64(r.Keys)
	r.GetRatio, r.PutRatio = newRatio(b.Get, r.CalmGet), newRatio(b.Put, r.CalmPut)
	var before, after spaceSight
	for _, s := range r.Space {
		switch s.When {
		case "loaded":
			before = s
		case "measured":
			after = s
		}
	}
	r.ExpiredPerSec = float64(after.Expired-before.Expired) / b.Seconds
}

func newRatio(now, calm *opResult) *ratio {
	if now == nil || calm == nil {
		return nil
	}
	return &ratio{P50: float64(now.P50Us) / float64(max(1, calm.P50Us)), P99: float64(now.P99Us) / float64(max(1, calm.P99Us))}
}

// readSpace sums what the metrics of the nodes say.
func readSpace(ctx context.Context, nodes []string, pids []int) (spaceSight, error) {
	var s spaceSight
	for _, n := range nodes {
		if err := addMetrics(ctx, n, map[string]*int64{
			"ringkv_partition_keys": &s.Keys, "ringkv_partition_unpurged_keys": &s.Unpurged, "ringkv_expired_keys_total": &s.Expired,
			"ringkv_engine_disk_bytes": &s.EngineDisk, "ringkv_raftlog_disk_bytes": &s.LogDisk,
			"go_memstats_heap_alloc_bytes": &s.Heap,
		}); err != nil {
			return s, fmt.Errorf("metrics of %s: %w", n, err)
		}
	}
	usages, err := readUsages(pids)
	for _, u := range usages {
		s.RSS += u.rss
	}
	return s, err
}

// addMetrics adds the samples of a node's metrics to the sums that are asked for by name, whatever their labels.
func addMetrics(ctx context.Context, node string, sums map[string]*int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+strings.TrimPrefix(node, "http://")+api.PathMetrics, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return sumSamples(resp.Body, sums)
}

// sumSamples reads Prometheus's text format.
func sumSamples(r io.Reader, sums map[string]*int64) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		sum := sums[name]
		if sum == nil {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("sample %q: %w", lines.Text(), err)
		}
		*sum += int64(v)
	}
	return lines.Err()
}

// print prints r for people.
func (r *expiryResult) print(a *app) error {
	_, _ = fmt.Fprintf(a.stdout, "  %d keys fell due meanwhile, loaded in %.1f s; before, %.0f operations/s:\n",
		r.Keys, r.LoadSeconds, r.CalmOpsPerSec)
	w := a.table()
	r.CalmGet.print(w, "calm "+workloadGet)
	r.CalmPut.print(w, "calm "+workloadPut)
	r.Late.print(w, "late")
	if err := w.Flush(); err != nil {
		return err
	}
	for _, x := range []struct {
		name string
		r    *ratio
	}{{workloadGet, r.GetRatio}, {workloadPut, r.PutRatio}} {
		if x.r != nil {
			_, _ = fmt.Fprintf(a.stdout, "  %s to calm: p50 %.2f times, p99 %.2f times\n", x.name, x.r.P50, x.r.P99)
		}
	}
	_, _ = fmt.Fprintf(a.stdout, "  %.0f expired/s, %.1f us of the servers' CPU for each; the space of the last was given back %.2f s after its time; of %d sampled %d went early\n",
		r.ExpiredPerSec, r.CPUUs, r.GoneSeconds, r.Samples, r.Early)
	for _, s := range r.Space {
		_, _ = fmt.Fprintf(a.stdout, "  %-8s  %d keys in all replicas and %d to purge, %.0f MB of storage, %.0f MB of log, %.0f MB RSS, %.0f MB heap\n", s.When,
			s.Keys, s.Unpurged, float64(s.EngineDisk)/1e6, float64(s.LogDisk)/1e6, float64(s.RSS)/1e6, float64(s.Heap)/1e6)
	}
	return nil
}
