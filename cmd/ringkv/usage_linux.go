package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc: Linux fixes it at 100 a second for all programs.
const clockTick = 10 * time.Millisecond

// usage is what one process has used so far.
type usage struct {
	pid       int
	cpu       time.Duration // user and system, to clockTick
	rss, peak int64         // resident memory now and at most, bytes
}

// readUsages reads the usage of every process of pids.
func readUsages(pids []int) ([]usage, error) {
	usages := make([]usage, len(pids))
	for i, pid := range pids {
		u, err := readUsage(pid)
		if err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
		usages[i] = u
	}
	return usages, nil
}

func readUsage(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	cpu, err := parseStat(stat)
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	return usage{pid: pid, cpu: cpu, rss: statusBytes(status, "VmRSS"), peak: statusBytes(status, "VmHWM")}, nil
}

// parseStat returns utime+stime of a /proc/PID/stat line. The command name before them may hold blanks and brackets.
func parseStat(stat []byte) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3 // counted from the field behind the name, which is the third
	_, rest, found := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) <= stime {
		return 0, fmt.Errorf("stat line %q is cut", stat)
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("utime: %w", err)
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stime: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}

// statusBytes returns the field called name of a /proc/PID/status file, 0 if it is not there.
func statusBytes(status []byte, name string) int64 {
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// allocated is how much of the disk a file takes, bytes.
func allocated(info fs.FileInfo) int64 {
	const block = 512
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * block
	}
	return info.Size()
}

// ownCPU is what this process has used so far.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
