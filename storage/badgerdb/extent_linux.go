package badgerdb

import (
	"errors"
	"os"
	"syscall"
)

const (
	seekData = 3 // lseek(2)
	seekHole = 4
)

// dataEnd returns an offset behind which a file has only a hole, so that it need not be read. Were a file system wrong
// about it, Badger would find commits that we did not, and Open would refuse.
func dataEnd(f *os.File, size int64) int64 {
	for end := int64(0); ; {
		start, err := f.Seek(end, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return end
		}
		if err != nil {
			return size // not a file system that knows
		}
		if end, err = f.Seek(start, seekHole); err != nil {
			return size
		}
	}
}
