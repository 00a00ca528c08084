package main

import "time"

// serverAccount is what one server process used while a workload was measured.
type serverAccount struct {
	PID       int     `json:"pid"`
	CPUUs     float64 `json:"cpu_us_per_operation"`
	RSSBytes  int64   `json:"rss_bytes"`      // at the end
	PeakBytes int64   `json:"peak_rss_bytes"` // since the process began

	cpu time.Duration
}

// accounts returns the differences between two readings of the same processes.
func accounts(before, after []usage) []serverAccount {
	list := make([]serverAccount, len(after))
	for i, u := range after {
		list[i] = serverAccount{PID: u.pid, RSSBytes: u.rss, PeakBytes: u.peak, cpu: u.cpu - before[i].cpu}
	}
	return list
}
