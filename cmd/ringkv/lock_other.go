//go:build !linux

package main

import "os"

// forwarded are the signals that a command under a lock gets as this process does.
func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

// signalGroup reaches the command alone here.
func signalGroup(p *os.Process, s os.Signal) { _ = p.Signal(s) }
