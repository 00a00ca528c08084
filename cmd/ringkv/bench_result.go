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
	Hot         bool             `json:"hot,omitempty"` // all clients on those few keys
	Seconds     float64          `json:"seconds"`
	Ops         int64            `json:"operations"`
	OpsPerSec   float64          `json:"operations_per_second"`
	Get         *opResult        `json:"get,omitempty"`
	Put         *opResult        `json:"put,omitempty"`
	Txn         *opResult        `json:"txn,omitempty"`       // whole transactions
	Reads       *opResult        `json:"reads,omitempty"`     // their reads, together
	Commit      *opResult        `json:"commit,omitempty"`    // their last request
	Lock        *opResult        `json:"lock,omitempty"`      // locks taken and given back, the wait included
	HandOver    *opResult        `json:"hand_over,omitempty"` // of a lock that was waited for: from the sending of its release
	Expiry      *expiryResult    `json:"expiry,omitempty"`    // of the workload expire
	Conflicts   int64            `json:"conflicts,omitempty"` // how many times a transaction began again
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
	locks, handed := newOpStats(), newOpStats()
	gets, puts, txns, reads, commits := newOpStats(), newOpStats(), newOpStats(), newOpStats(), newOpStats()
	for _, w := range workers {
		gets.add(&w.gets)
		puts.add(&w.puts)
		txns.add(&w.txns)
		reads.add(&w.reads)
		commits.add(&w.commits)
		locks.add(&w.locks)
		handed.add(&w.handed)
		r.Conflicts += w.conflicts
	}
	r.Workload, r.Clients, r.ValueBytes = l.workload.name, l.cfg.clients, l.cfg.valueBytes
	r.Keys, r.Hot = l.keys.n, l.cfg.hot > 0
	r.Get, r.Put, r.Txn, r.Reads, r.Commit = gets.result(), puts.result(), txns.result(), reads.result(), commits.result()
	r.Lock, r.HandOver = locks.result(), handed.result()
	r.Ops = locks.latency.TotalCount() + gets.latency.TotalCount() + puts.latency.TotalCount() + txns.latency.TotalCount()
	r.Seconds = r.elapsed.Seconds()
	r.OpsPerSec = float64(r.Ops) / r.Seconds
	r.Errors = make(map[string]int64)
	for _, s := range []*opStats{&gets, &puts, &txns, &locks} {
		for kind, n := range s.errors {
			r.Errors[kind] += n
		}
	}
	r.account()
}

// account shares the processor time out among the operations.
func (r *benchResult) account() {
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
	hot := ""
	if r.Hot {
		hot = "hot "
	}
	_, _ = fmt.Fprintf(a.stdout, "%s: %.0f operations/s (%d in %.1f s; %d clients, %d-byte values, %d %skeys)\n",
		r.Workload, r.OpsPerSec, r.Ops, r.Seconds, r.Clients, r.ValueBytes, r.Keys, hot)
	w := a.table()
	_, _ = fmt.Fprintln(w, "  latency ms\tmean\tp50\tp90\tp99\tp99.9\tmax")
	r.Get.print(w, workloadGet)
	r.Put.print(w, workloadPut)
	r.Txn.print(w, r.Workload)
	r.Reads.print(w, "  its reads")
	r.Commit.print(w, "  its commit")
	r.Lock.print(w, workloadLock)
	r.HandOver.print(w, "  hand-over")
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Txn != nil {
		_, _ = fmt.Fprintf(a.stdout, "  began again: %d times, %.3f for each; longest wait %.1f ms\n",
			r.Conflicts, float64(r.Conflicts)/float64(r.Txn.Ops), float64(r.Txn.MaxUs)/1000)
	}
	if r.Expiry != nil {
		if err := r.Expiry.print(a); err != nil {
			return err
		}
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

// printComparison prints the results beside each other, times the first one's latency and, where it is known, processor
// time.
func (a *app) printComparison(results []*benchResult) error {
	w := a.table()
	first := results[0]
	cpu := first.ServerCPUUs > 0
	_, _ = fmt.Fprint(w, "compared\toperations/s\tp50 ms\tp99 ms\tp50 to the first")
	if cpu {
		_, _ = fmt.Fprint(w, "\tservers' CPU us\tto the first")
	}
	_, _ = fmt.Fprintln(w)
	for _, r := range results {
		o, to := r.main(), first.main()
		if o == nil || to == nil {
			continue
		}
		_, _ = fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f", r.Workload, r.OpsPerSec,
			float64(o.P50Us)/1000, float64(o.P99Us)/1000, float64(o.P50Us)/float64(max(1, to.P50Us)))
		if cpu {
			_, _ = fmt.Fprintf(w, "\t%.1f\t%.2f", r.ServerCPUUs, r.ServerCPUUs/first.ServerCPUUs)
		}
		_, _ = fmt.Fprintln(w)
	}
	return w.Flush()
}

// main returns the kind of operation that r is about, nil if none succeeded.
func (r *benchResult) main() *opResult {
	for _, o := range []*opResult{r.Lock, r.Txn, r.Put, r.Get} {
		if o != nil {
			return o
		}
	}
	return nil
}
