package badgerdb

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const madvPageout = 21 // madvise(2), since Linux 5.4

// pageOutLogs gives back the memory that the log's mappings hold. Badger writes logs through mappings, 64 MiB each, and
// reads them only when it replays; synced pages of them are of no use but count as the node's. The advice changes no
// content, so it does not matter if a mapping went away, and its place was taken, since the list was read.
func pageOutLogs() {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if !strings.HasSuffix(line, logSuffix) {
			continue
		}
		if start, length, ok := mapRange(line); ok {
			// An older kernel does not know the advice: then the memory stays.
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, start, length, madvPageout)
		}
	}
}

// mapRange reads the addresses of a line of /proc/self/maps: "start-end perms offset device inode path", in hex.
func mapRange(line string) (start, length uintptr, ok bool) {
	addresses, _, _ := strings.Cut(line, " ")
	from, to, _ := strings.Cut(addresses, "-")
	low, errLow := strconv.ParseUint(from, 16, 64)
	high, errHigh := strconv.ParseUint(to, 16, 64)
	if errLow != nil || errHigh != nil || high <= low {
		return 0, 0, false
	}
	return uintptr(low), uintptr(high - low), true
}
