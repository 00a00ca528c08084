package badgerdb

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// fallocKeepSize leaves a file's length as it is; see fallocate(2).
const fallocKeepSize = 1

// reservedBytes is how far Badger writes into a log file: until the memory table is full, and one batch more.
const reservedBytes = memTableBytes + maxBatchBytes + 1<<20

// reserveLog gives a new log file the space that it will need. Badger writes it through a mapping, and such a write
// kills the process where the disk has no space left for it. The space counts as a hole until it is written.
func reserveLog(f *os.File) error {
	err := syscall.Fallocate(int(f.Fd()), fallocKeepSize, 0, reservedBytes)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINTR) {
		return nil // not on this file system; or a signal came, and the next log is luckier
	}
	if err != nil {
		return fmt.Errorf("reserve space for %s: %w", f.Name(), err)
	}
	return nil
}
