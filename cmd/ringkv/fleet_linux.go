package main

import (
	"os"
	"syscall"
)

// childAttr puts a node into a process group of its own, so that Ctrl-C reaches it only through its parent, and has the
// kernel stop it if the parent dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

func stopSignal() os.Signal { return syscall.SIGTERM }
