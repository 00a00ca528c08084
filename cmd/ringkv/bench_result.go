package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision that latencies are kept with: to three digits, from a microsecond to a minute.
const (
	minLatencyUs  = 1
	maxLatencyUs  = 60_000_000
	latencyDigits = 3
)

// opStats is what one worker, or all together, measured of one kind of operation.
type opStats struct {
	latency *hdrhistogram.Histogram // microseconds, of operations that succeeded
	errors  map[string]int64        // by errorKind
}

func newOpStats() opStats {
	return opStats{latency: hdrhistogram.New(minLatencyUs, maxLatencyUs, latencyDigits), errors: make(map[string]int64)}
}

func (s *opStats) record(took time.Duration, err error) {
	if err != nil {
		s.errors[errorKind(err)]++
		return
	}
	_ = s.latency.RecordValue(min(max(took.Microseconds(), minLatencyUs), maxLatencyUs))
}

func (s *opStats) add(other *opStats) {
	s.latency.Merge(other.latency)
	for kind, n := range other.errors {
		s.errors[kind] += n
	}
}

// benchResult is one measured workload, as --json prints it.
type benchResult struct {
	Workload    string           `json:"workload"`
	Clients     int              `json:"clients"`
	ValueBytes  int              `json:"value_bytes"`
	Keys        int              `json:"keys"`
	Seconds     float64          `json:"seconds"`
	Ops         int64            `json:"operations"`
	OpsPerSec   float64          `json:"operations_per_second"`
	Get         *opResult        `json:"get,omitempty"`
	Put         *opResult        `json:"put,omitempty"`
	Errors      map[string]int64 `json:"errors,omitempty"`
	ClientCPUUs float64          `json:"client_cpu_us_per_operation"`
	ServerCPUUs float64          `json:"server_cpu_us_per_operation,omitempty"` // all servers summed
	Servers     []serverAccount  `json:"servers,omitempty"`

	elapsed time.Duration
	ownCPU  time.Duration
}

// opResult is the latency of one kind of operation, microseconds.
type opResult struct {
	Ops    int64   `json:"operations"`
	MeanUs float64 `json:"mean_us"`
	P50Us  int64   `json:"p50_us"`
	P90Us  int64   `json:"p90_us"`
	P99Us  int64   `json:"p99_us"`
	P999Us int64   `json:"p999_us"`
	MaxUs  int64   `json:"max_us"`
}

// gather sums what the workers measured.
func (r *benchResult) gather(l *load, workers []*worker) {
	gets, puts := newOpStats(), newOpStats()
	for _, w := range workers {
		gets.add(&w.gets)
		puts.add(&w.puts)
	}
	r.Workload, r.Clients, r.ValueBytes, r.Keys = l.workload, l.cfg.clients, l.cfg.valueBytes, l.cfg.keys
	r.Get, r.Put = gets.result(), puts.result()
	r.Ops = gets.latency.TotalCount() + puts.latency.TotalCount()
	r.Seconds = r.elapsed.Seconds()
	r.OpsPerSec = float64(r.Ops) / r.Seconds
	r.Errors = gets.errors
	for kind, n := range puts.errors {
		r.Errors[kind] += n
	}
	if r.Ops == 0 {
		return
	}
	r.ClientCPUUs = float64(r.ownCPU.Microseconds()) / float64(r.Ops)
	for i := range r.Servers {
		s := &r.Servers[i]
		s.CPUUs = float64(s.cpu.Microseconds()) / float64(r.Ops)
		r.ServerCPUUs += s.CPUUs
	}
}

// result returns s's percentiles, nil if there was no such operation.
func (s *opStats) result() *opResult {
	h := s.latency
	if h.TotalCount() == 0 {
		return nil
	}
	return &opResult{
		Ops: h.TotalCount(), MeanUs: h.Mean(), MaxUs: h.Max(),
		P50Us: h.ValueAtQuantile(50), P90Us: h.ValueAtQuantile(90),
		P99Us: h.ValueAtQuantile(99), P999Us: h.ValueAtQuantile(99.9),
	}
}

// printResult prints r for people.
func (a *app) printResult(r *benchResult) error {
	_, _ = fmt.Fprintf(a.stdout, "%s: %.0f operations/s (%d in %.1f s; %d clients, %d-byte values, %d keys)\n",
		r.Workload, r.OpsPerSec, r.Ops, r.Seconds, r.Clients, r.ValueBytes, r.Keys)
	w := a.table()
	_, _ = fmt.Fprintln(w, "  latency ms\tmean\tp50\tp90\tp99\tp99.9\tmax")
	r.Get.print(w, workloadGet)
	r.Put.print(w, workloadPut)
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Errors) > 0 {
		_, _ = fmt.Fprintln(a.stdout, "  errors:", describeErrors(r.Errors))
	}
	_, _ = fmt.Fprintf(a.stdout, "  CPU per operation: client %.1f us", r.ClientCPUUs)
	if len(r.Servers) > 0 {
		_, _ = fmt.Fprintf(a.stdout, ", servers %.1f us (%s)", r.ServerCPUUs, describeServers(r.Servers))
	}
	_, err := fmt.Fprintln(a.stdout)
	return err
}

func (o *opResult) print(w interface{ Write([]byte) (int, error) }, name string) {
	if o == nil {
		return
	}
	ms := func(us int64) string { return fmt.Sprintf("%.2f", float64(us)/1000) }
	_, _ = fmt.Fprintf(w, "  %s\t%.2f\t%s\t%s\t%s\t%s\t%s\n",
		name, o.MeanUs/1000, ms(o.P50Us), ms(o.P90Us), ms(o.P99Us), ms(o.P999Us), ms(o.MaxUs))
}

func describeErrors(errs map[string]int64) string {
	parts := make([]string, 0, len(errs))
	for kind, n := range errs {
		parts = append(parts, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func describeServers(servers []serverAccount) string {
	parts := make([]string, len(servers))
	for i, s := range servers {
		parts[i] = fmt.Sprintf("pid %d: %.1f us, %.0f MB RSS", s.PID, s.CPUUs, float64(s.RSSBytes)/1e6)
	}
	return strings.Join(parts, "; ")
}
