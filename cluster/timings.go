package cluster

import (
	"sync/atomic"
	"time"
)

// timings are the durations that decide how fast a node is.
type timings struct {
	fsync histogram
	apply histogram
}

// histogram counts durations in buckets that double from 62.5 µs.
type histogram struct {
	counts [histogramBuckets + 1]atomic.Uint64
	sum    atomic.Int64
}

const (
	histogramBuckets = 16
	firstBound       = 62500 * time.Nanosecond
)

func (h *histogram) observe(d time.Duration) {
	i, bound := 0, firstBound
	for i < histogramBuckets && d > bound {
		i, bound = i+1, 2*bound
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Latency is a histogram since the node started: Counts[i] durations at or below Bounds[i] and above the bound before,
// and one count more for those above all.
type Latency struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

func (h *histogram) snapshot() Latency {
	l := Latency{Sum: time.Duration(h.sum.Load())}
	bound := firstBound
	for i := range h.counts {
		l.Counts = append(l.Counts, h.counts[i].Load())
		if i < histogramBuckets {
			l.Bounds = append(l.Bounds, bound)
			bound *= 2
		}
	}
	return l
}
