package main

import (
	"os"
	"syscall"
)

// forwarded are the signals that a command under a lock gets as this process does.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}
}

// signalGroup sends a signal to the process group that p leads; it may have ended.
func signalGroup(p *os.Process, s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(-p.Pid, number)
	}
}
