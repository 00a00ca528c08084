//go:build unix

package raftlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Lock uses flock: the kernel releases it however the process ends. The file stays; removing it would let two
// processes lock two different files of the same name.
func (osFS) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, path)
	}
	return nil, os.NewSyscallError("flock", err)
}
