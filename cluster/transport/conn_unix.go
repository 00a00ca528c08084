//go:build unix

package transport

import "syscall"

const canTryWrite = true

// tryWrite writes to a socket that does not block; 0 stands for every failure.
func tryWrite(fd uintptr, b []byte) int {
	n, _ := syscall.Write(int(fd), b)
	return max(n, 0)
}
