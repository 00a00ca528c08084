//go:build !linux

package main

import (
	"os"
	"syscall"
)

// childAttr has nothing portable to ask for: a node whose parent is killed lives on here.
func childAttr() *syscall.SysProcAttr { return nil }

func stopSignal() os.Signal { return os.Interrupt }
