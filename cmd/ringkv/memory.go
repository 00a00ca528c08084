package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"
)

// By default Go lets the heap grow to twice what is alive. Most of a node's heap are the engine's tables in memory and
// values on their way, hundreds of MiB without pointers, which cost the collector nothing: it may come more often.
const (
	// heapHeadroom is how much garbage may gather on a heap of that size or more, in bytes.
	heapHeadroom = 96 << 20
	// leastPercent bounds how often a heap of many live objects is collected. Unlike a memory limit, which ends in
	// collecting all the time once what is alive comes near it, this only ever costs some processor time.
	leastPercent  = 20
	mostPercent   = 100 // Go's default
	tuneEvery     = 200 * time.Millisecond
	liveHeapBytes = "/gc/heap/live:bytes" // as of the last collection
)

// memoryIsSet reports whether the user has told Go how to use memory.
func memoryIsSet(environ []string) bool {
	for _, v := range environ {
		if strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=") {
			return true
		}
	}
	return false
}

// tuneGC keeps the garbage of this process's heap near heapHeadroom until ctx ends.
func tuneGC(ctx context.Context) {
	ticker := time.NewTicker(tuneEvery)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: liveHeapBytes}}
	was := debug.SetGCPercent(mostPercent)
	defer debug.SetGCPercent(was)
	for set := mostPercent; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(sample)
		if percent := gcPercent(sample[0].Value.Uint64()); percent != set {
			set = percent
			debug.SetGCPercent(percent)
		}
	}
}

// gcPercent is how much a heap with so many live bytes may grow before it is collected, in percent of them and in steps of
// ten: setting it stops all goroutines for a moment.
func gcPercent(live uint64) int {
	if live <= heapHeadroom {
		return mostPercent
	}
	return max(leastPercent, int(heapHeadroom*10/live)*10)
}
