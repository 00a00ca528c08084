package badgerdb

import (
	"os"
	"syscall"
)

// datasync is fsync without the file's times: on blocks that are already allocated it needs no journal commit.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
