package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sampler looks again and again at what the servers take, so that a slow growth shows.
type sampler struct {
	every time.Duration // 0: never
	pids  []int
	dirs  []string     // the servers' data directories, if they are on this machine
	tell  func(sample) // called for each sample; may be nil

	done atomic.Int64 // operations that succeeded, of all loads
}

// sample is what the servers took at one moment, and how much had been done by then.
type sample struct {
	Seconds   float64 `json:"seconds"`
	Ops       int64   `json:"operations"` // that succeeded since the start, the loading of keys left out
	RSSBytes  []int64 `json:"rss_bytes,omitempty"`
	DiskBytes []int64 `json:"disk_bytes,omitempty"`
}

// start samples until stop is called, which returns all samples.
func (s *sampler) start(ctx context.Context) (stop func() ([]sample, error)) {
	if s.every <= 0 {
		return func() ([]sample, error) { return nil, nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	var (
		samples []sample
		failed  error
		ended   = make(chan struct{})
	)
	go func() {
		defer close(ended)
		samples, failed = s.run(ctx)
	}()
	return func() ([]sample, error) {
		cancel()
		<-ended
		return samples, failed
	}
}

func (s *sampler) run(ctx context.Context) (samples []sample, err error) {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for began := time.Now(); ; {
		now, err := s.take(time.Since(began))
		if err != nil {
			return samples, err
		}
		samples = append(samples, now)
		if s.tell != nil {
			s.tell(now)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return samples, nil
		}
	}
}

func (s *sampler) take(at time.Duration) (sample, error) {
	now := sample{Seconds: at.Seconds(), Ops: s.done.Load()}
	usages, err := readUsages(s.pids)
	if err != nil {
		return now, err
	}
	for _, u := range usages {
		now.RSSBytes = append(now.RSSBytes, u.rss)
	}
	for _, dir := range s.dirs {
		size, err := diskUsage(dir)
		if err != nil {
			return now, err
		}
		now.DiskBytes = append(now.DiskBytes, size)
	}
	return now, nil
}

// diskUsage sums what the files below dir take on the disk, which is less than their lengths where they have holes.
func diskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				total += allocated(info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // gone since its directory was read
			return nil
		}
		return err
	})
	return total, err
}

func (s sample) String() string {
	text := fmt.Sprintf("  at %4.0f s  %9d operations", s.Seconds, s.Ops)
	for _, part := range []struct {
		name  string
		bytes []int64
	}{{"RSS", s.RSSBytes}, {"disk", s.DiskBytes}} {
		if len(part.bytes) > 0 {
			text += fmt.Sprintf("  %s %s MB", part.name, megabytes(part.bytes))
		}
	}
	return text
}

func megabytes(list []int64) string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = fmt.Sprintf("%.0f", float64(n)/1e6)
	}
	return strings.Join(parts, " ")
}

// sharedWriter lets several goroutines write, each call as a whole.
type sharedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (s *sharedWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}
