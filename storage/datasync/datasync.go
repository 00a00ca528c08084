// Package datasync makes what was written to a file durable. It owns nothing but the choice of how to wait for the disk.
package datasync

import (
	"os"
	"runtime"
	"time"
)

// Syncer syncs the files of one writer. It is used by one goroutine; the zero value is ready.
//
// A sync of a fast disk lasts some 200 µs. To the Go scheduler that is a long system call: it takes the processor away
// from the caller, wakes another thread for it, and has its monitor thread poll every 20 µs for as long as such calls go
// on. In a profile of a node under puts that thread alone was 15 % of the CPU time. So a Syncer keeps its processor
// while the disk is fast, at the price that this one processor does nothing else meanwhile and that a garbage collection
// may have to wait for the sync to end. Where the disk is slow, or there is but one processor, it waits the usual way.
type Syncer struct {
	usual int // syncs to come that wait the usual way, because one was slow
}

// A sync longer than slow makes the next usualFor ones wait the usual way; then one tries again.
const (
	slow     = time.Millisecond
	usualFor = 256
)

// Sync returns after everything written to f so far is on disk, or with the disk's error.
func (s *Syncer) Sync(f *os.File) error {
	if s.usual > 0 || runtime.GOMAXPROCS(0) == 1 {
		s.usual = max(0, s.usual-1)
		return waitAside(f)
	}
	begun := time.Now()
	err := waitInPlace(f)
	if time.Since(begun) > slow {
		s.usual = usualFor
	}
	return err
}

// Seldom does the same for a file that is synced now and then, with much to write: it waits the usual way.
func Seldom(f *os.File) error { return waitAside(f) }

// Begin lets the disk begin to write what was written to f so far, where the system knows how; it does not wait and
// promises nothing.
func Begin(f *os.File) { begin(f) }
