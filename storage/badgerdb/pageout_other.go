//go:build !linux

package badgerdb

// pageOutLogs does nothing where there is no such advice.
func pageOutLogs() {}
