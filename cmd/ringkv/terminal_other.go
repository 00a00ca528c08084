//go:build !linux

package main

import "os"

// isTerminal reports whether stream is a character device, which is a terminal or nearly always treated like one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
