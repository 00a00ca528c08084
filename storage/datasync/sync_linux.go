package datasync

import (
	"os"
	"syscall"
)

// Both are fsync without the file's times: on blocks that are already allocated it need not write the inode.

// waitAside lets the scheduler use the processor meanwhile.
func waitAside(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// waitInPlace keeps the processor.
func waitInPlace(f *os.File) error {
	for {
		_, _, errno := syscall.RawSyscall(syscall.SYS_FDATASYNC, f.Fd(), 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return os.NewSyscallError("fdatasync", errno)
		}
	}
}

const syncFileRangeWrite = 2 // sync_file_range(2)

func begin(f *os.File) {
	_ = syscall.SyncFileRange(int(f.Fd()), 0, 0, syncFileRangeWrite) // a failed write is the next sync's to report
}
