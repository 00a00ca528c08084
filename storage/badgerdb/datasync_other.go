//go:build !linux

package badgerdb

import "os"

func datasync(f *os.File) error { return f.Sync() }
